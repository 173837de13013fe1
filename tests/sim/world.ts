/**
 * A network for simulated nodes: handshake datagrams between WAN addresses, and what the dataplanes would carry between virtual addresses,
 * probes and route sessions, decided by the same maps that the agents wrote into their fake kernels. So a session that one side lacks, a wrong
 * peer entry or a forgotten path shows here as it would on real packets; only the bytes of headers are not looked at.
 */

import type { FakeKernel } from '../../agent/kernel/fake.ts'
import { type ByteStream, type DatagramSocket, type Endpoint, NetError, type NetPort } from '../../agent/mp/net.ts'
import { eventType, mpTriggerCodec } from '../../schema/abi.gen.ts'
import { formatAddress } from '../../schema/address.ts'
import { exchangeProbe, learnSource } from './probe.ts'

interface Station {
  name: string
  kernel: FakeKernel
  alive: boolean
  sockets: Map<string, (packet: Uint8Array, from: Endpoint) => void>
  listeners: Map<string, (stream: ByteStream) => void>
  streams: Set<SimStream>
  /** Datagrams that wait in its sockets. */
  inbox: (() => void)[]
}

/** Initiations that fit into a socket's default receive buffer (212,992 bytes): what comes when it is full is lost, as in the kernel. */
const SOCKET_QUEUE = 90

/** What libuv reads from a socket before it looks after timers and connections again (src/unix/udp.c, uv__udp_recvmsg). */
const READ_AT_ONCE = 32

const key = ({ address, port }: Endpoint) => `${address} ${port}`

export class World {
  readonly #stations = new Map<string, Station>()
  readonly #byAddress = new Map<string, Station>()
  /** Says of a handshake datagram whether the network loses it. */
  loses: (packet: Uint8Array, from: string, to: string) => boolean = () => false
  /** Pairs of stations that the network does not join at present. */
  readonly #severed = new Set<string>()
  /** Largest packet that gets from one station to another, outer headers included. */
  width: (from: string, to: string) => number = () => 1500
  /** Says of what goes by a tunnel's path whether the network carries it in this direction. */
  carries: (from: string, to: string, path: number) => boolean = () => true
  rttMs: (from: string, to: string, path: number) => number = () => 1
  /** Datagrams delivered, for figures. */
  delivered = 0

  /** Somebody sends a datagram from an address of his own. */
  inject(packet: Uint8Array, from: Endpoint, to: Endpoint): void {
    this.#byAddress.get(to.address)?.sockets.get(key(to))?.(Uint8Array.from(packet), from)
  }

  /** A station has got another address on its WAN; what is sent to the old one is lost. */
  readdress(name: string, before: string, now: string): void {
    this.#byAddress.delete(before)
    this.#byAddress.set(now, this.#station(name))
  }

  /** Nothing gets from one of them to the other, either way; both stay joined with everybody else. */
  sever(one: string, other: string): void {
    this.#severed.add([one, other].toSorted().join(' '))
  }

  mend(one: string, other: string): void {
    this.#severed.delete([one, other].toSorted().join(' '))
  }

