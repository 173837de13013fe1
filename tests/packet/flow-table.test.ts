/**
 * The flow table under pressure: who keeps a slot, who loses it, and that a packet's way never depends on it. World: rig.ts. Packets of both
 * directions come in at the LAN, where 10.1.0.0/16 is the LAN itself.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import type { FlowEntry } from '../../agent/kernel/port.ts'
import { flowState } from '../../schema/abi.gen.ts'
import { random } from '../../scripts/bench/random.ts'
import { ACK, ethernet, ip, SYN, tcp, udp } from './build.ts'
import { changeFlowConfig, linesOf, pairOf, readFlowConfig } from './flow-table.ts'
import { behind, FAMILIES, type Family, host } from './hosts.ts'
import { dissect } from './mp.ts'
import { REMOTE_SID, Rig, VRF } from './rig.ts'

const FIN = 0x01
const RST = 0x04
const LINES = 256
const SLOTS = 2 * LINES

const rig = new Rig(['lan'], LINES)
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

interface Hosts {
  src: string
  dst: string
}
const back = ({ src, dst }: Hosts): Hosts => ({ src: dst, dst: src })
const ends = (family: Family): Hosts => ({ src: host(family), dst: behind(family, 2) })

const send = (hosts: Hosts, layer4: Parameters<typeof ip>[1]) => rig.run('lan', ethernet(ip(hosts, layer4)))
const sendTcp = (hosts: Hosts, port: number, flags: number) => send(hosts, tcp({ sport: port, flags }))
const replyTcp = (hosts: Hosts, port: number, flags: number) =>
  send(back(hosts), tcp({ sport: 443, dport: port, flags }))

/** A flow asks whether it is established at its 4th packet. */
const ASKS = 4

/** A connection that is open: both directions established. */
function connect(hosts: Hosts, port: number): void {
  sendTcp(hosts, port, SYN)
  replyTcp(hosts, port, SYN | ACK)
  for (let packets = 2; packets <= ASKS; packets++) {
    sendTcp(hosts, port, ACK)
    replyTcp(hosts, port, ACK)
  }
}

const states = () => rig.flows.entries().map(({ state }) => state)
const sum = (
  field: 'flow-new' | 'flow-replaced' | 'flow-full' | 'flow-hit',
  outs: { counters: Record<string, number> }[],
) => outs.reduce((total, { counters }) => total + (counters[field] ?? 0), 0)

