/** The process of the gateway: the agent as it is in the product, on the maps, programs and devices of this namespace, and figures about it. */
import { Agent } from '../../../agent/agent.ts'
import { agentConfigSchema } from '../../../agent/config.ts'
import { openLinuxKernel } from '../../../agent/kernel/linux.ts'
import { importKeyPair } from '../../../agent/mp/dh.ts'
import { linuxNet } from '../../../agent/mp/net.ts'
import { formatBe32 } from '../../../schema/address.ts'
import type { NodeState } from '../../../schema/node-state.ts'
import { serve } from './child.ts'

const PEER_TABLE = 4242

let agent: Agent | undefined
const kernel = openLinuxKernel()

function gatewayOf(): Extract<Agent['role'], { kind: 'gateway' }>['gateway'] {
  if (agent?.role.kind !== 'gateway') throw new Error('no gateway runs')
  return agent.role.gateway
}

const warn = (fields: object, message: string) => console.error('gateway:', message, fields)

const procedures = {
  async start({ state, staticKey, directory, bpffs }: Start) {
    const config = agentConfigSchema.parse({
      stateDir: directory,
      runDir: directory,
      bpffs,
      wan: [{ name: 'inet', interface: 'wan0', families: [4] }],
      // Light edges neither probe nor answer. They must not count as lost, and nobody looks at their paths: what that costs is not in the figures.
      timers: { silentMs: 3_600_000, probeMs: 3_600_000 },
    })
    const log = { debug() {}, info() {}, warn, error: warn }
    agent = await Agent.start({
      config,
      staticKey: importKeyPair(Buffer.from(staticKey, 'base64')),
      state,
      kernel,
      net: linuxNet,
      log,
    })
  },

  /** Since the call before. */
  figures(_: undefined) {
    const { vrfs, peers, node } = gatewayOf()
    const loop = node.loop.read()
    global.gc?.()
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
    const cpu = process.cpuUsage()
    // What asking costs is not part of the next window.
    setImmediate(() => node.loop.reset())
    return {
      edges: [...peers.all()].filter(peer => peer.state === 'up').length,
      routes: [...vrfs.all()].reduce((sum, { table }) => sum + table.size, 0),
      reachable: reachable(),
      rss,
      heapUsed,
      arrayBuffers,
      loop,
      cpuMs: (cpu.user + cpu.system) / 1000,
    }
  },

  updates: (_: undefined) => gatewayOf().vrfs.updates,

  /** Routes of a table of their own that netlink adds per second; they are taken back. */
  async netlinkRate({ count }: { count: number }) {
    const [device] = (await kernel.network.links()).filter(({ name }) => name === 'wan0')
    const routes = Array.from({ length: count }, (_, index) => ({
      destination: `10.${index >> 8}.${index & 255}.0/24`,
      ifindex: device?.ifindex ?? 0,
      table: PEER_TABLE,
    }))
    const begin = performance.now()
    await Promise.all(routes.map(route => kernel.network.addRoute(route)))
    const rate = count / ((performance.now() - begin) / 1000)
    await Promise.all(routes.map(route => kernel.network.deleteRoute(route)))
    return rate
  },

  /** Entries of a hash map that batches write per second. */
  mapRate({ count }: { count: number }) {
    const { vaddrs } = gatewayOf().node.dataplane.maps
    const entries = Array.from({ length: count }, (_, index) => [formatBe32(0x64700000 + index), 1] as const)
    const begin = performance.now()
    vaddrs.setMany(entries)
    const rate = count / ((performance.now() - begin) / 1000)
    vaddrs.deleteMany(entries.map(([address]) => address))
    return rate
  },

  /** @returns monotonic ns when the kernel has all of so many updates */
  async installed({ updates }: { updates: number }) {
    const { vrfs, node } = gatewayOf()
    const end = performance.now() + 120_000
    while (vrfs.updates < updates || !node.reconciler.idle) {
      if (performance.now() > end) throw new Error(`${vrfs.updates} of ${updates} updates within 120 s`)
      await new Promise(resolve => setTimeout(resolve, 1))
    }
    return String(process.hrtime.bigint())
  },
}

/** Routes that edges may be sent to now. */
function reachable(): number {
  let count = 0
  for (const { table } of gatewayOf().vrfs.all()) for (const route of table.routes()) if (route.reachable) count += 1
  return count
}

interface Start {
  state: NodeState
  staticKey: string
  directory: string
  bpffs: string
}

export type Gateway = typeof procedures
serve(procedures)
