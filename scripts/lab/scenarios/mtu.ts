/**
 *   a1 ==TCP=> branch-a === inet === gw1 === inet === branch-b <=TCP, UDP== b1
 *
 * The router in the middle carries less than the links to it, changes that while traffic flows, and keeps silent about it: every ICMP packet is
 * dropped there. No link of a node changes, so nothing tells the nodes.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Flow } from '../flow.ts'
import { routerDevice } from '../network.ts'
import { Progress } from '../progress.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { addressOf, familyOf, routerAddress, subnetOf } from '../topology.ts'
import { hostAddress, TcpTransfer } from '../traffic.ts'
import { until } from '../until.ts'

/** Steps down and back up, most to least and in one leap. */
const WIDTHS = [1460, 1400, 1340, 1300, 1280, 1500, 1280, 1500]
/** A search goes no nearer (agent/paths/mtu-search.ts). */
const GRAIN = 8
/** A larger size is tried after 5 s, then each time after twice as long. */
const SETTLES_MS = 60_000
const STALL_BAR_MS = 3000
/** Experiment at each width; `--count` is seconds. */
const SECONDS = 4
/** Fits into every width, headers and ESP included. */
const DATAGRAM = 1000
const DATAGRAMS_PER_S = 100
/** 400 kB/s: no link of the lab is busy, so a stall is not a queue. */
const CHUNK = 'head -c 20000 /dev/urandom; sleep 0.05'
const [TCP4, UDP6, TCP6] = [7604, 7605, 7610]
/** Neighbour discovery is ICMPv6 as well and must pass, or IPv6 ends on the link itself. */
const NO_ICMP = `table inet silent {
  chain forward { type filter hook forward priority 0; meta l4proto { icmp, icmpv6 } counter drop; }
  chain output {
    type filter hook output priority 0;
    meta l4proto icmp counter drop
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } counter drop
  }
}`

export const mtu: Scenario = {
  name: 'mtu',
  about:
    'a router in the middle carries 1280 to 1500 bytes, changes it under traffic, and drops ICMP: TCP never stalls',
  enterprises: ['acme'],
  async run(stage) {
    const { story, lab, count = SECONDS } = stage
    await switchOn(stage, 'acme')
    await story.step('the WAN drops ICMP', () => lab.run('inet', ['nft', '-f', '-'], { stdin: NO_ICMP }))
    const sessions = await tunnels(stage)
    const traffic = await Traffic.start(stage)
    for (const [index, width] of WIDTHS.entries())
      await story.step(`the router carries ${width} bytes`, async () => {
        const begin = performance.now()
        await narrow(stage, width)
        await until(`all paths are known to carry ${width}`, SETTLES_MS, async () =>
          (await paths(stage)).every(path => path.mtu <= width && path.mtu > width - GRAIN),
        )
        const settled = Math.round(performance.now() - begin)
        story.note(`known after ${settled} ms, by ${(await paths(stage)).length} ends of paths`)
        await traffic.overIpv6(stage, index, count)
      })
    await story.step('nothing stood still, was lost or damaged', () => traffic.finish(stage))
    await story.step('every session is still the one of the beginning', async () =>
      claim((await tunnels(stage)) === sessions, `sessions were ${sessions}, are ${await tunnels(stage)}`),
    )
    await tooNarrow(stage)
  },
}

class Traffic {
  readonly #transfer: TcpTransfer
  readonly #progress: Progress
  readonly #flow: Flow
  /** The senders end when this file is there. */
  readonly #stop: string
  /** Of the connections over IPv6. */
  #longestMs = 0

  /** One TCP connection over IPv4 and datagrams, for as long as the story lasts. */
  static async start({ lab }: Stage): Promise<Traffic> {
    const stop = join(lab.machine.local, 'mtu-stop')
    const source = `until [ -e ${stop} ]; do ${CHUNK}; done`
    const transfer = await TcpTransfer.start(lab, { from: 'a1', to: 'b1', family: 4, port: TCP4, source })
    const flow = await Flow.start(lab, {
      from: 'b1',
      to: 'a1',
      address: hostAddress(lab, 'a1', 6),
      port: UDP6,
      tag: 'mtu',
      pps: DATAGRAMS_PER_S,
      size: DATAGRAM,
    })
    return new Traffic(transfer, new Progress(lab, 'b1', TCP4), flow, stop)
  }