describe.each(FAMILIES)('IPv%i', family => {
  const hosts = ends(family)
  const { FLOW_NEW, FLOW_CLOSED, FLOW_ANSWERED, FLOW_CONNECTED } = flowState

  it('calls TCP established when it was acknowledged both ways', () => {
    for (let packets = 1; packets <= 2 * ASKS; packets++) {
      sendTcp(hosts, 1, SYN)
      replyTcp(hosts, 1, SYN | ACK)
    }
    expect(states()).toEqual([FLOW_NEW, FLOW_NEW])
    for (let packets = 2 * ASKS + 1; packets < 16; packets++) sendTcp(hosts, 1, ACK)
    expect(states()).toEqual([FLOW_NEW, FLOW_NEW])
    sendTcp(hosts, 1, ACK)
    expect(states().toSorted()).toEqual([FLOW_NEW, FLOW_CONNECTED])
    for (let packets = 2 * ASKS + 1; packets <= 16; packets++) replyTcp(hosts, 1, ACK)
    expect(states()).toEqual([FLOW_CONNECTED, FLOW_CONNECTED])
  })

  it('calls anything else established when it was answered, or has gone on for long', () => {
    for (let packets = 1; packets <= 63; packets++) send(hosts, udp(1, 2))
    expect(states()).toEqual([FLOW_NEW])
    send(hosts, udp(1, 2))
    expect(states()).toEqual([FLOW_ANSWERED])
    rig.flows.clear()
    send(hosts, udp(1, 2))
    for (let packets = 1; packets <= ASKS; packets++) send(back(hosts), udp(2, 1))
    expect(states().toSorted()).toEqual([FLOW_NEW, FLOW_ANSWERED])
  })

  it.each([
    ['FIN', FIN | ACK],
    ['RST', RST],
  ])('lets go after %s, and begins again with SYN', (_, flags) => {
    connect(hosts, 1)
    sendTcp(hosts, 1, flags)
    expect(states().toSorted()).toEqual([FLOW_CLOSED, FLOW_CONNECTED])
    sendTcp(hosts, 1, SYN)
    expect(states().toSorted()).toEqual([FLOW_NEW, FLOW_CONNECTED])
    for (let packets = 2; packets <= ASKS; packets++) sendTcp(hosts, 1, ACK)
    expect(states()).toEqual([FLOW_CONNECTED, FLOW_CONNECTED])
  })

  it('counts packets to 255', () => {
    for (let packets = 1; packets <= 260; packets++) send(hosts, udp(1, 2))
    expect(rig.flows.entries().map(({ packets }) => packets)).toEqual([255])
  })

  it('keeps every established flow through a flood of ten times the table, and lets new ones be made in it', () => {
    const ports = Array.from({ length: SLOTS / 8 }, (_, port) => port + 1)
    for (const port of ports) connect(hosts, port)
    expect(states().filter(state => state === FLOW_CONNECTED).length).toBe(2 * ports.length)
    const flood = Array.from({ length: 10 * SLOTS }, (_, n) => sendTcp(hosts, 10_000 + n, SYN))
    expect(sum('flow-new', flood) + sum('flow-replaced', flood) + sum('flow-full', flood)).toBe(flood.length)
    expect(sum('flow-replaced', flood)).toBeGreaterThan(8 * SLOTS)
    const later = ports.flatMap(port => [sendTcp(hosts, port, ACK), replyTcp(hosts, port, ACK)])
    expect(sum('flow-hit', later)).toBe(later.length)
    connect(hosts, 60_000)
    expect(states().filter(state => state === FLOW_CONNECTED).length).toBeGreaterThanOrEqual(2 * ports.length + 1)
  })
})

describe('ids', () => {
  const entry = (): FlowEntry | undefined => rig.flows.entries()[0]

  it.each(FAMILIES)('differ in each part of the tuple, IPv%i', family => {
    const other = family === 4 ? { src: '10.1.0.3', dst: '10.2.0.6' } : { src: 'fd01::3', dst: 'fd02::6' }
    const { src, dst } = ends(family)
    const outs = [
      send({ src, dst }, udp(1, 2)),
      send({ src: other.src, dst }, udp(1, 2)),
      send({ src, dst: other.dst }, udp(1, 2)),
      send({ src, dst }, udp(3, 2)),
      send({ src, dst }, udp(1, 3)),
      send({ src, dst }, udp(2, 1)),
      send({ src, dst }, tcp({ sport: 1, dport: 2 })),
    ]
    rig.maps.ports.set(1, { ifindex: 1, vrf: VRF + 1, addr4: 0, addr6: new Uint8Array(16), flags: 0 })
    const prefix = family === 4 ? { address: '10.2.0.0', prefixLength: 16 } : { address: 'fd02::', prefixLength: 32 }
    rig.fib.set({ vrf: VRF + 1, ...prefix }, 2)
    outs.push(send({ src, dst }, udp(1, 2)))
    rig.fib.delete({ vrf: VRF + 1, ...prefix })
    expect(sum('flow-new', outs)).toBe(outs.length)
    expect(rig.flows.entries().filter(({ vrf }) => vrf === VRF + 1).length).toBe(1)
  })

  it('of the reserved protocol 255 are digests', () => {
    send(ends(4), { protocol: 255, bytes: new Uint8Array(32) })
    expect(entry()).toMatchObject({ vrf: VRF, tuple: undefined })
    expect(send(ends(4), { protocol: 255, bytes: new Uint8Array(32) }).counters).toMatchObject({ 'flow-hit': 1 })
  })

  it('lie where the hash says', () => {
    const seed = (Math.random() * 2 ** 32) >>> 0
    const { below } = random(seed)
    const config = readFlowConfig(rig.fd('flow_config'))
    for (let n = 0; n < 100; n++)
      send({ src: `10.1.${below(256)}.${below(256)}`, dst: `10.2.0.${below(256)}` }, udp(below(65536), below(65536)))
    for (const { slot, vrf, tuple } of rig.flows.entries()) {
      if (!tuple) throw new Error('an IPv4 flow has a tuple')
      expect(linesOf(config, vrf, tuple).map(pairOf), `seed ${seed}`).toContain(pairOf(slot >> 1))
    }
  })
})

