/**
 *   a1 === branch-a === home (NAT) === inet === gw1
 *   b1 === branch-b === flat (NAT) === carrier (NAT) === inet
 *
 * NATs forget their mappings, take other ports and get other addresses; a branch's own link gets another one. The gateway follows what is authentic,
 * and hosts notice nothing but a moment without packets.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Flow } from '../flow.ts'
import type { Lab } from '../lab.ts'
import { peeringDevice, wanDevice } from '../network.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { longestSilenceMs } from '../silence.ts'
import { switchOn } from '../steps.ts'
import { since, tcpCounters } from '../tcp-counters.ts'
import { addressOf, findNode, routerAddress } from '../topology.ts'
import { hostAddress, pacedSource, TcpTransfer } from '../traffic.ts'
import { until } from '../until.ts'

/** Times each; `--count`. */
const TIMES = 5
const EVERY_MS = 10
const GAP_BAR_MS = 200
const FOLLOWS_MS = 5000
const BEFORE_AND_AFTER_MS = 1500
const GATEWAY = '198.51.100.2'
const IPV4_UDP = 28
/** Of the packet number in an MP header. */
const NUMBER = 16
/** Ports that a NAT gives out one after the other. */
const FIRST_PORT = 30_000

export const nat: Scenario = {
  name: 'nat',
  about:
    'a branch behind a NAT and one behind two: mappings, ports and addresses change under traffic; gap at most 200 ms',
  topology: 'behind-nat',
  enterprises: ['acme'],
  families: [4],
  async run(stage) {
    const { story, lab, count = TIMES } = stage
    await switchOn(stage, 'acme')
    const stop = `${lab.machine.local}/nat-stop`
    const before = await tcpCounters(lab, 'a1')
    const transfers = [
      await TcpTransfer.start(lab, { from: 'a1', to: 'b1', family: 4, port: 7900, source: pacedSource(400_000, stop) }),
      await TcpTransfer.start(lab, { from: 'b1', to: 'a1', family: 6, port: 7901, source: pacedSource(400_000, stop) }),
    ]
    let port = FIRST_PORT
    await times(stage, 'nat-port', count, 'the NAT of branch-a takes another port', () =>
      rebind(stage, 'home', { port: port++ }),
    )
    await times(stage, 'outer-nat-port', count, 'the outer NAT of branch-b takes another port', () =>
      rebind(stage, 'carrier', { port: port++ }),
    )
    let host = 0
    await times(stage, 'nat-address', count, 'the NAT of branch-a gets another address', () =>
      rebind(stage, 'home', { address: `203.0.113.${42 + (++host % 4)}/29` }),
    )
    await times(stage, 'link-address', count, 'the link of branch-a gets another address', () =>
      readdress(stage, `192.168.1.${2 + (++host % 100)}/24`),
    )
    await story.step('both TCP connections end with the right hash, and none was reset', async () => {
      await lab.run('a1', ['touch', stop])
      for (const transfer of transfers) await transfer.finish(30_000)
      story.figure('tcp-resets', since(before, await tcpCounters(lab, 'a1')).resets, 'resets', 0)
    })
    await forged(stage)
  },
}

/** The change again and again under flows of 100 packets a second in both directions: the longest silence of each. */
async function times(stage: Stage, figure: string, count: number, what: string, change: () => Promise<void>) {
  const { story, lab } = stage
  await story.step(`${count} times: ${what}`, async () => {
    const flow = (from: string, to: string, port: number) =>
      Flow.start(lab, { from, to, address: hostAddress(lab, to, 4), port, tag: what, pps: 1000 / EVERY_MS, log: true })
    const flows = [
      ['out', await flow('a1', 'b1', 7910)],
      ['in', await flow('b1', 'a1', 7911)],
    ] as const
    for (let time = 0; time < count; time++) {
      // The length of the experiment: silence before and after would be of another change.
      await sleep(BEFORE_AND_AFTER_MS)
      const before = await remotes(stage)
      await change()
      await until('the gateway follows', FOLLOWS_MS, async () => (await remotes(stage)).join() !== before.join())
    }
    await sleep(BEFORE_AND_AFTER_MS)
    for (const [direction, each] of flows) {
      const { sent, lost } = await each.finish()
      const gap = Math.round(longestSilenceMs(each.arrivals(), EVERY_MS))
      story.note(`${direction}: ${lost} of ${sent} packets lost`)
      story.figure(`${figure}-gap-${direction}`, gap, 'ms', GAP_BAR_MS)
    }
  })
}

