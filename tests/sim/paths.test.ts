/** Topology: edge a with two WAN links (path 0 inet, path 1 lte), each a path to gateway gw1. Real agents on fake kernels; only probes are on the paths. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { spread, trafficClass } from '../../schema/abi.gen.ts'
import { Anchor, gatewayEntry } from '../identities.ts'
import { Simulation, type Station, type StationSpec, until } from './branches.ts'

let simulation: Simulation
let gw: Station
let a: Station

beforeEach(() => start({}))

async function start(change: Partial<StationSpec>, rttMs = (_path: number) => 1): Promise<void> {
  const anchor = new Anchor()
  simulation = new Simulation()
  simulation.world.rttMs = (_from, _to, path) => rttMs(path)
  const node = anchor.gateway('gw1', '100.64.0.0/18')
  const acme = anchor.enterprise('acme', 'esp')
  gw = await simulation.add({ name: 'gw1', node, wan: '192.0.2.1' })
  const subnets = [{ prefix: '10.1.0.0/24', reachable: true }]
  a = await simulation.add({
    name: 'a',
    node: anchor.edge('branch-a', acme, subnets, [gatewayEntry(node, '192.0.2.1')]),
    wan: '192.0.2.11',
    lte: '198.51.100.11',
    lan: '10.1.0.1/24',
    ...change,
  })
  for (const station of simulation.stations) await station.start()
  await until('a is up', () => a.up)
  await until('both paths measured', () => conditions(a).every(({ replies }) => replies > 2))
}

afterEach(() => simulation[Symbol.asyncDispose]())

/** What a station's programs do with packets of the default class to its only peer. */
function words(station: Station): { mask: number; best: number } {
  const [entry] = station.kernel.maps()?.peers.entries() ?? []
  const { mask = 0, best = -1 } = entry?.[1].steering[trafficClass.CLASS_DEFAULT] ?? {}
  return { mask, best }
}

function conditions(station: Station) {
  const { role } = station.agent ?? {}
  const peers = role?.kind === 'edge' ? [...role.edge.uplinks.values()] : [...(role?.gateway.peers.all() ?? [])]
  return peers.flatMap(({ paths }) =>
    paths.paths.map(({ path, judge }) => ({
      path,
      condition: judge.condition,
      reason: judge.reason,
      replies: station.kernel.maps()?.pathState.get((paths.sid | path) >>> 0)?.probeReplies ?? 0,
    })),
  )
}

const conditionOf = (station: Station, path: number) =>
  conditions(station).find(candidate => candidate.path === path)?.condition

