/**
 * What an agent must remember besides the kernel's own state to adopt it after a crash or an upgrade: who is behind each index and session.
 * Lives in the run directory (tmpfs): it vanishes at a reboot exactly as the pinned maps do. Written whole, by rename; anything unreadable or of another
 * layout is as good as absent, because all of it can be learned again.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { decode, encode } from 'cbor-x'
import { z } from 'zod'
import { roleSchema, subnetSchema, uuidSchema } from '../../schema/common.ts'
import { routeSchema } from '../../schema/route-messages.ts'

const VERSION = 2

const pathSchema = z.object({
  path: z.int(),
  link: z.string(),
  spiIn: z.int(),
  spiOut: z.int(),
  mtu: z.int(),
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
  /** Edge: routes by gateway. */
  learned: z.array(routeSchema.extend({ gateway: uuidSchema })),
  /** Responder: newest initiation per static key (base64), µs. */
  timestamps: z.object({ floor: z.number(), newest: z.array(z.tuple([z.string(), z.number()])) }),
})
export type Runtime = z.infer<typeof runtimeSchema>

/** @returns the snapshot, or in one line why there is none */
export function readRuntime(directory: string, node: string, abiHash: bigint): Runtime | string {
  const file = join(directory, 'runtime.cbor')
  let bytes: Buffer
  try {
    bytes = readFileSync(file)
  } catch {
    return 'no snapshot of a former agent'
  }
  try {
    const parsed = runtimeSchema.safeParse(normalise(decode(bytes)))
    if (!parsed.success) return `${file} is of another version or damaged`
    if (parsed.data.node !== node) return `${file} belongs to another node`
    if (parsed.data.abiHash !== abiHash) return `${file} belongs to another layout of the dataplane`
    return parsed.data
  } catch {
    return `${file} is damaged`
  }
}

/** CBOR has one integer type: 64-bit fields come back as numbers when they are small. */
function normalise(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const runtime = value as Record<string, unknown>
  return { ...runtime, abiHash: BigInt(runtime.abiHash as number | bigint) }
}

export function writeRuntime(directory: string, runtime: Omit<Runtime, 'version'>): void {
  const file = join(directory, 'runtime.cbor')
  const temporary = `${file}.new`
  // No fsync: a process that dies loses nothing that was written, and a machine that dies loses the directory anyway.
  const bytes = encode({ version: VERSION, ...runtime })
  try {
    writeFileSync(temporary, bytes, { mode: 0o600 })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    writeFileSync(temporary, bytes, { mode: 0o600 })
  }
  renameSync(temporary, file)
}
