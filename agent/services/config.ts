/**
 * The `services` section of a gateway's configuration: which service functions there are on this machine, how an instance of each is started and
 * reached, and how many there may be. Enterprises name functions, in chains; what stands behind a name is the operator's business.
 */
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { addressSchema, interfaceSchema, nameSchema } from '../../schema/common.ts'

const fileSchema = z.string().startsWith('/', 'must be an absolute path')
const portSchema = z.int().min(1).max(65_535)

/** Each instance is a network namespace of this machine, with processes of its own. */
const namespaceSchema = z
  .strictObject({
    kind: z.literal('namespace'),
    /** Started in the instance; vagrant/functions/README.md says what it gets and owes. */
    run: fileSchema,
    /** What the function is told beside BRANCHLINE_*: its own settings. */
    env: z
      .record(
        z.string().regex(/^(?!BRANCHLINE_)[A-Z][A-Z0-9_]*$/, 'must be a name in capitals, none with BRANCHLINE_'),
        z.string().regex(/^[^\0]*$/, 'must not have a NUL'),
      )
      .default({}),
    /** Makes the kernel of the instance forward between the arms of an adapter. */
    plumb: fileSchema.optional(),
  })
  .transform(driver => ({ ...driver, plumb: driver.plumb ?? join(dirname(driver.run), '../plumb') }))

/** Each instance is a virtual machine. */
const qemuSchema = z
  .strictObject({
    kind: z.literal('qemu'),
    kernel: fileSchema.optional(),
    initrd: fileSchema.optional(),
    /** Of the kernel's command line, in front of what the driver adds. */
    append: z.string().default(''),
    /** Never written to: each instance has a snapshot of its own. */
    disk: fileSchema.optional(),
    /** Folders that the machine sees read-only, by 9p tag. */
    shares: z.record(z.string().regex(/^[a-z][a-z0-9-]*$/), fileSchema).default({}),
    memoryMb: z.int().min(32).max(1_048_576).default(256),
    cpus: z.int().min(1).max(255).default(1),
    /** `auto`: KVM where a test machine gets to its end with it, else emulation. */
    accelerator: z.enum(['auto', 'kvm', 'tcg']).default('auto'),
  })
  .refine(({ kernel, disk }) => kernel !== undefined || disk !== undefined, 'needs a kernel or a disk')

/** Instances that somebody else runs, on other machines. */
const remoteSchema = z.strictObject({
  kind: z.literal('remote'),
  instances: z
    .array(
      z.strictObject({
        name: nameSchema,
        /** Where it takes packets. IP in IP: an address for each adapter that it is to have. */
        addresses: z.array(addressSchema).min(1),
        /** Where health checks go to, if not to the first address. */
        health: addressSchema.optional(),
      }),
    )
    .min(1)
    .max(1024),
})

const attachmentSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ethernet'), arms: z.union([z.literal(1), z.literal(2)]).default(2) }),
  z.strictObject({
    kind: z.enum(['ipip', 'geneve']),
    interface: interfaceSchema,
    /** Addresses of the gateway that outer packets come from; IP in IP takes another pair of addresses for each adapter. */
    local: z.array(addressSchema).min(1),
  }),
])

/** Defaults are those of AWS Gateway Load Balancer. */
const healthSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('none') }),
  z.strictObject({
    kind: z.enum(['tcp', 'http']),
    port: portSchema.default(8080),
    path: z.string().startsWith('/').default('/'),
    intervalMs: z.int().min(50).max(300_000).default(10_000),
    timeoutMs: z.int().min(20).max(120_000).default(5000),
    /** So many answers in a row make it healthy, or so many failures dead. */
    changes: z.int().min(1).max(10).default(2),
  }),
])

const countSchema = z.int().min(0).max(4095)

