/** Our own programs on both nodes: one session, one path, static maps (tests/net/dataplane/static-node.ts) where an agent would write them. */
import { nexthopKind } from '../../../schema/abi.gen.ts'
import { StaticNode } from '../../../tests/net/dataplane/static-node.ts'
import { LAN, other, type Pair, SITES, type Site, WAN, WAN_MTU } from './tunnel-pair.ts'

const MP_MTU = WAN_MTU - 68
const VADDR: Record<Site, string> = { a: '100.64.0.1', b: '100.64.0.2' }
export const SID: Record<Site, number> = { a: 0x100, b: 0x200 }
const TX_KEY: Record<Site, bigint[]> = { a: [1n, 2n], b: [3n, 4n] }
export const PEER = 1

export class Ours implements Disposable {
  readonly nodes: Record<Site, StaticNode>

  constructor(pair: Pair) {
    const node = (site: Site) => new StaticNode(pair.nodes[site], { vaddr: VADDR[site], secure: false, mpMtu: MP_MTU })
    this.nodes = { a: node('a'), b: node('b') }
    for (const site of SITES) this.#connect(site)
  }

  #connect(site: Site): void {
    const node = this.nodes[site]
    const peer = other(site)
    node.addWan('wan0')
    node.addSession(
      {
        sid: SID[site],
        remoteSid: SID[peer],
        peer: PEER,
        vaddrRemote: VADDR[peer],
        txKey: TX_KEY[site],
        rxKey: TX_KEY[peer],
        device: 'wan0',
        local: WAN[site],
        remote: WAN[peer],
        wanMtu: WAN_MTU,
      },
      { clear: MP_MTU, secure: 0 },
    )
    node.addPort('lan0', LAN[site].replace('0/24', '1'), 'fd00::1')
    node.addRoute(LAN[site], { kind: nexthopKind.NH_LAN, flags: 0, target: node.namespace.ifindex('lan0') })
    node.addRoute(LAN[peer], { kind: nexthopKind.NH_PEER, flags: 0, target: PEER })
  }

  [Symbol.dispose](): void {
    for (const site of SITES) this.nodes[site][Symbol.dispose]()
  }
}
