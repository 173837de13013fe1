/**
 * A gateway between two WAN links, and 64-byte packets through it, one contender a gateway.
 *
 *   source out === wan-a gateway wan-b === in sink
 *   198.51.100.2   .1            203.0.113.1   203.0.113.2
 *
 * Sender, gateway and sink run on one CPU, one after the other. The sender costs every contender the same (bpf/bench/tunnel.bpf.c); the sink
 * drops at the first hook that the contender's packets reach.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { readPerCpuSums } from '../../../agent/kernel/bpf-map.ts'
import { KernelError } from '../../../agent/kernel/error.ts'
import { checkResult, linkCreate, mapLookup, mapUpdate, sendLiveFrames } from '../../../agent/kernel/libbpf.ts'
import { closeFd } from '../../../agent/kernel/native.ts'
import { runXdp } from '../../../agent/kernel/prog-run.ts'
import { XDP, XDP_FLAGS_DRV_MODE } from '../../../agent/kernel/programs.ts'
import { Namespace, wire } from '../../../tests/net/dataplane/namespace.ts'
import { BenchError } from '../error.ts'
import { BenchPrograms } from '../programs.ts'
import type { Random } from '../random.ts'
import { PREFIX } from './tunnel-pair.ts'

const TCX_INGRESS = 46
export const SOURCE = '198.51.100.2'
export const SINK = '203.0.113.2'
export const GATEWAY = { source: '198.51.100.1', sink: '203.0.113.1' }
const FRAME_MAX = 192
const ARRIVAL_MS = 1000
const CHUNK = 50_000

/** What the source sends: a frame, and for MP where its header is and the key of its tag. */
export interface Sent {
  readonly frame: Uint8Array
  readonly mpAt?: number
  readonly key?: readonly [bigint, bigint]
}

export class Relay implements Disposable {
  readonly source: Namespace
  readonly gateway: Namespace
  readonly sink: Namespace
  readonly programs: BenchPrograms
  readonly #links: number[] = []
  #sent: Sent = { frame: new Uint8Array() }

  /** @param sink the hook at which the sink drops: frames come to XDP, packets of the stack to tc */
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
    this.programs = new BenchPrograms('tunnel', random)
    if (sink === 'xdp') this.attachXdp(this.sink, 'in', 'sink_xdp')
    else this.#attach(this.sink, 'in', 'sink_tc', TCX_INGRESS, 0)
  }

  attachXdp(namespace: Namespace, device: string, program: string): void {
    this.#attach(namespace, device, program, XDP, XDP_FLAGS_DRV_MODE)
  }

  #attach(namespace: Namespace, device: string, program: string, type: number, flags: number): void {
    const link = namespace.enter(() =>
      linkCreate(this.programs.program(program), namespace.ifindex(device), type, flags),
    )
    this.#links.push(checkResult(link, 'attach', `${program} to ${device}`))
  }

  /** From now on this is sent; `packets` different ones when it is MP. */
  prepare(sent: Sent, packets: number): void {
    this.#sent = sent
    this.#rewind()
    if (sent.mpAt === undefined) return
    this.#runUntil(packets, repeat => {
      runXdp(this.programs.program('stamp'), { packet: sent.frame, repeat })
    })
  }

  /** @returns million packets a second that came through. @throws BenchError when most did not */
  async send(packets: number): Promise<number> {
    this.#rewind()
    const before = this.#arrived()
    const begin = performance.now()
    this.source.enter(() =>
      this.#runUntil(packets, repeat => {
        checkResult(sendLiveFrames(this.programs.program('send'), this.#sent.frame, repeat), 'send', 'frames')
      }),
    )
    while (this.#arrived() - before < packets && performance.now() - begin < ARRIVAL_MS) await sleep(1)
    const ms = performance.now() - begin
    const arrived = this.#arrived() - before
    if (arrived < packets / 2)
      throw new BenchError(`${arrived} of ${packets} packets came through ${this.gateway.name}`)
    return arrived / ms / 1000
  }

  /** A signal ends a run early; how far it came is in the map. */
  #runUntil(packets: number, run: (repeat: number) => void): void {
    for (let done = 0; done < packets; done = this.#next()) {
      try {
        run(Math.min(CHUNK, packets - done))
      } catch (error) {
        if (!(error instanceof KernelError && error.code === 'EINTR')) throw error
      }
    }
  }

  #next(): number {
    const bytes = new Uint8Array(32 + FRAME_MAX)
    checkResult(mapLookup(this.programs.map('template'), new Uint8Array(4), bytes), 'read', 'map template')
    return new DataView(bytes.buffer).getUint32(12, true)
  }

  #rewind(): void {
    const { frame, mpAt = 0, key = [0n, 0n] } = this.#sent
    const value = new DataView(new ArrayBuffer(32 + FRAME_MAX))
    for (const [index, word] of [frame.length, mpAt, this.source.ifindex('out'), 0].entries())
      value.setUint32(4 * index, word, true)
    for (const [index, word] of key.entries()) value.setBigUint64(16 + 8 * index, word, true)
    const bytes = new Uint8Array(value.buffer)
    bytes.set(frame, 32)
    checkResult(mapUpdate(this.programs.map('template'), new Uint8Array(4), bytes, 0n), 'write', 'map template')
  }

  #arrived(): number {
    return Number(readPerCpuSums('arrived', this.programs.map('arrived'), 1)[0])
  }

  [Symbol.dispose](): void {
    for (const link of this.#links) closeFd(link)
    this.programs[Symbol.dispose]()
    for (const namespace of [this.source, this.gateway, this.sink]) namespace[Symbol.dispose]()
  }
}

export function mac(namespace: Namespace, device: string): string {
  const [link] = JSON.parse(namespace.run(`ip -j link show dev ${device}`)) as { address: string }[]
  return link?.address ?? ''
}
