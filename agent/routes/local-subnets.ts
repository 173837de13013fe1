/**
 * The subnets behind an edge: connected and static routes of its LAN interfaces as the kernel has them, and those named in the configuration,
 * as far as the grant allows. Pure; the edge calls it again whenever netlink says that something changed.
 */
import { formatPrefix, type Prefix, parsePrefix, prefixContains } from '../../schema/address.ts'
import type { GrantedSubnet } from '../../schema/node-state.ts'
import type { Address, Link, Route } from '../kernel/port.ts'

export interface LocalSubnet extends GrantedSubnet {
  ifindex: number
  interface: string
  source: 'connected' | 'static' | 'configured'
}

export interface LocalSubnets {
  announced: LocalSubnet[]
  /** Real, but outside the grant: reported, never announced. */
  refused: { prefix: string; interface: string; source: LocalSubnet['source'] }[]
}

export interface LanInterface {
  interface: string
  subnets?: readonly string[] | undefined
}

/** Kernel (2), boot (3) and static (4) routes, and those of routing daemons (RTPROT_BIRD 12, ZEBRA 11, and above). */
const RTPROT_KERNEL = 2
const RTPROT_REDIRECT = 1

/**
 * @param granted prefixes of the grant; a subnet inside one takes its reachable flag, and the gateways that may hear of it (the longest match)
 */
export function localSubnets(
  lan: readonly LanInterface[],
  kernel: { links: readonly Link[]; routes: readonly Route[] },
  granted: readonly GrantedSubnet[],
): LocalSubnets {
  const grants = granted.flatMap(subnet => {
    const prefix = parsePrefix(subnet.prefix)
    return prefix ? [{ prefix, subnet }] : []
  })
  const result: LocalSubnets = { announced: [], refused: [] }
  const seen = new Set<string>()
  const add = (text: string, ifindex: number, name: string, source: LocalSubnet['source']) => {
    const prefix = parsePrefix(text)
    if (!prefix || !isAnnounceable(prefix)) return
    const canonical = formatPrefix(prefix)
    if (seen.has(canonical)) return
    seen.add(canonical)
    const cover = grants
      .filter(grant => prefixContains(grant.prefix, prefix))
      .sort((a, b) => b.prefix.length - a.prefix.length)[0]
    if (cover) result.announced.push({ ...cover.subnet, prefix: canonical, ifindex, interface: name, source })
    else result.refused.push({ prefix: canonical, interface: name, source })
  }
  for (const entry of lan) {
    const link = kernel.links.find(candidate => candidate.name === entry.interface)
    if (!link?.up || !link.running) continue
    for (const route of kernel.routes) {
      if (route.ifindex !== link.ifindex || route.protocol === RTPROT_REDIRECT) continue
      add(route.destination, link.ifindex, link.name, route.protocol === RTPROT_KERNEL ? 'connected' : 'static')
    }
    for (const subnet of entry.subnets ?? []) add(subnet, link.ifindex, link.name, 'configured')
  }
  return result
}

/** Default routes, link-local, multicast and loopback are nobody's branch subnet. */
function isAnnounceable({ family, bytes, length }: Prefix): boolean {
  if (length === 0) return false
  const [first = 0, second = 0] = bytes
  if (family === 4) return first !== 127 && first < 224 && !(first === 169 && second === 254) && first !== 0
  return !(first === 0xfe && (second & 0xc0) === 0x80) && first !== 0xff && first !== 0
}

/** The node's own addresses on LAN interfaces: packets to them go to its stack. */
export function ownAddresses(
  lan: readonly LanInterface[],
  links: readonly Link[],
  addresses: readonly Address[],
): Address[] {
  const indexes = new Set(
    links.filter(link => lan.some(entry => entry.interface === link.name)).map(link => link.ifindex),
  )
  return addresses.filter(address => indexes.has(address.ifindex))
}
