/** The WAN carries IPv6 alone; branches use both families inside. */
import { Capture } from '../capture.ts'
import type { Scenario } from '../scenario.ts'
import { switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { ping, TcpTransfer } from '../traffic.ts'

export const ipv6: Scenario = {
  name: 'ipv6',
  about: 'IPv6 outside and both families inside',
  enterprises: ['acme'],
  families: [6],
  async run(stage) {
    const { story, lab, system } = stage
    await story.step('every path runs over IPv6', async () => {
      for (const edge of system.edges)
        for (const path of (await edge.status()).peers.flatMap(peer => peer.paths)) {
          claim(path.remote.startsWith('['), `${edge.name} has a path to ${path.remote}`)
          story.note(`${edge.name}: ${path.local} -> ${path.remote}`)
        }
      await lab.run('inet', ['sh', '-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward'])
    })
    const capture = await Capture.start(lab, 'inet')
    await switchOn(stage, 'acme')
    await story.step('both families cross', async () => {
      for (const family of [4, 6] as const) {
        const answers = await ping(lab, 'a1', 'b1', family, 5)
        claim(answers === 5, `b1 answered ${answers} of 5 over IPv${family}`)
        const source = 'head -c 500000 /dev/urandom'
        const transfer = await TcpTransfer.start(lab, { from: 'a1', to: 'b1', family, port: 7500 + family, source })
        await transfer.finish(60_000)
      }
    })
    await story.step('the WAN saw UDP 2426 over IPv6 alone', async () => {
      const { packets, ipv4 } = await capture.stop('nothing to look for')
      story.note(`${packets.mp} packets on UDP 2426`)
      claim(packets.mp > 100, 'the capture is too small to prove anything')
      story.figure('ipv4-packets-on-wan', ipv4, 'packets', 0)
      story.figure('other-packets-on-wan', packets.other, 'packets', 0)
    })
  },
}
