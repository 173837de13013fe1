/**
 * Frames from one device and how many come through, by bpf/bench/tunnel.bpf.c: sender, what is between, and sink run on one CPU, one after the other. The
 * sender costs every contender the same.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { readPerCpuSums } from '../../../agent/kernel/bpf-map.ts'
import { KernelError } from '../../../agent/kernel/error.ts'
import { checkResult, linkCreate, mapLookup, mapUpdate, sendLiveFrames } from '../../../agent/kernel/libbpf.ts'
import { closeFd } from '../../../agent/kernel/native.ts'
import { runXdp } from '../../../agent/kernel/prog-run.ts'
import { XDP, XDP_FLAGS_DRV_MODE } from '../../../agent/kernel/programs.ts'
import type { Namespace } from '../../../tests/net/dataplane/namespace.ts'
import { BenchError } from '../error.ts'
import { BenchPrograms } from '../programs.ts'
import type { Random } from '../random.ts'

const TCX_INGRESS = 46
/** As in tunnel.bpf.c. */
const FRAME_MAX = 1536
const ARRIVAL_MS = 1000
const CHUNK = 50_000

/** What the source sends: a frame, and for MP where its header is and the key of its tag. */
export interface Sent {
  readonly frame: Uint8Array
  readonly mpAt?: number
  readonly key?: readonly [bigint, bigint]
}

export class Sender implements Disposable {
  readonly programs: BenchPrograms
  readonly #source: Namespace
  readonly #device: string
  readonly #links: number[] = []
  #sent: Sent = { frame: new Uint8Array() }

  constructor(source: Namespace, device: string, random: Random) {
    this.#source = source
    this.#device = device
    this.programs = new BenchPrograms('tunnel', random)
  }

  /** What arrives at this device ends there and is counted. @param hook frames come to XDP, packets of the stack to tc */
  sink(namespace: Namespace, device: string, hook: 'xdp' | 'tc'): void {
    if (hook === 'xdp') this.attachXdp(namespace, device, 'sink_xdp')
    else this.#attach(namespace, device, 'sink_tc', TCX_INGRESS, 0)
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
    this.#source.enter(() =>
      this.#runUntil(packets, repeat => {
        checkResult(sendLiveFrames(this.programs.program('send'), this.#sent.frame, repeat), 'send', 'frames')
      }),
    )
    while (this.#arrived() - before < packets && performance.now() - begin < ARRIVAL_MS) await sleep(1)
    const ms = performance.now() - begin
    const arrived = this.#arrived() - before
    if (arrived < packets / 2)
      throw new BenchError(`${arrived} of ${packets} packets came through from ${this.#source.name}`)
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
    for (const [index, word] of [frame.length, mpAt, this.#source.ifindex(this.#device), 0].entries())
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
  }
}

export function mac(namespace: Namespace, device: string): string {
  const [link] = JSON.parse(namespace.run(`ip -j link show dev ${device}`)) as { address: string }[]
  return link?.address ?? ''
}