  #joined(one: Station, other: Station): boolean {
    return !this.#severed.has([one.name, other.name].toSorted().join(' '))
  }

  /** @param wan addresses at which other stations reach this one */
  join(name: string, kernel: FakeKernel, wan: readonly string[]): NetPort {
    const station: Station = {
      name,
      kernel,
      alive: true,
      sockets: new Map(),
      listeners: new Map(),
      streams: new Set(),
      inbox: [],
    }
    this.#stations.set(name, station)
    for (const address of wan) this.#byAddress.set(address, station)
    return this.#netOf(station)
  }

  /** The machine loses power: nothing in, nothing out, open connections hang. */
  kill(name: string): void {
    const station = this.#station(name)
    station.alive = false
    station.sockets.clear()
    station.listeners.clear()
    station.streams.clear()
  }

  /** Its agent's process ends: sockets close, the dataplane goes on. */
  agentEnds(name: string): void {
    const station = this.#station(name)
    station.sockets.clear()
    station.listeners.clear()
    for (const stream of [...station.streams]) stream.close()
  }

  /** Sockets that a station's agent has open. */
  open(name: string): string[] {
    const { sockets, listeners } = this.#station(name)
    return [...sockets.keys(), ...listeners.keys()]
  }

  #station(name: string): Station {
    const station = this.#stations.get(name)
    if (!station) throw new Error(`no station ${name}`)
    return station
  }

  #netOf(station: Station): NetPort {
    return {
      datagram: async (local, onPacket): Promise<DatagramSocket> => {
        const bound = { address: local.address, port: local.port || 50_000 + station.sockets.size }
        if (station.sockets.has(key(bound)))
          throw new NetError('UDP', Object.assign(new Error('in use'), { code: 'EADDRINUSE' }))
        station.sockets.set(key(bound), onPacket)
        return {
          local: bound,
          send: (packet, to) => this.#send(station, bound, packet, to),
          close: () => void station.sockets.delete(key(bound)),
        }
      },
      listen: async (local, onStream) => {
        if (station.listeners.has(key(local)))
          throw new NetError('TCP', Object.assign(new Error('in use'), { code: 'EADDRINUSE' }))
        station.listeners.set(key(local), onStream)
        return { close: () => void station.listeners.delete(key(local)) }
      },
      dial: async (localAddress, remote) => {
        const other = this.#carry(station, remote.address)
        const accept = other?.listeners.get(key(remote))
        if (!other || !accept || !this.#carry(other, localAddress)) {
          throw new NetError('TCP', Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' }))
        }
        const here = new SimStream(remote, () => this.#carry(station, remote.address) === other)
        const there = new SimStream(
          { address: localAddress, port: 40_000 },
          () => this.#carry(other, localAddress) === station,
        )
        here.peer = there
        there.peer = here
        station.streams.add(here)
        other.streams.add(there)
        here.onGone = () => station.streams.delete(here)
        there.onGone = () => other.streams.delete(there)
        setImmediate(() => accept(there))
        return here
      },
    }
  }

  #send(from: Station, local: Endpoint, packet: Uint8Array, to: Endpoint): void {
    if (!from.alive) return
    const target = this.#byAddress.get(to.address)
    if (!target) return void this.#probe(from, to.address, packet)
    if (!this.#joined(from, target)) return
    if (target.inbox.length >= SOCKET_QUEUE || this.loses(packet, from.name, target.name)) return
    const copy = Uint8Array.from(packet)
    target.inbox.push(() => {
      if (!target.alive) return
      this.delivered += 1
      target.sockets.get(key(to))?.(copy, local)
    })
    if (target.inbox.length === 1) setImmediate(() => this.#read(target))
  }

  #read(station: Station): void {
    for (const deliver of station.inbox.splice(0, READ_AT_ONCE)) deliver()
    if (station.inbox.length > 0) setImmediate(() => this.#read(station))
  }

  /** A probe goes there and back when both dataplanes know the session and the path. */
  #probe(from: Station, vaddr: string, trigger: Uint8Array): void {
    const { path, round, size } = mpTriggerCodec.decode(trigger)
    const there = this.#atEnd(from, vaddr, path)
    const session = this.#sessionTo(from, vaddr)
    if (!session) return
    const end = { kernel: from.kernel, handle: (session.sid | path) >>> 0 }
    const other = { kernel: (there ?? from).kernel, handle: (session.remoteSid | path) >>> 0 }
    const passes = (one: Station, two: Station) =>
      size <= this.width(one.name, two.name) && this.carries(one.name, two.name, path)
    const arrives = there !== undefined && passes(from, there)
    if (arrives) learnSource(end, other)
    exchangeProbe(end, other, {
      arrives,
      returns: there !== undefined && passes(there, from),
      rttMs: there ? this.rttMs(from.name, there.name, path) : 0,
      round,
      size,
    })
  }

  #sessionTo(from: Station, vaddr: string) {
    const maps = from.kernel.maps()
    const index = maps?.vaddrs.get(vaddr)
    const peer = index === undefined ? undefined : maps?.peers.get(index)
    return peer && maps?.sessions.get(peer.sid)
  }

  /** The station that a packet for `vaddr` reaches through the tunnel, by the path in use. */
  #carry(from: Station, vaddr: string): Station | undefined {
    const peer = from.kernel.maps()?.vaddrs.get(vaddr)
    const best = from.kernel.maps()?.peers.get(peer ?? -1)?.pathBest ?? 0
    const there = this.#atEnd(from, vaddr, best)
    return there && this.carries(from.name, there.name, best) ? there : undefined
  }

  /** The station at the other end of a path, as the maps on both sides say. */
  #atEnd(from: Station, vaddr: string, path: number): Station | undefined {
    if (!from.alive) return undefined
    const maps = from.kernel.maps()
    const session = this.#sessionTo(from, vaddr)
    const conf = session && maps?.pathConf.get((session.sid | path) >>> 0)
    if (!session || !conf || conf.family === 0) return undefined
    const address = formatAddress(conf.family === 4 ? conf.remote.subarray(0, 4) : conf.remote)
    const target = this.#byAddress.get(address)
    if (!target?.alive || !this.#joined(from, target)) return undefined
    if (target.kernel.maps()?.sessions.get(session.remoteSid)) return target
    target.kernel.emit({
      ...noSession,
      handle: session.remoteSid,
      family: conf.family,
      srcPort: conf.localPort,
      dstPort: conf.remotePort,
      src: conf.local,
      dst: conf.remote,
    })
    return undefined
  }
}

const noSession = {
  timeNs: 0n,
  type: eventType.EVENT_NO_SESSION,
  reason: 4,
  ifindex: 1,
  value: 0,
  length: 100,
  headLength: 0,
  reserved: 0,
  head: new Uint8Array(64),
}

/** TCP as far as an agent can tell: ordered bytes while packets get through, held back while they do not. */
class SimStream implements ByteStream {
  readonly remote: Endpoint
  peer: SimStream | undefined
  onGone: () => void = () => {}
  readonly #reachable: () => boolean
  #data: ((bytes: Uint8Array) => void) | undefined
  #closed: ((reason: string | undefined) => void) | undefined
  #held: Uint8Array[] = []
  #retry: NodeJS.Timeout | undefined
  #over = false

  constructor(remote: Endpoint, reachable: () => boolean) {
    this.remote = remote
    this.#reachable = reachable
  }

  write(bytes: Uint8Array): boolean {
    if (this.#over) return true
    this.#held.push(Uint8Array.from(bytes))
    this.#deliver()
    return true
  }

  #deliver(): void {
    clearTimeout(this.#retry)
    if (this.#over || this.#held.length === 0) return
    if (!this.#reachable()) {
      this.#retry = setTimeout(() => this.#deliver(), 50)
      return
    }
    const held = this.#held
    this.#held = []
    setImmediate(() => {
      const { peer } = this
      if (peer) for (const bytes of held) peer.#data?.(bytes)
    })
  }

  onData(handler: (bytes: Uint8Array) => void): void {
    this.#data = handler
  }

  onDrain(): void {}

  onClose(handler: (reason: string | undefined) => void): void {
    this.#closed = handler
  }

  close(): void {
    if (this.#over) return
    this.#deliver()
    this.#over = true
    clearTimeout(this.#retry)
    this.onGone()
    setImmediate(() => {
      this.#closed?.(undefined)
      this.peer?.close()
    })
  }
}
