/**
 * What an agent must remember besides the kernel's own state to adopt it after a crash or an upgrade: who is behind each index and session.
 * Lives in the run directory (tmpfs): it vanishes at a reboot exactly as the pinned maps do. Anything unreadable or of another layout is as good as
 * absent, because all of it can be learned again.
 *
 * The file is a sequence of CBOR items (RFC 8742), each of one key that names a member of `Runtime`: an array's elements one by one, so that a
 * gateway with 10,000 edges can make it in slices. `end` comes last: without it the file is not whole.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeMultiple, encode } from 'cbor-x'
import { z } from 'zod'
import { roleSchema, subnetSchema, uuidSchema } from '../../schema/common.ts'
import { routeSchema } from '../../schema/route-messages.ts'

const VERSION = 3
export const RUNTIME_FILE = 'runtime.cbor'

const pathSchema = z.object({
  path: z.int(),
  link: z.string(),
  spiIn: z.int(),
  spiOut: z.int(),
  mtu: z.int(),
  carries: z.int().optional(),
  toPeerMbps: z.number().optional(),
  fromPeerMbps: z.number().optional(),
  backup: z.boolean().optional(),
  metered: z.boolean().optional(),
})

export const runtimeSchema = z.object({
  version: z.literal(VERSION),
  abiHash: z.bigint(),
  node: uuidSchema,
  vrfs: z.array(z.object({ id: z.int(), enterprise: uuidSchema, name: z.string() })),
  peers: z.array(
    z.object({
      index: z.int(),
      node: uuidSchema,
      name: z.string(),
      role: roleSchema,
      enterprise: uuidSchema.nullable(),
      grant: z.custom<Uint8Array>(value => value instanceof Uint8Array).nullable(),
      vaddrLocal: z.string(),
      vaddrRemote: z.string(),
      esp: z.boolean(),
      /** The session in use. */
      sid: z.int(),
      rekeys: z.int(),
      /** Gateway: what the edge announced. */
      subnets: z.array(subnetSchema),
    }),
  ),
  sessions: z.array(
    z.object({
      sid: z.int(),
      remoteSid: z.int(),
      peer: z.int(),
      esp: z.boolean(),
      created: z.number(),
      paths: z.array(pathSchema),
    }),
  ),
  /** Gateway: the signed policies of its enterprises. */
  policies: z
    .array(z.object({ enterprise: uuidSchema, document: z.custom<Uint8Array>(value => value instanceof Uint8Array) }))
    .default([]),
  /** Edge: routes by gateway. */
  learned: z.array(routeSchema.extend({ gateway: uuidSchema })),
  /** Responder: newest initiation per static key (base64), µs. */
  timestamps: z.object({ floor: z.number(), newest: z.array(z.tuple([z.string(), z.number()])) }),
})
export type Runtime = z.infer<typeof runtimeSchema>

type Elements<Key extends 'vrfs' | 'peers' | 'sessions' | 'policies' | 'learned'> = {
  [K in Key]: Runtime[K][number]
}[Key]
/** One item of the file. */
export type RuntimeItem =
  | { vrfs: Elements<'vrfs'> }
  | { peers: Elements<'peers'> }
  | { sessions: Elements<'sessions'> }
  | { policies: Elements<'policies'> }
  | { learned: Elements<'learned'> }
  | { floor: number }
  | { newest: [string, number] }

/** The whole file, item by item. */
export function* runtimeItems(
  head: Pick<Runtime, 'abiHash' | 'node'>,
  items: Iterable<RuntimeItem>,
): Iterable<Uint8Array> {
  yield encode({ head: { version: VERSION, ...head } })
  for (const item of items) yield encode(item)
  yield encode({ end: true })
}

/** @returns the snapshot, or in one line why there is none */
export function readRuntime(directory: string, node: string, abiHash: bigint): Runtime | string {
  const file = join(directory, RUNTIME_FILE)
  let bytes: Buffer
  try {
    bytes = readFileSync(file)
  } catch {
    return 'no snapshot of a former agent'
  }
  try {
    const parsed = runtimeSchema.safeParse(assemble(decodeMultiple(bytes) ?? []))
    if (!parsed.success) return `${file} is of another version or damaged`
    if (parsed.data.node !== node) return `${file} belongs to another node`
    if (parsed.data.abiHash !== abiHash) return `${file} belongs to another layout of the dataplane`
    return parsed.data
  } catch {
    return `${file} is damaged`
  }
}

function assemble(items: readonly unknown[]): unknown {
  const lists: Record<string, unknown[]> = { vrfs: [], peers: [], sessions: [], policies: [], learned: [], newest: [] }
  const single: Record<string, unknown> = {}
  for (const item of items)
    for (const [key, value] of Object.entries(item as object)) {
      if (lists[key]) lists[key].push(value)
      else single[key] = value
    }
  if (single.end !== true) throw new TypeError('cut short')
  const { newest, ...rest } = lists
  const head = single.head as { abiHash: number | bigint }
  // CBOR has one integer type: 64-bit fields come back as numbers when they are small.
  return { ...head, abiHash: BigInt(head.abiHash), ...rest, timestamps: { floor: single.floor ?? 0, newest } }
}