const functionSchema = z
  .strictObject({
    name: nameSchema,
    driver: z.discriminatedUnion('kind', [namespaceSchema, qemuSchema, remoteSchema]),
    attachment: attachmentSchema.prefault({ kind: 'ethernet' }),
    /** Largest packet that an instance takes, Ethernet or outer headers not counted. */
    mtu: z.int().min(1280).max(9000).default(1500),
    /** How a connection's instance is chosen: in turns by what each has left, the one with the fewest connections, or by a hash of the connection. */
    balance: z.enum(['turns', 'least', 'hash']).default('turns'),
    /** Instances of one enterprise that run though there is nothing to do, once a chain of it names the function. */
    min: countSchema.min(1).default(1),
    /** Of all enterprises. */
    max: countSchema.min(1).default(16),
    /** Instances of one enterprise, at most. */
    perEnterprise: countSchema.min(1).default(8),
    /** Of one enterprise, started and healthy, but idle until the others have no bandwidth left. */
    warm: countSchema.default(0),
    /** What one instance can carry, of both directions together. */
    capacityMbps: z.number().positive().max(1_000_000).default(1000),
    /** Connections that one instance can hold; absent: bandwidth alone counts. */
    capacityConnections: z.int().min(1).optional(),
    /** An instance has sufficient bandwidth while it carries less than this share of its capacity. */
    threshold: z.number().min(0.05).max(1).default(0.8),
    /** Connections of an instance that died may go on with another. */
    stateless: z.boolean().default(false),
    /** Each instance gets an address of `upstream` for itself, per family. */
    nat: z.boolean().default(false),
    health: healthSchema.prefault({ kind: 'none' }),
    /** An instance that is not ready by then has failed. */
    startMs: z.int().min(100).max(600_000).default(30_000),
    /** Load below what one instance less could carry has to last for so long before one goes. */
    settleMs: z.int().min(100).max(3_600_000).default(60_000),
    /** An instance that is to go takes no new connections, and ends without any, or after so long. */
    drainMs: z.int().min(0).max(86_400_000).default(350_000),
  })
  .superRefine(({ driver, attachment, min, max, perEnterprise, warm }, context) => {
    const issue = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message })
    if ((driver.kind === 'remote') === (attachment.kind === 'ethernet'))
      issue(
        'attachment',
        driver.kind === 'remote'
          ? 'remote instances are reached by ipip or geneve'
          : `${driver.kind} instances are reached by ethernet`,
      )
    if (min + warm > perEnterprise) issue('perEnterprise', `must be at least min + warm, ${min + warm}`)
    if (min > max) issue('max', `must be at least min, ${min}`)
  })

const upstreamSchema = z.strictObject({
  /** Leads to the Internet, out of all VRFs. */
  interface: interfaceSchema,
  /** Of the interface's network or routed to it, for instances of functions with `nat` alone; the agent puts them on the interface. */
  addresses: z.array(addressSchema).max(4096).default([]),
})

export const servicesSchema = z
  .strictObject({
    functions: z.array(functionSchema).max(64).default([]),
    upstream: upstreamSchema.optional(),
  })
  .superRefine(({ functions, upstream }, context) => {
    const names = new Set<string>()
    functions.forEach(({ name, nat }, index) => {
      const issue = (path: string, message: string) =>
        context.addIssue({ code: 'custom', path: ['functions', index, path], message })
      if (names.has(name)) issue('name', `${name} is used twice`)
      names.add(name)
      if (nat && !upstream?.addresses.length) issue('nat', 'needs addresses of upstream')
    })
  })

export type ServicesConfig = z.output<typeof servicesSchema>
export type FunctionConfig = ServicesConfig['functions'][number]
export type HealthConfig = FunctionConfig['health']
export type NamespaceConfig = Extract<FunctionConfig['driver'], { kind: 'namespace' }>
export type QemuConfig = Extract<FunctionConfig['driver'], { kind: 'qemu' }>
export type RemoteConfig = Extract<FunctionConfig['driver'], { kind: 'remote' }>
