/**
 * What the agent remembers of service chains for its successor: numbers and instances. In the run directory, which vanishes at a reboot as the
 * instances do. What cannot be read is as good as absent: instances are started anew.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decode, encode } from 'cbor-x'
import { z } from 'zod'
import { ABI_HASH } from '../../schema/abi.gen.ts'
import type { Logger } from '../log.ts'
import { Snapshots } from '../node/snapshots.ts'

const VERSION = 1

const chainSchema = z.object({
  key: z.string(),
  id: z.int(),
  vrf: z.int(),
  enterprise: z.string(),
  name: z.string(),
  secure: z.boolean(),
  hops: z.array(z.object({ function: z.string(), failOpen: z.boolean(), pool: z.int(), stage: z.int() })),
  retiredMs: z
    .number()
    .optional()
    .transform(value => value),
})

const sideSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('ethernet'),
    mtu: z.int(),
    insideIfindex: z.int(),
    outsideIfindex: z.int(),
    insideMac: z.string(),
    outsideMac: z.string(),
  }),
  z.object({ kind: z.enum(['ipip', 'geneve']), mtu: z.int(), ifindex: z.int(), local: z.string(), remote: z.string() }),
])

const instanceSchema = z.object({
  name: z.string(),
  number: z.int(),
  function: z.string(),
  enterprise: z.string().nullable(),
  state: z.enum(['ready', 'draining', 'dead']),
  nat: z.array(z.string()),
  launched: z.object({
    health: z
      .object({ address: z.string(), port: z.int() })
      .optional()
      .transform(value => value),
    where: z.string(),
  }),
  adapters: z.array(z.object({ position: z.string(), index: z.int(), slot: z.int(), side: sideSchema })),
})

const fileSchema = z.object({
  version: z.literal(VERSION),
  abiHash: z.string(),
  chains: z.array(chainSchema),
  instances: z.array(instanceSchema),
})
type Content = Omit<z.input<typeof fileSchema>, 'version' | 'abiHash'>

export class ServicesFile {
  readonly #snapshots: Snapshots
  readonly #content: () => string
  #last = ''

  constructor(options: { file: string; log: Logger; content: () => unknown }) {
    this.#content = () => JSON.stringify(options.content())
    this.#snapshots = new Snapshots({
      file: options.file,
      log: options.log,
      pieces: () => [encode({ version: VERSION, abiHash: String(ABI_HASH), ...JSON.parse(this.#content()) })],
    })
  }

  /** Writes it soon, if it is another. */
  save(): void {
    const content = this.#content()
    if (content === this.#last) return
    this.#last = content
    this.#snapshots.save()
  }

  saveNow(): void {
    this.#snapshots.saveNow()
  }
}

export type FormerServices = Pick<z.output<typeof fileSchema>, keyof Content>

export function readServices(directory: string): FormerServices | undefined {
  try {
    const parsed = fileSchema.safeParse(decode(readFileSync(join(directory, 'services.cbor'))))
    return parsed.success && parsed.data.abiHash === String(ABI_HASH) ? parsed.data : undefined
  } catch {
    return undefined
  }
}