  private constructor(transfer: TcpTransfer, progress: Progress, flow: Flow, stop: string) {
    this.#transfer = transfer
    this.#progress = progress
    this.#flow = flow
    this.#stop = stop
  }

  /**
   * A connection over IPv6, the other way, for so many seconds. A new one at each width: no message makes an established one send less than 1280
   * bytes (RFC 8201, 4), and a tunnel over less carries less.
   */
  async overIpv6({ lab }: Stage, index: number, seconds: number): Promise<void> {
    const port = TCP6 + index
    const stop = `${this.#stop}-${index}`
    const source = `until [ -e ${stop} ]; do ${CHUNK}; done`
    const transfer = await TcpTransfer.start(lab, { from: 'b1', to: 'a1', family: 6, port, source })
    const progress = new Progress(lab, 'a1', port)
    await sleep(seconds * 1000)
    this.#longestMs = Math.max(this.#longestMs, await progress.stop())
    await lab.run('b1', ['touch', stop])
    await transfer.finish(30_000)
  }

  async finish({ story, lab }: Stage): Promise<void> {
    story.figure('tcp4-longest-stall', await this.#progress.stop(), 'ms', STALL_BAR_MS)
    story.figure('tcp6-longest-stall', this.#longestMs, 'ms', STALL_BAR_MS)
    const { sent, lost } = await this.#flow.finish()
    story.note(`${Math.round(this.#progress.bytes / 1e6)} MB over one IPv4 connection, ${sent} datagrams over IPv6`)
    story.figure('datagrams-lost', lost, 'packets', 0)
    await lab.run('a1', ['touch', this.#stop])
    await this.#transfer.finish(30_000)
  }
}

/** Below what a path must carry: said, not used, and used again when it has become wider. */
async function tooNarrow(stage: Stage): Promise<void> {
  const { story, lab, system } = stage
  const large = (to: string) => lab.exec('a1', ['ping', '-n', '-c', '2', '-i', '0.2', '-W', '1', '-s', '1000', to])
  await story.step('the router carries 500 bytes: no path is of use, and the edge says so', async () => {
    await narrow(stage, 500)
    // The other edge's path is idle: it is not asked before there is something to carry.
    await until('branch-a says so', SETTLES_MS, async () => {
      await large(hostAddress(lab, 'b1', 4))
      const events = await system.agent('branch-a').events()
      return events.some(({ code, severity }) => code === 'path-mtu' && severity === 'warning')
    })
  })
  await story.step('the router carries 1500 bytes: they are used again', async () => {
    await narrow(stage, 1500)
    await until('a1 reaches b1', SETTLES_MS, async () => (await large(hostAddress(lab, 'b1', 4))).code === 0)
  })
}

/** Every end of a path that an edge or the gateway has with its peers. */
async function paths({ system }: Stage): Promise<{ mtu: number }[]> {
  const statuses = await Promise.all(system.agents.map(agent => agent.status()))
  return statuses.flatMap(({ peers }) => peers.flatMap(peer => peer.paths))
}

async function tunnels({ system }: Stage): Promise<string> {
  const statuses = await Promise.all(system.agents.map(agent => agent.status()))
  return statuses.flatMap(({ peers }) => peers.map(peer => `${peer.name} ${peer.rekeys}`)).join(', ')
}

/** By the router's routes: its devices, and so the nodes' links, stay as they are. */
async function narrow({ lab, system }: Stage, width: number): Promise<void> {
  for (const { node } of system.agents)
    for (const [index, link] of node.wan.entries())
      for (const address of link.addresses) {
        const device = routerDevice(lab.topology, node.name, index)
        const route = [subnetOf(address), 'dev', device, 'proto', 'kernel']
        if (familyOf(address) === 4) route.push('scope', 'link', 'src', addressOf(routerAddress(address)))
        else route.push('metric', '256')
        await lab.run(link.to, ['ip', 'route', 'replace', ...route, 'mtu', 'lock', String(width)])
      }
}
