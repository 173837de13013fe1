/** What the programs know of their node. */
import type { NodeConfig } from '../../schema/abi.gen.ts'
import { be32, parseAddress } from '../../schema/address.ts'
import type { Devices } from './devices.ts'
import type { NodePairs } from './hold-devices.ts'

/** Sampled events: at most one per CPU in this time. */
const EVENT_INTERVAL_NS = 10_000_000

/** @param vaddr the address that ICMP errors made between tunnels come from; 0.0.0.0 while unknown */
export function nodeConfigOf(
  { mp0, mp1, ipsec0 }: Pick<Devices, 'mp0' | 'mp1' | 'ipsec0'>,
  { gather, hold }: NodePairs,
  vaddr: string,
): Omit<NodeConfig, 'abiHash' | 'routeEpoch'> {
  return {
    mp0Ifindex: mp0.ifindex,
    mp1Ifindex: mp1.ifindex,
    gatherIfindex: gather?.mpg0.ifindex ?? 0,
    holdIfindex: hold?.mph0.ifindex ?? 0,
    ipsecIfindex: ipsec0?.ifindex ?? 0,
    vaddr: be32(vaddr),
    eventIntervalNs: EVENT_INTERVAL_NS,
    icmpSrc6: icmpSource6(vaddr),
  }
}

/** fc00::/7 with the node's virtual address: a source for ICMPv6 errors that belongs to no branch. */
function icmpSource6(vaddr: string): Uint8Array {
  const bytes = new Uint8Array(16)
  bytes[0] = 0xfd
  bytes.set(parseAddress(vaddr)?.bytes ?? new Uint8Array(4), 12)
  return bytes
}
