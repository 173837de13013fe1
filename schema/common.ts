/** Scalars that several schemas share. Error texts name what is wrong; zod adds the field's path. */
import { z } from 'zod'
import { canonicalPrefix, parseAddress } from './address.ts'

/** CIDR in canonical form: host bits zero, RFC 5952 text. */
export const prefixSchema = z.string().transform((text, context) => {
  const canonical = canonicalPrefix(text)
  if (canonical !== undefined) return canonical
  context.addIssue('must be a prefix like 10.1.0.0/24 or 2001:db8:1::/48 with zero host bits')
  return z.NEVER
})

export const addressSchema = z
  .string()
  .refine(text => parseAddress(text) !== undefined, 'must be an IPv4 or IPv6 address')

export const uuidSchema = z.uuid()

/** DNS-label-like: what people type on command lines and what names files and interfaces. */
export const nameSchema = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'must be 1 to 63 of a-z, 0-9 and "-", not starting or ending with "-"')

export const roleSchema = z.enum(['edge', 'gateway', 'dce', 'cloud-edge', 'balancer', 'adapter'])
export type Role = z.infer<typeof roleSchema>

/** Raw bytes of an exact length, as CBOR byte strings carry them. */
export const bytesSchema = (length: number) =>
  z.custom<Uint8Array>(
    value => value instanceof Uint8Array && value.length === length,
    `must be a byte string of ${length} bytes`,
  )

/** Degrees, WGS 84: where a node is. */
export const locationSchema = z.object({
  latitude: z.number().min(-90).max(90),
  longitude: z.number().min(-180).max(180),
})
export type Location = z.infer<typeof locationSchema>

/** Unix time in seconds. */
export const timeSchema = z.int().nonnegative()

/** How a segment's packets cross the WAN. `clear`: MP with authenticated headers only; for networks that encrypt themselves. */
export const securitySchema = z.enum(['esp', 'clear'])
export type Security = z.infer<typeof securitySchema>

export const subnetSchema = z.object({
  prefix: prefixSchema,
  /** May peers send to it over the VPN right now? */
  reachable: z.boolean(),
})
export type Subnet = z.infer<typeof subnetSchema>

/** IFNAMSIZ is 16 with the final NUL (linux/if.h); the kernel refuses '/' and white space (net/core/dev.c, dev_valid_name). */
export const interfaceSchema = z
  .string()
  .regex(/^(?!\.{1,2}$)[^\s/:]{1,15}$/, 'must be an interface name of 1 to 15 characters')
