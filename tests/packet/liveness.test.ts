/**
 * Silence while in use: who asks, who leaves, and for which path (bpf/path/liveness.h, steer.h). World: rig.ts, with four paths to peer 9; even ones have
 * IPv4 outside, odd ones IPv6.
 */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { monotonicNs } from '../../agent/kernel/native.ts'
import { openRing } from '../../agent/kernel/ring.ts'
import { type Event, eventType, type PathState } from '../../schema/abi.gen.ts'
import { esp, ethernet, ip, udp } from './build.ts'
import { behind, FAMILIES, type Family, host } from './hosts.ts'
import { carried, dissect, ipOf } from './mp.ts'
import { expectOutcome, NODE, PEER, REDIRECT, Rig, SHOT, SID } from './rig.ts'

const rig = new Rig(['lan', 'mp-egress', 'mp-ingress'])
const events: Event[] = []
const closeRing = openRing(rig.fd('events'), event => events.push(event))
const ALL = 0xf

beforeEach(() => {
  rig.reset()
  rig.setSession(SID, { pathMask: ALL })
  for (const path of [0, 1, 2, 3]) {
    rig.setPath(SID | path, {})
    rig.setState(SID | path, {})
  }
  steer({})
})
afterAll(() => {
  closeRing()
  rig[Symbol.dispose]()
})

interface Steer {
  usable?: number
  best?: number
  second?: number
  mask?: number
}

function steer({ usable = ALL, best = 0, second = best, mask = usable }: Steer): void {
  const word = { mode: 0, best, second, fec: 0, mask, playoutMs: 0 }
  rig.setPeer(9, { pathMask: usable, pathBest: best, steering: [word, word, word, word] })
}

const MS = 1_000_000n
/** A time so many ms ago as last_rx_ns and asked_first tell it. */
const agoNs = (ms: number) => monotonicNs() - BigInt(ms) * MS
const agoUs = (ms: number) => Number((agoNs(ms) / 1000n) & 0xffffffffn)

interface Silence {
  heard?: number
  asks?: number
  first?: number
  patience?: number
}

/** A path that was heard `heard` ms ago, asked `asks` times since `first` ms ago. */
function silent(path: number, { heard = 5000, asks = 0, first = 0, patience = 0 }: Silence): void {
  rig.setState(SID | path, { lastRxNs: agoNs(heard), asks, askedFirst: agoUs(first), patience })
}

const DEAD = { asks: 3, first: 500 }
const stateOf = (path: number) => rig.maps.pathState.get(SID | path) as PathState
const PACKET = {
  4: ip({ src: host(4), dst: behind(4, 2) }, udp(7, 8)),
  6: ip({ src: host(6), dst: behind(6, 2) }, udp(7, 8)),
}
const COUNTED = { 'lan-in': 1, 'to-peer-clear': 1, 'flow-new': 1, 'mp-out': 1 }

/** A host's packet to peer 9. Ours alone is each packet: a flow that is known counts otherwise. */
function send(family: Family = 4) {
  rig.flows.clear()
  const out = rig.run('lan', ethernet(PACKET[family]))
  expect(out.verdict).toBe(REDIRECT)
  const { path, qos } = dissect(out.packet).header
  return { out, path, qos }
}

describe.each(FAMILIES)('IPv%i inside', family => {
  it.each([
    ['is heard', {}, 0],
    ['was left alone for a while', { heard: 5000 }, 1],
    ['was asked long ago', { asks: 1, first: 400 }, 1],
    ['was asked often enough for that time', { asks: 100, first: 50, patience: 60_000 }, 0],
    ['was heard after it was asked', { heard: 100, asks: 3, first: 300 }, 1],
  ] as const)('asks or not, when the path %s', (_name, silence, qos) => {
    if ('heard' in silence || 'asks' in silence) silent(0, silence)
    const { out } = send(family)
    expectOutcome(out, { verdict: REDIRECT, counters: { ...COUNTED, ...(qos && { 'ask-out': 1 }) } })
    const inner = ip({ src: host(family), dst: behind(family, 2), ttl: 63 }, udp(7, 8))
    expect(ipOf(out.packet)).toEqual(carried(out.packet, SID, inner, { qos }))
  })

  it('leaves a path that is silent for too long, for one that is there', () => {
    silent(0, DEAD)
    expect(send(family)).toMatchObject({ path: 1, qos: 0 })
    expect(stateOf(0).left).toBe(1)
    // For good: it is the agent's to come back.
    silent(0, { ...DEAD, heard: 0 })
    rig.setState(SID, { left: 1 })
    expect(send(family).path).toBe(1)
    rig.maps.clearLeft(SID)
    expect(send(family).path).toBe(0)
  })
})

describe('a question', () => {
  it('is counted, and the first one remembered', () => {
    silent(0, {})
    send()
    expect(stateOf(0).asks).toBe(1)
    const age = agoUs(0) - stateOf(0).askedFirst
    expect((age >>> 0) / 1000).toBeLessThan(5000)
    silent(0, { asks: 2, first: 90 })
    send()
    expect(stateOf(0).asks).toBe(3)
  })

  it('is forgotten when the path was heard', () => {
    silent(0, { asks: 2, first: 90, heard: 0 })
    rig.setState(SID, { asks: 2 })
    send()
    expect(stateOf(0)).toMatchObject({ asks: 0, left: 0 })
  })

  it('waits for the packet that carries it: what is dropped has not asked', () => {
    rig.setPath(SID, { mtu: 60 })
    silent(0, {})
    rig.flows.clear()
    expectOutcome(rig.run('lan', ethernet(PACKET[4])), {
      verdict: SHOT,
      drops: { 'too-big': 1 },
      counters: { 'lan-in': 1, 'to-peer-clear': 1, 'flow-new': 1 },
    })
    rig.setPath(SID, {})
    expect(send().qos).toBe(1)
    expect(stateOf(0).asks).toBe(1)
  })
})

