/** Narrow WAN links, and a WAN that keeps silent about it: every ICMP packet is dropped there. */
import { routerDevice, wanDevice } from '../network.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { TcpTransfer } from '../traffic.ts'
import { until } from '../until.ts'

const MEGABYTES = 50
const MTUS = [1280, 1400, 1500]
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
  about: '50 MB of TCP (--count for another size) with 1280, 1400 and 1500 bytes on the WAN and ICMP dropped there',
  enterprises: ['acme'],
  async run(stage) {
    const { story, lab, count = MEGABYTES } = stage
    await switchOn(stage, 'acme')
    await story.step('the WAN drops ICMP', () => lab.run('inet', ['nft', '-f', '-'], { stdin: NO_ICMP }))
    for (const [index, size] of MTUS.entries())
      await story.step(`${count} MB with a WAN MTU of ${size}`, async () => {
        await setMtu(stage, size)
        const begin = performance.now()
        // Fast to make, and no two blocks alike: a lost or doubled one changes the hash.
        const source = `seq 1 100000000 | head -c ${count}000000`
        const transfer = await TcpTransfer.start(lab, { from: 'a1', to: 'b1', family: 4, port: 7600 + index, source })
        await transfer.finish(count * 10_000)
        const seconds = (performance.now() - begin) / 1000
        story.figure(`tcp-mtu-${size}`, Math.round((count * 8) / seconds), 'Mb/s', null)
      })
  },
}

/** Both ends of every WAN link. A path takes its MTU at the handshake, so the edges make new ones. */
async function setMtu({ lab, system }: Stage, size: number): Promise<void> {
  for (const { node } of system.agents)
    for (const [index, link] of node.wan.entries()) {
      await lab.run(node.name, ['ip', 'link', 'set', wanDevice(link), 'mtu', String(size)])
      await lab.run(link.to, ['ip', 'link', 'set', routerDevice(lab.topology, node.name, index), 'mtu', String(size)])
    }
  for (const edge of system.edges) {
    await until(`${edge.name} uses an MTU of ${size}`, 30_000, async () => {
      const paths = (await edge.status()).peers.flatMap(peer => peer.paths)
      claim(paths.length > 0, `${edge.name} has no path`)
      if (paths.every(path => path.mtu === size)) return true
      await edge.rekey()
      return false
    })
  }
}
