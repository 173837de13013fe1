/**
 * The devices that keep hosts' TCP in large packets on both sides of a clear tunnel, on nodes with LAN ports:
 *
 *   mps<n>      macvlan over WAN link n. Its transmit cuts a GSO packet that was encapsulated whole; its limits admit one segment (bpf/path/burst.h).
 *   mpg0 - mpg1 veth pair with GRO at its end: joins what tunnels delivered, on the way to a LAN port (bpf/path/gather.h).
 */
import { KernelError } from '../kernel/error.ts'
import type { KernelPort, Link, Network } from '../kernel/port.ts'
import type { Logger } from '../log.ts'
import type { WanLink } from './links.ts'

/** Largest that cuts everything: the kernel refuses 1, and two segments of 1,700 bytes would pass as one packet. */
const GSO_MAX_SIZE = 400
const GATHER_MTU = 9000

export function segmenterName(link: { readonly index: number }): string {
  return `mps${link.index}`
}

/** @returns whether one was made. A WAN device that carries no macvlan (PPP, one that is a bridge's port) goes without: mp0 and mp1 cut then. */
export async function ensureSegmenters(kernel: KernelPort, wan: readonly WanLink[], log: Logger): Promise<boolean> {
  const { network } = kernel
  const links = await network.links()
  let made = false
  for (const link of wan) {
    const name = segmenterName(link)
    const present = links.find(candidate => candidate.name === name)
    if (present?.kind === 'macvlan' && present.parent === link.ifindex) continue
    try {
      if (present?.kind === 'macvlan') await network.deleteLink(present.ifindex)
      const { ifindex } = await network.createLink({
        kind: 'macvlan',
        name,
        parent: link.ifindex,
        gsoMaxSize: GSO_MAX_SIZE,
        gsoMaxSegments: 1,
        mtu: link.mtu,
      })
      silence(network, name)
      await network.setLink(ifindex, { up: true })
      made = true
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      log.warn(
        { err: error, link: link.name },
        `no ${name} over WAN link ${link.name}: TCP to clear peers is slower there`,
      )
    }
  }
  return made
}

/** The veth pair at whose second end TCP segments for hosts are joined. */
export interface GatherPair {
  mpg0: Link
  mpg1: Link
}

/** @throws KernelError */
export async function ensureGather(kernel: KernelPort): Promise<GatherPair> {
  const { network } = kernel
  const find = async (name: string) => (await network.links()).find(link => link.name === name)
  if (!(await find('mpg0'))) await network.createLink({ kind: 'veth', name: 'mpg0', peer: 'mpg1', mtu: GATHER_MTU })
  const [mpg0, mpg1] = [await find('mpg0'), await find('mpg1')]
  if (!mpg0 || !mpg1)
    throw new KernelError('create', 'veth mpg0', 'ENODEV', 'mpg0 or its peer mpg1 is missing; delete the other one')
  // A veth passes packets through GRO when its sender offers no TSO.
  await network.setFeatures(mpg0.ifindex, {
    'tx-tcp-segmentation': false,
    'tx-tcp-ecn-segmentation': false,
    'tx-tcp-mangleid-segmentation': false,
    'tx-tcp6-segmentation': false,
  })
  await network.setFeatures(mpg1.ifindex, { 'rx-gro': true })
  for (const link of [mpg0, mpg1]) {
    silence(network, link.name)
    await network.setLink(link.ifindex, { up: true })
  }
  return { mpg0, mpg1 }
}

/** Neighbour and multicast chatter has no place on these; a kernel without IPv6 has no such setting. */
export function silence(network: Network, device: string): void {
  const chatter = `ipv6/conf/${device}/disable_ipv6`
  if (network.sysctl(chatter) !== undefined) network.setSysctl(chatter, '1')
}