describe('a table that is full', () => {
  /** UDP flows that may only be in the eight slots of the same two pairs of lines: what somebody can make who knows the key. */
  function colliding(count: number): number[] {
    const config = readFlowConfig(rig.fd('flow_config'))
    const pairs = (sourcePort: number) => {
      const tuple = { proto: 17, source: host(4), destination: behind(4, 2), sourcePort, destinationPort: 9 }
      return linesOf(config, VRF, tuple).map(pairOf).toSorted()
    }
    let wanted = pairs(1)
    for (let port = 2; wanted[0] === wanted[1]; port++) wanted = pairs(port)
    const ports: number[] = []
    for (let port = 1; ports.length < count && port < 65_536; port++)
      if (pairs(port).join() === wanted.join()) ports.push(port)
    return ports
  }

  const ports = { attack: [] as number[] }
  beforeEach(() => {
    // With few lines a port number is enough to aim with.
    changeFlowConfig(rig.fd('flow_config'), { lineMask: 15 })
    ports.attack = colliding(40)
    expect(ports.attack.length).toBe(40)
  })
  afterAll(() => changeFlowConfig(rig.fd('flow_config'), { lineMask: LINES - 1 }))

  const there = (port: number) => send(ends(4), udp(port, 9))
  const many = (port: number) => Array.from({ length: 64 }, () => there(port))

  it('of established flows remembers no other, which is forwarded all the same', () => {
    const outs = ports.attack.map(port => many(port).at(-1))
    const slots = rig.flows.entries().length
    expect(slots).toBe(8)
    for (const [index, out] of outs.entries()) {
      expect(out?.counters).toMatchObject({ 'to-peer-clear': 1, [index < slots ? 'flow-hit' : 'flow-full']: 1 })
      expect(out && dissect(out.packet).header.session).toBe(REMOTE_SID)
    }
    expect(sum('flow-hit', ports.attack.slice(0, slots).map(there))).toBe(slots)
  })

  it('gives up the flow that was silent longest', async () => {
    changeFlowConfig(rig.fd('flow_config'), { tickShift: 0 })
    const before: number[] = []
    for (const port of ports.attack.slice(0, 8)) {
      if ((there(port).counters['flow-new'] ?? 0) > 0) before.push(port)
      await sleep(12)
    }
    const newest = ports.attack[20] ?? 0
    const [oldest = 0, ...others] = before
    expect(there(newest).counters).toMatchObject({ 'flow-replaced': 1 })
    const left = new Set(rig.flows.entries().map(({ tuple }) => tuple?.sourcePort))
    expect(left.has(oldest)).toBe(false)
    expect(others.every(port => left.has(port)) && left.has(newest)).toBe(true)
  })

  it('gives up established flows that have outlived themselves, without an agent', async () => {
    changeFlowConfig(rig.fd('flow_config'), { tickShift: 0 })
    for (const port of ports.attack.slice(0, 8)) many(port)
    const newest = ports.attack[20] ?? 0
    expect(there(newest).counters).toMatchObject({ 'flow-full': 1 })
    // 300 ticks of at most 10 ms.
    await expect.poll(() => there(newest).counters['flow-replaced'] ?? 0, { timeout: 4000, interval: 300 }).toBe(1)
  })
})

