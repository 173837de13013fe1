/** The process of the edges: identities for one gateway and any number of edges, and what these edges do together. */

import { exportPrivate } from '../../../agent/mp/dh.ts'
import { decodeSigned } from '../../../agent/mp/signed.ts'
import { formatBe32 } from '../../../schema/address.ts'
import { Anchor, gatewayEntry, type TestEnterprise, type TestNode } from '../../../tests/identities.ts'
import { serve } from './child.ts'
import { LightEdge } from './light-edge.ts'

const GATEWAY = '192.0.2.1'
/** Edges that are in their handshake at the same time. */
const CONCURRENT = 64
const EDGE_SPACE = 0xc6120000 // 198.18.0.0/15

const anchor = new Anchor()
let gateway: TestNode | undefined
let enterprise: TestEnterprise | undefined
const edges: LightEdge[] = []
let told = 0
let toldReachable = 0
let lastTold = 0n

function onRoute(reachable: boolean): void {
  told += 1
  if (!reachable) return
  toldReachable += 1
  lastTold = process.hrtime.bigint()
}

/** Unique within the enterprise; one in four is IPv6. */
function prefixOf(number: number): string {
  const [high, low] = [(number >> 8) & 0xff, number & 0xff]
  return number % 4 === 3 ? `2001:db8:${high.toString(16)}:${(low + 1).toString(16)}::/64` : `10.${high}.${low}.0/24`
}

function makeEdge(index: number, perEnterprise: number, prefixes: number): LightEdge {
  if (!gateway) throw new Error('no gateway yet')
  const branch = index % perEnterprise
  if (branch === 0 || !enterprise)
    enterprise = anchor.enterprise(`tenant-${Math.floor(index / perEnterprise)}`, 'clear')
  const allowed = [
    { prefix: '10.0.0.0/8', reachable: true },
    { prefix: '2001:db8::/32', reachable: true },
  ]
  const { state, staticKey } = anchor.edge(`edge-${index}`, enterprise, allowed, [])
  const grant = decodeSigned(Buffer.from(state.grant, 'base64'))
  if (!grant.ok) throw new Error(grant.problem)
  return new LightEdge({
    address: formatBe32(EDGE_SPACE + 256 + index),
    gateway: { address: GATEWAY, staticKey: gateway.staticKey.publicKey.raw },
    node: state.node,
    staticKey,
    grant: grant.value,
    trust: { anchors: state.trust.anchors.map(text => Buffer.from(text, 'base64')), revocations: undefined },
    prefixes: Array.from({ length: prefixes }, (_, number) => prefixOf(branch * prefixes + number)),
    onRoute,
  })
}

const procedures = {
  identify(_: undefined) {
    gateway = anchor.gateway('gw1', '100.64.0.0/16')
    return {
      state: gateway.state,
      entry: gatewayEntry(gateway, GATEWAY),
      staticKey: Buffer.from(exportPrivate(gateway.staticKey)).toString('base64'),
    }
  },

  /** More edges, all at once as far as CONCURRENT allows. @returns ms */
  async connect({ count, perEnterprise, prefixes }: { count: number; perEnterprise: number; prefixes: number }) {
    const first = edges.length
    for (let index = first; index < first + count; index++) edges.push(makeEdge(index, perEnterprise, prefixes))
    const begin = performance.now()
    let next = first
    const one = async () => {
      for (let index = next++; index < edges.length; index = next++)
        await edges[index]?.connect((index + 1) << 4, false)
    }
    await Promise.all(Array.from({ length: CONCURRENT }, one))
    return performance.now() - begin
  },

  told: (_: undefined) => ({ told, toldReachable }),

  /**
   * The first `count` edges announce that they can be reached, or no longer.
   * @returns monotonic ns of the start, and of the moment when `expected` routes have been told since
   */
  async toggle({ count, reachable, expected }: { count: number; reachable: boolean; expected: number }) {
    const before = reachable ? toldReachable : told
    const heard = () => (reachable ? toldReachable : told) - before
    const start = process.hrtime.bigint()
    for (const edge of edges.slice(0, count)) edge.announce(reachable)
    const end = performance.now() + 120_000
    while (heard() < expected) {
      if (performance.now() > end) throw new Error(`${heard()} of ${expected} routes were told within 120 s`)
      await new Promise(resolve => setTimeout(resolve, 1))
    }
    return { start: String(start), last: String(reachable ? lastTold : process.hrtime.bigint()) }
  },
}
export type Edges = typeof procedures
serve(procedures)
