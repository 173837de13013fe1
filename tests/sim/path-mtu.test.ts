/** Topology: branches a and b of acme, gateway gw. A router between a and gw lets through less than the links on either side; nobody is told. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Anchor, gatewayEntry } from '../identities.ts'
import { Simulation, type Station, until } from './branches.ts'

const AROUND = 20 + 8 + 40

let simulation: Simulation
let gw: Station
let a: Station
let b: Station
/** Of the router, for what is to or from a. */
let width = 1500

beforeEach(async () => {
  width = 1500
  const anchor = new Anchor()
  simulation = new Simulation()
  simulation.world.width = (from, to) => (from === 'a' || to === 'a' ? width : 1500)
  const acme = anchor.enterprise('acme', 'esp')
  const node = anchor.gateway('gw', '100.64.0.0/24')
  const edge = (name: string, number: number) =>
    simulation.add({
      name,
      node: anchor.edge(
        name,
        acme,
        [{ prefix: `10.${number}.0.0/16`, reachable: true }],
        [gatewayEntry(node, '192.0.2.1', 1)],
      ),
      wan: `192.0.2.${10 + number}`,
      lan: `10.${number}.0.1/24`,
    })
  gw = await simulation.add({ name: 'gw', node, wan: '192.0.2.1' })
  ;[a, b] = [await edge('a', 1), await edge('b', 2)]
  for (const station of [gw, a, b]) await station.start()
  await until('both up', () => a.up && b.up)
})

afterEach(() => simulation[Symbol.asyncDispose]())

/** MTUs of a station's paths, newest sessions last. */
const mtus = (station: Station, sid = 0) =>
  station.kernel
    .maps()
    ?.pathConf.entries()
    .filter(([handle]) => sid === 0 || (handle & ~15) >>> 0 === sid)
    .map(([, { mtu }]) => mtu) ?? []

/** The session that a station sends on to the other end of a's tunnel, or of b's. */
function session(station: Station, other: Station) {
  const maps = station.kernel.maps()
  return maps?.sessions.entries().find(([sid, { remoteSid, peer }]) => {
    const there = other.kernel.maps()?.sessions.get(remoteSid)
    return there?.remoteSid === sid && maps.peers.get(peer)?.sid === sid
  })?.[1]
}

const peerOf = (station: Station, other: Station) =>
  station.kernel.maps()?.peers.get(session(station, other)?.peer ?? -1)

/** Hosts send something: path and session count it. */
function traffic(station: Station): void {
  const { pathState } = station.kernel.maps() ?? {}
  for (const [handle, state] of pathState?.entries() ?? [])
    pathState?.set(handle, { ...state, txBytes: state.txBytes + 10_000n })
}

async function narrow(to: number): Promise<number> {
  width = to
  return until(`a knows of ${to}`, () => {
    traffic(a)
    return mtus(a).every(mtu => mtu <= to && mtu > to - 8)
  })
}

test('both ends of the tunnel, and no other, go by what gets through, without a new session', async () => {
  const before = session(a, gw)?.sid
  await narrow(1400)
  await until('gw knows', () => mtus(gw, session(gw, a)?.sid).every(mtu => mtu === 1400))
  for (const [station, other] of [
    [a, gw],
    [gw, a],
  ] as const)
    expect(peerOf(station, other)).toMatchObject({ mtuClear: 1400 - AROUND, mtuSecure: 1278 })
  expect(peerOf(gw, b)).toMatchObject({ mtuClear: 1432 })
  expect(mtus(b)).toEqual([1500])
  expect(session(a, gw)?.sid).toBe(before)
  expect(a.events.some(({ code, message }) => code === 'path-mtu' && message.includes('1400'))).toBe(true)
})

test('within 2 s of the first large packet, and the other way round when there is room again', async () => {
  expect(await narrow(1300)).toBeLessThan(2000)
  width = 1500
  await until('wide again', () => mtus(a).every(mtu => mtu === 1500), 15_000)
  await until('gw knows', () => mtus(gw).every(mtu => mtu === 1500))
  expect(peerOf(a, gw)).toMatchObject({ mtuClear: 1432 })
})

test('the node’s own packets to that peer know it by their route, while it is narrower than the others', async () => {
  const routes = async (station: Station) =>
    (await station.kernel.network.routes())
      .filter(({ destination, mtu }) => mtu !== undefined && destination.endsWith('/32'))
      .map(({ destination, mtu }) => `${destination} ${mtu}`)
  expect(await routes(gw)).toEqual([])
  await narrow(1400)
  await until('gw knows', () => mtus(gw).includes(1400))
  const virtual = (await a.kernel.network.addresses()).find(({ address }) => address.startsWith('100.64.'))?.address
  expect(await routes(gw)).toEqual([`${virtual}/32 1332`])
  expect(await routes(a)).toEqual(['100.64.0.1/32 1332'])
  width = 1500
  await until('wide again', () => [...mtus(a), ...mtus(gw)].every(mtu => mtu === 1500), 15_000)
  expect([...(await routes(gw)), ...(await routes(a))]).toEqual([])
})

test('a renewal and the next agent of either end keep it', async () => {
  await narrow(1400)
  await until('gw knows', () => mtus(gw).includes(1400))
  const larger: number[] = []
  const look = () => {
    const [first, second] = [session(a, gw), session(gw, a)]
    if (first && second) larger.push(...[...mtus(a, first.sid), ...mtus(gw, second.sid)].filter(mtu => mtu > 1400))
    return true
  }
  const sid = session(a, gw)?.sid
  a.agent?.rekey({})
  await until('renewed', () => look() && session(a, gw)?.sid !== sid && session(gw, a) !== undefined)
  for (const station of [a, gw]) {
    station.crash()
    await station.start()
    await until(`${station.name} is back`, () => look() && a.up)
  }
  await until('one session each', () => look() && mtus(a).length === 1 && mtus(gw).length === 2)
  expect(larger).toEqual([])
  expect(mtus(gw).sort()).toEqual([1400, 1500])
})

test('the only path carries nothing of use: it is said, and kept for the smallest packets', async () => {
  width = 400
  const least = { pathMask: 1, mtuClear: 576 - AROUND }
  await until('said', () => {
    traffic(a)
    return a.events.some(({ severity }) => severity === 'warning')
  })
  expect(peerOf(a, gw)).toMatchObject(least)
  await until('gw knows', () => peerOf(gw, a)?.mtuClear === least.mtuClear)
  expect(peerOf(gw, a)).toMatchObject(least)
  expect(a.events.find(({ code, severity }) => code === 'path-mtu' && severity === 'warning')?.message).toContain(
    'inet',
  )
  width = 1500
  const wide = (station: Station, other: Station) => peerOf(station, other)?.mtuClear === 1432
  await until('used again', () => wide(a, gw) && wide(gw, a), 15_000)
})
