/**
 * The agent's configuration file: JSON, read once and turned into typed values with every default filled in.
 *
 *   { "stateDir": "/var/lib/branchline/agent", "lan": [{ "interface": "lan0" }], "wan": [{ "name": "inet", "interface": "wan0" }] }
 *
 * Who the node is (name, role, keys, grant) is not here: `branchline agent activate` writes that into `stateDir`.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { interfaceSchema, nameSchema, prefixSchema } from '../schema/common.ts'
import { hybridSchema } from '../schema/mpinit.ts'
import type { SpreadName } from './paths/chooser.ts'
import { servicesSchema } from './services/config.ts'

const directorySchema = z.string().startsWith('/', 'must be an absolute path')

const millisecondsSchema = z.int().min(10).max(3_600_000)

/** Timers of sessions, ms unless the name says otherwise. */
const timersSchema = z
  .strictObject({
    /** A path on which nothing was sent for so long gets a probe. */
    probeMs: millisecondsSchema.default(500),
    /** A path on which nothing was heard for so long is dead. */
    silentMs: millisecondsSchema.default(1500),
    /** Age in seconds at which a session is replaced by a new handshake. */
    rekeyAfterS: z.int().min(1).max(86_400).default(3600),
    /** How long a replaced session still receives. */
    graceMs: millisecondsSchema.default(3000),
    /** How long routes outlive the route session that brought them. */
    staleRoutesMs: millisecondsSchema.default(60_000),
    handshakeRetryMs: millisecondsSchema.default(500),
    /** A path that was left is used again when nothing was wrong with it for so long; each further time doubles it ... */
    holdMs: millisecondsSchema.default(5000),
    /** ... up to this. */
    longestHoldMs: millisecondsSchema.default(300_000),
    /** A path is left at most once in so long, by being used again no sooner. */
    leaveEveryMs: millisecondsSchema.default(10_000),
  })
  .refine(({ holdMs, longestHoldMs }) => holdMs <= longestHoldMs, {
    path: ['holdMs'],
    message: 'must not be above longestHoldMs',
  })

const handshakeSchema = z.strictObject({
  /** ML-KEM beside X25519, so that what is recorded today stays secret from a quantum computer of tomorrow. */
  hybrid: hybridSchema.default('preferred'),
  /** Threads that do a gateway's handshakes; absent: one less than there are CPUs, and at least one; 0: none, the main thread does them. */
  workers: z.int().min(0).max(64).optional(),
})

/** 64 kb/s, below which nothing works, to 400 Gb/s. */
const mbpsSchema = z.number().min(0.064).max(400_000)

const wanSchema = z.strictObject({
  /** For people and for path selection: `inet`, `mpls`, `lte`. */
  name: nameSchema,
  interface: interfaceSchema,
  /** Address families that tunnels may use on this link. */
  families: z
    .array(z.union([z.literal(4), z.literal(6)], 'must be 4 or 6'))
    .min(1)
    .default([4, 6]),
  /** What the provider carries, Mb/s, as measured at the device: outer headers included. Absent: unknown. With `upMbps` the agent keeps the queue in front of the link. */
  upMbps: mbpsSchema.optional(),
  downMbps: mbpsSchema.optional(),
  /** Used by nobody while another path lives. */
  backup: z.boolean().default(false),
  /** Every byte costs: neither copies nor parity nor bulk go there while another path lives. */
  metered: z.boolean().default(false),
})

const fecCodeSchema = z.strictObject({
  packets: z.int().min(1).max(31),
  depth: z.union([z.literal(1), z.literal(2), z.literal(4)]).default(1),
})

const classSchema = (spread: SpreadName, fec: boolean, playoutMs: number) =>
  z
    .strictObject({
      /** How its packets are spread over paths, agent/paths/chooser.ts. */
      spread: z.enum(['auto', 'best', 'flows', 'packets', 'twice']).default(spread),
      /** Parity while the path in use loses packets; or always, one for so many packets, of which `depth` groups take turns. */
      fec: z.union([z.boolean(), fecCodeSchema]).default(fec),
      /** At most so long packets are held back to be put in order, ms. */
      playoutMs: z.int().min(0).max(250).default(playoutMs),
    })
    .prefault({})