/** Where the gateway sends what is for each edge. */
async function remotes({ system }: Stage): Promise<string[]> {
  const { peers } = await system.agent('gw1').status()
  return peers.map(({ paths }) => paths.map(({ remote }) => remote).join())
}

/** Mappings of an address go with it (nf_nat_masquerade.c): taking it away and giving it back is the NAT's restart. */
async function rebind({ lab }: Stage, name: string, to: { port?: number; address?: string }): Promise<void> {
  const node = findNode(lab.topology, name)
  const upstream = node.kind === 'wan' ? node.peers[0] : undefined
  const [given] = upstream?.addresses ?? []
  if (!upstream || !given) throw new TypeError(`${name} has no upstream`)
  const device = peeringDevice(lab.topology, upstream.to)
  const masquerade = to.port === undefined ? 'masquerade' : `ip protocol udp masquerade to :${to.port}`
  const rules = `flush chain ip nat out\nadd rule ip nat out oifname ${device} ${masquerade}\n`
  await lab.run(name, ['nft', '-f', '-'], { stdin: rules })
  await replaceAddress(lab, name, { device, address: to.address ?? given, router: routerAddress(given), metric: 0 })
}

/** As by DHCP: the old address goes, another comes. */
async function readdress({ lab, system }: Stage, address: string): Promise<void> {
  const { node } = system.agent('branch-a')
  const [link] = node.wan
  if (!link) throw new TypeError('branch-a has no link')
  const to = { device: wanDevice(link), address, router: routerAddress(address), metric: 100 }
  await replaceAddress(lab, node.name, to)
}

/** In one process: what the lab takes for it is part of the gap. */
async function replaceAddress(
  lab: Lab,
  node: string,
  { device, address, router, metric }: { device: string; address: string; router: string; metric: number },
): Promise<void> {
  const commands = `addr flush dev ${device} scope global
addr add ${address} dev ${device}
route replace default via ${addressOf(router)} dev ${device} metric ${metric}
`
  await lab.run(node, ['ip', '-4', '-batch', '-'], { stdin: commands })
}

/** What somebody sends who sees the tunnel's packets, but has no keys: one of them again, and the same with a later number. */
async function forged(stage: Stage): Promise<void> {
  const { story, lab, system } = stage
  const gateway = system.agent('gw1')
  await story.step('packets from elsewhere, played again or forged, move nothing', async () => {
    const before = await remotes(stage)
    const dropped: Readonly<Record<string, number>> = (await gateway.drops()).drops
    const seen = await onePacket(lab)
    const later = Buffer.from(seen)
    later.writeBigUInt64BE(seen.readBigUInt64BE(NUMBER) + 1000n, NUMBER)
    for (const packet of [seen, later])
      await lab.run('inet', ['sh', '-ec', `echo ${packet.toString('base64')} | base64 -d | nc -u -w 1 ${GATEWAY} 2426`])
    await until('the gateway has refused both', 10_000, async () => {
      const drops: Readonly<Record<string, number>> = (await gateway.drops()).drops
      return ['mp-replay', 'mp-tag'].every(reason => (drops[reason] ?? 0) > (dropped[reason] ?? 0))
    })
    const after = await remotes(stage)
    story.figure('moved-by-forgery', after.filter((each, index) => each !== before[index]).length, 'paths', 0)
  })
}

/** UDP payload of the next packet of a tunnel on its way to the gateway. */
async function onePacket(lab: Lab): Promise<Buffer> {
  const filter = `udp dst port 2426 and dst ${GATEWAY} and udp[8] >= 0x11 and udp[8] <= 0x14`
  const text = await lab.run('inet', ['timeout', '10', 'tcpdump', '-i', 'any', '-n', '-x', '-c', '1', filter])
  const hex = [...text.matchAll(/^\s+0x[0-9a-f]+:\s+([0-9a-f ]+)$/gm)].map(([, words = '']) =>
    words.replaceAll(' ', ''),
  )
  return Buffer.from(hex.join(''), 'hex').subarray(IPV4_UDP)
}