describe('a sweep', () => {
  it('frees what has outlived itself and nothing else, slice by slice', async () => {
    changeFlowConfig(rig.fd('flow_config'), { tickShift: 0 })
    const hosts = ends(4)
    for (const port of [1, 2]) connect(hosts, port)
    for (let port = 10; port < 30; port++) sendTcp(hosts, port, SYN)
    expect(rig.flows.sweep(0, LINES)).toEqual({ live: 24, freed: 0 })
    // 30 ticks of at most 10 ms; a connection has 7,440 of at least 1 ms.
    await sleep(400)
    const slices = Array.from({ length: 8 }, (_, slice) => rig.flows.sweep(slice * (LINES / 8), LINES / 8))
    expect(slices.reduce((total, { freed }) => total + freed, 0)).toBe(20)
    expect(rig.flows.entries().map(({ tuple }) => tuple?.proto)).toEqual([6, 6, 6, 6])
    expect(rig.flows.sweep(0, LINES)).toEqual({ live: 4, freed: 0 })
    expect(sendTcp(hosts, 10, SYN).counters).toMatchObject({ 'flow-new': 1 })
    expect(sendTcp(hosts, 1, ACK).counters).toMatchObject({ 'flow-hit': 1 })
  })

  it('of lines that do not exist is harmless', () => {
    expect(rig.flows.sweep(LINES, 4)).toEqual({ live: 0, freed: 0 })
    expect(rig.flows.sweep(LINES - 1, 100)).toEqual({ live: 0, freed: 0 })
  })
})

/** Whatever happens to routes and the table, a packet goes where the FIB of its epoch says, and is a hit exactly when it was there before. */
it('agrees with a model', () => {
  const seed = (Math.random() * 2 ** 32) >>> 0
  const { below } = random(seed)
  // Next hop by third number of the destination; 2 and 4 are two peers.
  const session: Record<number, number> = { 2: REMOTE_SID, 4: 0x800 }
  const routed = new Map<string, number>()
  const known = new Map<string, { epoch: number; via: number }>()
  let epoch = 1
  const route = (family: Family, n: number, via: number) => {
    const destination = family === 4 ? `10.2.0.${n}` : `fd02::${n}`
    rig.fib.set({ vrf: VRF, address: destination, prefixLength: family === 4 ? 32 : 128 }, via)
    routed.set(destination, via)
  }
  for (const family of FAMILIES) for (let n = 1; n <= 8; n++) route(family, n, 2)
  for (let step = 0; step < 3000; step++) {
    const where = `seed ${seed}, step ${step}`
    const dice = below(100)
    if (dice === 0) {
      rig.flows.clear()
      known.clear()
    } else if (dice < 4) {
      for (let changes = below(4); changes >= 0; changes--)
        route(FAMILIES[below(2)] ?? 4, 1 + below(8), [2, 4][below(2)] ?? 2)
      rig.setNode({ routeEpoch: ++epoch })
    } else {
      const family = FAMILIES[below(2)] ?? 4
      const dst = family === 4 ? `10.2.0.${1 + below(8)}` : `fd02::${1 + below(8)}`
      const port = below(6)
      const name = `${dst} ${port}`
      const out = send({ src: host(family), dst }, udp(port, 7))
      const before = known.get(name)
      const hit = before?.epoch === epoch
      if (!hit) known.set(name, { epoch, via: routed.get(dst) ?? 0 })
      expect(out.counters, where).toEqual({
        'lan-in': 1,
        'to-peer-clear': 1,
        'mp-out': 1,
        ...(hit ? { 'flow-hit': 1 } : before ? {} : { 'flow-new': 1 }),
      })
      expect(dissect(out.packet).header.session, where).toBe(session[known.get(name)?.via ?? 0])
    }
  }
  expect(rig.flows.entries().length, `seed ${seed}`).toBe(known.size)
})
