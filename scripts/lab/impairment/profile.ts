/** What one direction of a link suffers. Nothing named, nothing suffered: `{}` is a good link. */
import { z } from 'zod'
import { LabError } from '../error.ts'

/** `out`: from the node into the WAN. */
export type Direction = 'out' | 'in'
export const DIRECTIONS: readonly Direction[] = ['out', 'in']

const LONGEST_MS = 60_000
const milliseconds = z.number().min(0).max(LONGEST_MS, `must be ${LONGEST_MS} ms at most`)
const share = z.number().min(0).max(1, 'must be a share from 0 to 1')

const matchSchema = z
  .strictObject({
    /** in the UDP payload; of MP, byte 0 holds version and type (bpf/wire.h) */
    offset: z.int().min(0).max(65_535),
    /** read in network order */
    bytes: z.int().min(1).max(4).default(1),
    mask: z.int().min(0).max(0xffff_ffff),
    value: z.int().min(0).max(0xffff_ffff),
  })
  // In JavaScript `&` is signed.
  .refine(
    ({ mask, value }) => (value & mask) >>> 0 === value,
    'has bits in value that mask leaves out: it never matches',
  )

/** Packets that suffer; the others pass as on a good link. Sizes are of the IP packet. */
const onlySchema = z.strictObject({
  largerThan: z.int().min(1).max(65_535).optional(),
  smallerThan: z.int().min(1).max(65_535).optional(),
  match: matchSchema.optional(),
})

export const profileSchema = z
  .strictObject({
    delayMs: milliseconds.optional(),
    /** uniform in [-jitter, +jitter] around the delay, packet by packet: packets closer than that change places */
    jitterMs: milliseconds.optional(),
    loss: share.optional(),
    /** mean number of losses in a row (Gilbert); without it losses are independent */
    burst: z.number().min(1).max(10_000).optional(),
    /** all of just that number, by the relay alone */
    evenBursts: z.boolean().optional(),
    duplicate: share.optional(),
    /** one bit of the packet flipped */
    corrupt: share.optional(),
    /** a share that leaves earlier than the others … */
    reorder: share.optional(),
    /** … by this; default: the whole delay */
    reorderByMs: milliseconds.optional(),
    /** bit/s of Ethernet frames without FCS; a token bucket */
    rate: z.int().min(1000, 'must be 1kbit at least').max(100_000_000_000).optional(),
    /** longest wait for the rate, a tail drop beyond; default 50 ms. Or in bytes. */
    queueMs: milliseconds.min(0.1).optional(),
    queueBytes: z.int().min(1600, 'must hold a full frame: 1600 bytes at least').optional(),
    /** nothing passes, and nobody is told: with `only.largerThan` a path whose MTU is smaller than anybody says */
    blackhole: z.boolean().optional(),
    only: onlySchema.optional(),
  })
  .superRefine((profile, context) => {
    const { delayMs = 0, jitterMs = 0, reorder, reorderByMs = delayMs, loss = 0, burst } = profile
    const complain = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message })
    if (jitterMs > delayMs) complain('jitterMs', `${jitterMs} ms of jitter need a delay of ${jitterMs} ms at least`)
    if (reorder && reorderByMs === 0) complain('reorder', 'needs a delay: a packet overtakes only what waits')
    if (reorderByMs > delayMs)
      complain('reorderByMs', `needs a delay of ${reorderByMs} ms at least: a packet overtakes only what waits`)
    if (!reorder && profile.reorderByMs !== undefined) complain('reorderByMs', 'needs reorder, the share of packets')
    if (burst !== undefined && loss === 0) complain('burst', 'needs loss, the share of packets')
    if (profile.evenBursts && !Number.isInteger(burst)) complain('evenBursts', 'needs burst, a whole number of packets')
    if (burst !== undefined && loss < 1 && loss > burst / (burst + 1))
      complain(
        'burst',
        `bursts of ${burst} lose ${((100 * burst) / (burst + 1)).toFixed(1)} % at most: a packet gets through between two`,
      )
    if (profile.queueMs !== undefined && profile.queueBytes !== undefined) complain('queueBytes', 'excludes queueMs')
    for (const name of ['queueMs', 'queueBytes'] as const)
      if (profile[name] !== undefined && profile.rate === undefined) complain(name, 'needs rate')
  })
export type Profile = z.output<typeof profileSchema>
export type ProfileInput = z.input<typeof profileSchema>

/** @throws LabError `input` with every complaint */
export function parseProfile(input: unknown): Profile {
  const parsed = profileSchema.safeParse(input)
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues.map(issue => [issue.path.join('.'), issue.message].filter(Boolean).join(': '))
  throw new LabError('input', `impairment: ${issues.join('; ')}`, { cause: parsed.error })
}

/** The token bucket of a rate, the same for relay and tbf, so that they can be compared. */
export interface Bucket {
  readonly rate: number
  /** that may leave at once; tbf needs the longest frame at least */
  readonly bytes: number
  readonly queueMs: number
}

const DEFAULT_QUEUE_MS = 50
const BUCKET_MS = 2

export function bucketOf({ rate, queueMs, queueBytes }: Profile, mtu: number): Bucket | undefined {
  if (rate === undefined) return undefined
  const bytes = Math.max(mtu + 100, Math.ceil((rate / 8) * (BUCKET_MS / 1000)))
  const wait = queueBytes === undefined ? (queueMs ?? DEFAULT_QUEUE_MS) : (queueBytes * 8000) / rate
  return { rate, bytes, queueMs: wait }
}
