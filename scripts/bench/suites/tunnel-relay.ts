/**
 * A gateway between two WAN links, and 64-byte packets through it, one contender a gateway.
 *
 *   source out === wan-a gateway wan-b === in sink
 *   198.51.100.2   .1            203.0.113.1   203.0.113.2
 *
 * The sink drops at the first hook that the contender's packets reach.
 */
import { Namespace, wire } from '../../../tests/net/dataplane/namespace.ts'
import type { BenchPrograms } from '../programs.ts'
import type { Random } from '../random.ts'
import { PREFIX } from './tunnel-pair.ts'
import { mac, Sender, type Sent } from './tunnel-sender.ts'

export const SOURCE = '198.51.100.2'
export const SINK = '203.0.113.2'
export const GATEWAY = { source: '198.51.100.1', sink: '203.0.113.1' }

export class Relay implements Disposable {
  readonly source: Namespace
  readonly gateway: Namespace
  readonly sink: Namespace
  readonly #sender: Sender

  /** @param sink the hook at which the sink drops */
  constructor(name: string, random: Random, sink: 'xdp' | 'tc') {
    const make = (part: string) => new Namespace(`${PREFIX}${name}-${part}`)
    this.source = make('source')
    this.gateway = make('gateway')
    this.sink = make('sink')
    wire(this.source, 'out', this.gateway, 'wan-a')
    wire(this.gateway, 'wan-b', this.sink, 'in')
    const { gateway } = this
    gateway.run('sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0')
    gateway.run(`ip addr add ${GATEWAY.source}/24 dev wan-a`)
    gateway.run(`ip addr add ${GATEWAY.sink}/24 dev wan-b`)
    gateway.run(`ip neigh replace ${SINK} lladdr ${mac(this.sink, 'in')} nud permanent dev wan-b`)
    gateway.run(`ip neigh replace ${SOURCE} lladdr ${mac(this.source, 'out')} nud permanent dev wan-a`)
    // Frames that a veth is given are only taken by a peer that polls: it has a program, or does GRO.
    gateway.run('ethtool -K wan-a gro on')
    this.#sender = new Sender(this.source, 'out', random)
    this.#sender.sink(this.sink, 'in', sink)
  }

  get programs(): BenchPrograms {
    return this.#sender.programs
  }

  attachXdp(namespace: Namespace, device: string, program: string): void {
    this.#sender.attachXdp(namespace, device, program)
  }

  prepare(sent: Sent, packets: number): void {
    this.#sender.prepare(sent, packets)
  }

  send(packets: number): Promise<number> {
    return this.#sender.send(packets)
  }

  [Symbol.dispose](): void {
    this.#sender[Symbol.dispose]()
    for (const namespace of [this.source, this.gateway, this.sink]) namespace[Symbol.dispose]()
  }
}
