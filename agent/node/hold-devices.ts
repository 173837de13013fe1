/**
 * mph0 - mph1: a veth pair with an fq, where packets from one tunnel to the next wait to be put in order (bpf/path/hold.h); on gateways. Without fq in
 * the kernel there is none, and packets that overtook each other stay so.
 */
import { KernelError } from '../kernel/error.ts'
import type { KernelPort, Link } from '../kernel/port.ts'
import { ROOT } from '../kernel/queueing.ts'
import type { Logger } from '../log.ts'
import { type GatherPair, silence } from './offload-devices.ts'
import { FQ_LIMITS } from './playout-queues.ts'
import { HANDLE } from './queues.ts'

/** Above any path's. */
const MTU = 9000

export interface HoldPair {
  mph0: Link
  mph1: Link
}

export interface NodePairs {
  /** Of nodes with LAN ports. */
  gather: GatherPair | undefined
  /** Of nodes between tunnels. */
  hold: HoldPair | undefined
}

/** @throws KernelError */
export async function ensureHold({ network }: KernelPort, log: Logger): Promise<HoldPair | undefined> {
  const find = async (name: string) => (await network.links()).find(link => link.name === name)
  if (!(await find('mph0'))) await network.createLink({ kind: 'veth', name: 'mph0', peer: 'mph1', mtu: MTU })
  const [mph0, mph1] = [await find('mph0'), await find('mph1')]
  if (!mph0 || !mph1)
    throw new KernelError('create', 'veth mph0', 'ENODEV', 'mph0 or its peer mph1 is missing; delete the other one')
  try {
    await network.replaceQdisc({ ...FQ_LIMITS, ifindex: mph0.ifindex, handle: HANDLE, parent: ROOT })
  } catch (error) {
    if (!(error instanceof KernelError && error.code === 'ENOENT')) throw error
    await network.deleteLink(mph0.ifindex)
    log.info({ err: error }, 'this kernel has no fq: packets between tunnels that overtook each other stay so')
    return undefined
  }
  for (const link of [mph0, mph1]) {
    silence(network, link.name)
    await network.setLink(link.ifindex, { up: true })
  }
  return { mph0, mph1 }
}