describe('an edge with two links', () => {
  test('uses both', () => {
    expect(words(a)).toEqual({ mask: 3, best: 0 })
  })

  test('leaves a path that carries nothing within a second, and uses it again later', async () => {
    simulation.world.carries = (_from, _to, path) => path !== 0
    const took = await until('off path 0', () => words(a).mask === 2 && words(a).best === 1)
    expect(took).toBeLessThan(1000)
    expect(a.up).toBe(true)
    simulation.world.carries = () => true
    const back = await until('back on path 0', () => words(a).mask === 3, 20_000)
    expect(back).toBeGreaterThan(4000)
  }, 30_000)

  test.each(['a', 'gw1'])('leaves a path on which only what %s sends is lost', async sender => {
    simulation.world.carries = (from, _to, path) => path !== 0 || from !== sender
    const took = await until('off path 0', () => words(a).mask === 2)
    expect(took).toBeLessThan(1000)
    expect(a.up).toBe(true)
  })

  test('leaves a path that loses every third packet one way within three seconds', async () => {
    let count = 0
    simulation.world.carries = (from, _to, path) => path !== 0 || from !== 'a' || count++ % 3 !== 0
    const took = await until('off path 0', () => words(a).mask === 2)
    expect(took).toBeLessThan(3000)
    expect(conditions(a)[0]?.reason).toMatch(/^loss out \d+ %$/)
  })

  test('leaves a path whose round trip grows by 300 ms', async () => {
    simulation.world.rttMs = (_from, _to, path) => (path === 0 ? 301 : 1)
    const took = await until('off path 0', () => words(a).mask === 2)
    expect(took).toBeLessThan(3000)
  })

  test('says once that all are lost, and recovers alone', async () => {
    simulation.world.carries = () => false
    await until('gateway lost', () => !a.up)
    await until('both down', () => [0, 1].every(path => conditionOf(a, path) === 'down'))
    simulation.world.carries = () => true
    await until('up again', () => a.up)
    expect(a.events.filter(({ code }) => code === 'gateway-lost')).toHaveLength(1)
  })

  test('follows a mark of its programs at once', async () => {
    const maps = a.kernel.maps()
    const [sid = 0] = maps?.sessions.entries().map(([id]) => id) ?? []
    const state = maps?.pathState.get(sid)
    if (state) maps?.pathState.set(sid, { ...state, left: 1 })
    await until('off path 0', () => words(a).mask === 2)
    expect(conditions(a)[0]).toMatchObject({ condition: 'left', reason: 'silent while in use' })
  })

  test('tells people and Prometheus how its paths are, and what became of them', async () => {
    simulation.world.carries = (_from, _to, path) => path !== 0
    await until('off path 0', () => words(a).mask === 2)
    const [inet, lte] = (await a.agent?.paths({ peer: 'gw1' })) ?? []
    expect(inet).toMatchObject({ peer: 'gw1', path: 0, link: 'inet', classes: [] })
    expect(['left', 'down']).toContain(inet?.condition)
    expect(lte).toMatchObject({
      link: 'lte',
      condition: 'good',
      rttMs: 1,
      lossOut: 0,
      classes: ['default', 'realtime', 'transactional', 'bulk'],
    })
    expect(await a.agent?.paths({ peer: 'gw2' })).toEqual([])
    const [newest] = a.agent?.pathHistory() ?? []
    expect(newest).toMatchObject({ peer: 'gw1', path: 0, link: 'inet', to: inet?.condition, reason: inet?.reason })
    const [atEdge, atGateway] = await Promise.all([a.agent?.metrics(), gw.agent?.metrics()])
    expect(atEdge).toMatch(/^branchline_path_condition\{peer="gw1",link="inet"\} [34]$/m)
    expect(atEdge).toMatch(/^branchline_path_loss_ratio\{peer="gw1",link="lte",direction="out"\} 0$/m)
    expect(atGateway).toMatch(/^branchline_paths\{condition="good"\} \d$/m)
  })

  test('what it learned of a path outlives the session', async () => {
    simulation.world.carries = (_from, _to, path) => path !== 0
    await until('off path 0', () => words(a).mask === 2)
    const sessions = () => a.kernel.maps()?.sessions.entries() ?? []
    const [old] = sessions().map(([sid]) => sid)
    a.agent?.rekey({})
    await until('renewed', () => sessions().every(([sid]) => sid !== old))
    expect(words(a)).toEqual({ mask: 2, best: 1 })
  })
})

test('each packet where it arrives first: the programs know mode, rates, delays and how long to hold back', async () => {
  await simulation[Symbol.asyncDispose]()
  const rates = { upMbps: 10, downMbps: 10 }
  const links = { inet: rates, lte: rates }
  await start({ links, classes: { default: { spread: 'packets' } } }, path => (path === 0 ? 10 : 60))
  const maps = a.kernel.maps()
  const confs = () =>
    maps?.pathConf
      .entries()
      .toSorted(([one], [two]) => one - two)
      .map(([, { rate, delayUs }]) => ({ rate, delayUs }))
  await until('delays told', () => confs()?.every(({ delayUs }) => delayUs > 0) ?? false)
  expect(confs()).toEqual([
    { rate: 1213, delayUs: 5000 },
    { rate: 1213, delayUs: 30_000 },
  ])
  const word = maps?.peers.entries()[0]?.[1].steering[trafficClass.CLASS_DEFAULT]
  expect(word).toMatchObject({ mode: spread.SPREAD_PACKETS, mask: 3, playoutMs: 30 })
})

test('a gateway leaves an edge’s path too', async () => {
  await until('the gateway knows both', () => words(gw).mask === 3)
  simulation.world.carries = (_from, _to, path) => path !== 1
  await until('off path 1', () => words(gw).mask === 1)
  expect(gw.agent?.events().map(({ code }) => code)).not.toContain('edge-lost')
})