/** By DSCP, bpf/path/class.h. */
const classesSchema = z.strictObject({
  default: classSchema('best', false, 200),
  realtime: classSchema('auto', true, 60),
  transactional: classSchema('best', false, 100),
  bulk: classSchema('flows', false, 200),
})

export const agentConfigSchema = z
  .strictObject({
    /** Shown in logs until the node is activated and has its real name. */
    name: nameSchema.optional(),
    /** Identity and last known state: the only directory that must survive a reboot. */
    stateDir: directorySchema.default('/var/lib/branchline/agent'),
    runDir: directorySchema.default('/run/branchline'),
    /** Directory in a BPF file system: pins live below it. */
    bpffs: directorySchema.default('/sys/fs/bpf/branchline'),
    /** Unix socket of agent/api.ts; default `<runDir>/agent.sock`. */
    socket: directorySchema.optional(),
    logLevel: z.enum(['silent', 'error', 'warn', 'info', 'debug', 'trace']).default('info'),
    lan: z
      .array(
        z.strictObject({
          interface: interfaceSchema,
          /** Subnets behind the interface that its kernel routes do not show. */
          subnets: z.array(prefixSchema).default([]),
        }),
      )
      .max(64)
      .default([]),
    /** The position is the path id, hence 16 at most. */
    wan: z.array(wanSchema).min(1, 'at least one WAN link is needed').max(16),
    /** Overrides the address that activation stored, e.g. behind another proxy. */
    orchestrator: z.strictObject({ url: z.url({ protocol: /^wss$/, error: 'must be a wss:// URL' }) }).optional(),
    /**
     * Native XDP on a gateway's WAN devices, for packets between clear tunnels. `auto`: where the driver has it, but not on a veth, whose other end
     * would have to be prepared for it. `on`: there too.
     */
    xdp: z.enum(['auto', 'on', 'off']).default('auto'),
    timers: timersSchema.prefault({}),
    classes: classesSchema.prefault({}),
    handshake: handshakeSchema.prefault({}),
    /** Of a gateway. */
    services: servicesSchema.prefault({}),
  })
  .superRefine((config, context) => {
    unique(config.wan, 'name', 'wan', context)
    unique(config.wan, 'interface', 'wan', context)
    unique(config.lan, 'interface', 'lan', context)
    const upstream = config.services.upstream?.interface
    if ([...config.wan, ...config.lan].some(entry => entry.interface === upstream))
      context.addIssue({
        code: 'custom',
        path: ['services', 'upstream', 'interface'],
        message: `${upstream} is a WAN or LAN interface too; the upstream needs one for itself, such as a macvlan or a VLAN`,
      })
  })
  .transform(config => ({ ...config, socket: config.socket ?? join(config.runDir, 'agent.sock') }))

/** Every default is filled in: what the rest of the agent reads. */
export type AgentConfig = z.output<typeof agentConfigSchema>
/** What a person writes. */
export type AgentConfigInput = z.input<typeof agentConfigSchema>

function unique<K extends string>(
  rows: readonly Readonly<Record<K, unknown>>[],
  key: K,
  list: string,
  context: z.core.$RefinementCtx,
): void {
  const seen = new Set<unknown>()
  rows.forEach((row, index) => {
    if (seen.has(row[key])) {
      context.addIssue({ code: 'custom', path: [list, index, key], message: `${String(row[key])} is used twice` })
    }
    seen.add(row[key])
  })
}

/** One line that names the file and the field; `cause` keeps the original. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** @throws ConfigError naming the file and the first wrong fields */
export function readAgentConfig(file: string): AgentConfig {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw new ConfigError(`cannot read the agent configuration ${file}: ${code}`, { cause })
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new ConfigError(`${file} is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
  const parsed = agentConfigSchema.safeParse(json)
  if (parsed.success) return parsed.data
  const first = parsed.error.issues.slice(0, 3).map(issue => `${issue.path.join('.') || 'document'}: ${issue.message}`)
  throw new ConfigError(`${file}: ${first.join('; ')}`, { cause: parsed.error })
}
