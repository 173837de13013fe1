/**
 * One interface to whatever runs instances: network namespaces, virtual machines, machines of others. Calls reject with an Error in one line. Instances
 * outlive the agent: the next one finds them again by `adopt`.
 */
import type { FunctionConfig } from './config.ts'

export interface LaunchSpec {
  /** Unique on this machine while the instance lives: `nat-3`. */
  name: string
  /** Index into instance_state, 1 and up: what devices and MAC addresses are named after. */
  number: number
  function: FunctionConfig
  /** Addresses towards the Internet that belong to it alone. */
  nat: readonly string[]
}

/** Where the instance answers health checks. */
export interface HealthTarget {
  address: string
  port: number
}

export interface Launched {
  health: HealthTarget | undefined
  /** For people: `process 4711`, `qemu 4711`, `192.0.2.7`. */
  where: string
}

/** An adapter as the maps need it. */
export type AdapterSide =
  | {
      kind: 'ethernet'
      mtu: number
      insideIfindex: number
      /** The same as inside: one arm. */
      outsideIfindex: number
      /** The instance's. */
      insideMac: string
      outsideMac: string
    }
  | {
      kind: 'ipip' | 'geneve'
      mtu: number
      /** Device towards `remote`. */
      ifindex: number
      local: string
      remote: string
    }

export interface InstanceDriver {
  /** Resolves when the function says that packets pass. */
  launch(spec: LaunchSpec): Promise<Launched>
  /** Gives the instance one more adapter. @param slot from 0, of this instance */
  attach(spec: LaunchSpec, slot: number): Promise<AdapterSide>
  detach(spec: LaunchSpec, slot: number): Promise<void>
  /** Ends the instance and everything of it. Resolves too when there is none. */
  stop(spec: LaunchSpec): Promise<void>
  /** Does an instance of a former agent run, as it was left? Then it is this one's. */
  adopt(spec: LaunchSpec, adapters: readonly { slot: number; side: AdapterSide }[]): Promise<boolean>
  /** Ends what former agents left and no longer is known by one of these names. */
  sweep(known: ReadonlySet<string>): Promise<void>
  /** Has an instance that was launched ended by itself? Then why, in one line. */
  failure(name: string): string | undefined
}

/**
 * MAC addresses of a device of an instance, both ends: locally administered, so that a virtual machine finds out which of its devices is which arm.
 *
 *   02:b1 : instance (16 bit) : slot : side, with 0x10 the gateway's end
 */
export const SIDES = { inside: 1, outside: 2, arm: 3, management: 4 } as const
export type Side = keyof typeof SIDES

export function macOf(instance: number, slot: number, side: Side, end: 'instance' | 'gateway'): string {
  const bytes = [0x02, 0xb1, instance >> 8, instance & 255, slot & 255, SIDES[side] | (end === 'gateway' ? 0x10 : 0)]
  return bytes.map(byte => byte.toString(16).padStart(2, '0')).join(':')
}

/** The gateway's end of a device, IFNAMSIZ permitting: `bls12i0`. */
export function deviceOf(instance: number, slot: number, side: Side): string {
  return `bls${instance}${side[0]}${slot}`
}

/** Link-local addresses (RFC 3927) of the gateway's and the instance's end of the management link. */
export function managementPair(instance: number): { gateway: string; instance: string } {
  const base = (169 << 24) | (254 << 16) | (0x8000 + instance * 4)
  const text = (value: number) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join('.')
  return { gateway: text(base + 1), instance: text(base + 2) }
}
