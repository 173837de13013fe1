/**
 * The devices that every node has, and the host settings they need (DATAPLANE: the one code path, ESP inside MP):
 *
 *   mp0 - mp1   veth pair. Packets for peers leave through mp0; clear ones are segmented and checksummed by the kernel on the way to mp1.
 *   ipsec0      collect-metadata xfrm interface, one for all peers; only where the kernel has ESP.
 *
 * Virtual addresses are reached `via` one never-resolved neighbour, so that 10,000 peers cost one neighbour entry.
 */
import { KernelError } from '../kernel/error.ts'
import type { KernelPort, Link, LinkSpec, Network } from '../kernel/port.ts'
import { outerOverhead } from '../mp/mtu.ts'
import type { Reconciler } from '../plan/reconciler.ts'
import type { Resource } from '../plan/resource.ts'
import type { WanLink } from './links.ts'

/** Last address of the virtual range; belongs to nobody. */
export const DUMMY_NEIGHBOUR = '100.127.255.254'
export const VIRTUAL_RANGE = '100.64.0.0/10'
/** Routing table of the IPv6 packets that the programs redirect into ipsec0; the number is the MP port's, so people recognise it. */
export const TABLE = 2426
/**
 * The kernel's table `default`, which it asks when no other has a route: here that of IPv4 packets to ipsec0. A rule, any rule, makes the kernel
 * walk all rules in every IPv4 look-up of the machine and check every source address, a tenth of what a small packet costs. What else is led
 * to ipsec0 has no route anywhere else and no path handle: it is dropped there. IPv6 has no such table.
 */
const LAST_TABLE = 253
const LAST_METRIC = 2426
const RULE_PRIORITY = 2426
/** Of ipsec0: above any path's; sizes are checked by the programs before. */
const IPSEC_MTU = 9000
const DEFAULT_WAN_MTU = 1500
const MIN_MP_MTU = 576
/** Below it a device carries no IPv6, and IPsec no IPv6 through it (XfrmOutBundleGenError). What fits is on the route and in `peer`. */
const MIN_DEVICE_MTU = 1280

export interface Devices {
  mp0: Link
  mp1: Link
  ipsec0: Link | undefined
  /** Largest packet for a tunnel, by `mpMtu`. */
  mtu: number
}

/** mp0 carries what fits the narrowest WAN link, with the larger of the outer headers that may be in use there. */
export function mpMtu(links: readonly WanLink[]): number {
  const mtus = links.map(link => link.mtu - outerOverhead(link.addresses.some(own => own.family === 6) ? 6 : 4))
  return Math.max(MIN_MP_MTU, Math.min(...(mtus.length > 0 ? mtus : [DEFAULT_WAN_MTU - outerOverhead(6)])))
}

export async function ensureDevices(kernel: KernelPort, options: { esp: boolean; mtu: number }): Promise<Devices> {
  const { network } = kernel
  let links = await network.links()
  const find = (name: string) => links.find(link => link.name === name)
  const ensure = async (spec: LinkSpec) => {
    const present = find(spec.name)
    if (present && present.kind !== spec.kind)
      throw new KernelError(
        'create',
        `${spec.kind} ${spec.name}`,
        'EEXIST',
        `a device of kind ${present.kind ?? 'unknown'} has that name; rename it`,
      )
    if (!present) await network.createLink(spec)
  }
  const mtu = Math.max(MIN_DEVICE_MTU, options.mtu)
  await ensure({ kind: 'veth', name: 'mp0', peer: 'mp1', mtu })
  if (options.esp) await ensure({ kind: 'xfrm', name: 'ipsec0', mtu: IPSEC_MTU })
  links = await network.links()
  const [mp0, mp1, ipsec0] = [find('mp0'), find('mp1'), options.esp ? find('ipsec0') : undefined]
  if (!mp0 || !mp1)
    throw new KernelError('create', 'veth mp0', 'ENODEV', 'mp0 or its peer mp1 is missing; delete the other one')
  for (const link of [mp0, mp1]) {
    // Neighbour and multicast chatter has no place on mp0; a kernel without IPv6 has no such setting.
    const chatter = `ipv6/conf/${link.name}/disable_ipv6`
    if (network.sysctl(chatter) !== undefined) network.setSysctl(chatter, '1')
    if (link.mtu !== mtu) await network.setLink(link.ifindex, { mtu })
    await network.setLink(link.ifindex, { up: true })
  }
  await network.setFeatures(mp0.ifindex, {
    'tx-checksum-ip-generic': false,
    'tx-generic-segmentation': false,
    'tx-tcp-segmentation': false,
    'tx-tcp-ecn-segmentation': false,
    'tx-tcp-mangleid-segmentation': false,
    'tx-tcp6-segmentation': false,
  })
  if (ipsec0) {
    // The programs choose the SA. Without this the kernel first searches all policies for each packet on its way to ipsec0, in vain.
    network.setSysctl('ipv4/conf/ipsec0/disable_xfrm', '1')
    await network.setLink(ipsec0.ifindex, { up: true })
  }
  return { mp0, mp1, ipsec0, mtu: options.mtu }
}

/** Routes, neighbour and rules of the devices, as resources. */
export function wantDevices(reconciler: Reconciler, { mp0, mp1, ipsec0, mtu }: Devices): void {
  reconciler.want({ kind: 'neighbour', value: { ifindex: mp0.ifindex, address: DUMMY_NEIGHBOUR, mac: mp1.mac } })
  reconciler.want({
    kind: 'route',
    value: {
      destination: VIRTUAL_RANGE,
      ifindex: mp0.ifindex,
      gateway: DUMMY_NEIGHBOUR,
      onlink: true,
      protocol: 4,
      mtu,
    },
  })
  if (!ipsec0) return
  const route = { ifindex: ipsec0.ifindex, onlink: true, protocol: 4 }
  reconciler.want({
    kind: 'route',
    value: { ...route, destination: '0.0.0.0/0', gateway: DUMMY_NEIGHBOUR, table: LAST_TABLE, metric: LAST_METRIC },
  })
  reconciler.want({ kind: 'route', value: { ...route, destination: '::/0', gateway: 'fe80::1', table: TABLE } })
  reconciler.want({
    kind: 'rule',
    value: { family: 6, outInterface: 'ipsec0', table: TABLE, priority: RULE_PRIORITY },
  })
}

/** To one peer's virtual address: narrower than that of all. */
export function peerRoute({ mp0 }: Devices, vaddr: string, mtu: number): Extract<Resource, { kind: 'route' }> {
  const destination = `${vaddr}/32`
  const value = { destination, ifindex: mp0.ifindex, gateway: DUMMY_NEIGHBOUR, onlink: true, protocol: 4, mtu }
  return { kind: 'route', value }
}

/** MP brings packets from virtual addresses in on a WAN device: strict reverse-path filtering would drop them. */
export function relaxReversePath(network: Network, device: string): void {
  const strict = [`ipv4/conf/all/rp_filter`, `ipv4/conf/${device}/rp_filter`].some(
    key => network.sysctl(key)?.trim() === '1',
  )
  if (strict) network.setSysctl(`ipv4/conf/${device}/rp_filter`, '2')
}