describe('patience', () => {
  it.each([
    ['two questions, however long ago', { asks: 2, first: 60_000 }, 0],
    ['three, not yet for long enough', { asks: 3, first: 100, patience: 60_000 }, 0],
    ['three, for too long', { asks: 3, first: 100, patience: 20 }, 1],
    ['three, on a path that was not measured yet', { asks: 3, first: 150 }, 1],
    ['three, of which one was answered', { asks: 3, first: 500, heard: 499 }, 0],
    ['three, 70 minutes ago', { asks: 3, first: 4_200_000, heard: 5_000_000 }, 1],
  ] as const)('%s', (_name, silence, path) => {
    silent(0, silence)
    expect(send().path).toBe(path)
    expect(stateOf(0).left).toBe(path)
  })
})

describe('instead of a dead path', () => {
  const dead = (...paths: number[]) => {
    for (const path of paths) silent(path, DEAD)
  }

  it.each<[string, Steer, number[], number]>([
    ['the second', { second: 3 }, [0], 3],
    ['another of the class’s, not a backup', { mask: 0b0101 }, [0], 2],
    ['a backup at last', { mask: 0b0101 }, [0, 2], 1],
    ['not a second that is not usable', { second: 3, usable: 0b0111 }, [0], 1],
    ['the next when the second is dead too', { second: 3 }, [0, 3], 1],
    ['the best of all when all are dead', { best: 2, second: 3 }, [0, 1, 2, 3], 2],
    ['the peer’s own best when the class names none', { best: 9 }, [], 0],
  ])('%s', (_name, words, silentOnes, path) => {
    steer(words)
    dead(...silentOnes)
    expect(send().path).toBe(path)
    expect([0, 1, 2, 3].filter(at => stateOf(at).left)).toEqual(silentOnes)
  })

  it('a dead path does not come back by itself when all are', () => {
    dead(0, 1, 2, 3)
    expect([send().path, send().path]).toEqual([0, 0])
  })

  it('a path that is gone is passed over; there may be none', () => {
    for (const path of [0, 1, 2]) rig.maps.pathState.delete(SID | path)
    expect(send().path).toBe(3)
    rig.maps.pathState.delete(SID | 3)
    rig.flows.clear()
    expectOutcome(rig.run('lan', ethernet(PACKET[4])), {
      verdict: SHOT,
      drops: { 'no-path': 1 },
      counters: { 'lan-in': 1, 'flow-new': 1 },
    })
  })

  it('asks the other path as well', () => {
    dead(0)
    silent(1, {})
    expect(send()).toMatchObject({ path: 1, qos: 1 })
  })
})

describe('the agent', () => {
  const leaves = async (): Promise<Event> => {
    events.length = 0
    send()
    await expect.poll(() => events.length).toBeGreaterThan(0)
    return events[0] as Event
  }

  it('is told which path was left, and which taken', async () => {
    silent(0, DEAD)
    expect(await leaves()).toMatchObject({ type: eventType.EVENT_PATH_LEFT, handle: SID, value: 1, ifindex: 1 })
  })

  it('is told that there is none', async () => {
    for (const path of [0, 1, 2, 3]) silent(path, DEAD)
    expect(await leaves()).toMatchObject({ type: eventType.EVENT_PATH_LEFT, value: 16 })
  })
})

describe('secure packets', () => {
  const ESP = ip({ src: NODE, dst: PEER }, esp())

  it('get the SA of a path that lives', () => {
    silent(0, DEAD)
    const packet = ip({ src: host(4), dst: behind(4, 3) }, udp(7, 8))
    expectOutcome(rig.run('lan', ethernet(packet)), {
      verdict: REDIRECT,
      mark: SID | 1,
      counters: { 'lan-in': 1, 'flow-new': 1, 'to-peer-secure': 1 },
    })
  })

  it('carry the question', () => {
    silent(1, {})
    rig.setState(SID | 1, { asks: 0x80 })
    const out = rig.run('mp-egress', ethernet(ESP), { mark: SID | 1 })
    expectOutcome(out, { verdict: REDIRECT, counters: { 'mp-out': 1, 'ask-out': 1 } })
    expect(ipOf(out.packet)).toEqual(carried(out.packet, SID | 1, ESP, { qos: 1 }))
  })

  it('without a mark go by a path that lives', () => {
    silent(0, DEAD)
    const out = rig.run('mp-egress', ethernet(ESP))
    expect(ipOf(out.packet)).toEqual(carried(out.packet, SID | 1, ESP))
  })
})

it('the node’s own packets leave a dead path too, and its probes do not', () => {
  silent(0, DEAD)
  const own = ip({ src: NODE, dst: PEER }, udp(2427, 2427))
  expect(dissect(rig.run('mp-ingress', ethernet(own)).packet).header).toMatchObject({ path: 1, qos: 0 })
  const probe = ip({ src: NODE, dst: PEER }, udp(2426, 2426, new Uint8Array(32)))
  expect(dissect(rig.run('mp-ingress', ethernet(probe)).packet).header).toMatchObject({ path: 0, qos: 0 })
})
