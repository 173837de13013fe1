/**
 * Two edges that protect what they send each other, or do not (tunnel-pair.ts), and packets of one size from a host behind one to a host behind the
 * other, where they end.
 */

import { parseMac } from '../../../agent/kernel/netlink/link.ts'
import { zeroBundle } from '../../../agent/plan/values.ts'
import { ethernet, filler, ip, udp } from '../../../tests/packet/build.ts'
import type { Random } from '../random.ts'
import { Ours, PEER, SID } from './tunnel-ours.ts'
import { HOST, Pair, SITES } from './tunnel-pair.ts'
import { mac, Sender } from './tunnel-sender.ts'

const HEADERS = 28

export class ProtectedPair implements Disposable {
  readonly pair: Pair
  readonly ours: Ours
  readonly #sender: Sender
  readonly #whole: DisposableStack

  /** @param fec as in the MP header; 0: none. @param length of the IP packets */
  constructor(name: string, { fec, length, random }: { fec: number; length: number; random: Random }) {
    using whole = new DisposableStack()
    this.pair = whole.use(new Pair(name))
    this.ours = whole.use(new Ours(this.pair))
    for (const site of SITES) this.#protect(site, fec)
    const { hosts, nodes } = this.pair
    // Frames that a veth is given are only taken by a peer that polls.
    nodes.a.run('ethtool -K lan0 gro on')
    this.#sender = whole.use(new Sender(hosts.a, 'eth0', random))
    const dst = [...parseMac(mac(nodes.a, 'lan0'))]
    const packet = ip({ src: HOST.a, dst: HOST.b }, udp(1000, 2000, filler(length - HEADERS)))
    this.#sender.prepare({ frame: ethernet(packet, { dst, src: [...parseMac(mac(hosts.a, 'eth0'))] }) }, 0)
    this.#whole = whole.move()
  }

  /** In all classes. */
  #protect(site: 'a' | 'b', fec: number): void {
    const { maps } = this.ours.nodes[site]
    maps.bundles.set(SID[site], zeroBundle())
    const peer = maps.peers.get(PEER)
    if (peer) maps.peers.set(PEER, { ...peer, steering: peer.steering.map(word => ({ ...word, fec })) })
  }

  /** From now on what arrives at the far host ends there. */
  sink(): void {
    this.#sender.sink(this.pair.hosts.b, 'eth0', 'tc')
  }

  /** Million packets a second. @throws BenchError when most did not come through */
  send(packets: number): Promise<number> {
    return this.#sender.send(packets)
  }

  [Symbol.dispose](): void {
    this.#whole[Symbol.dispose]()
  }
}
