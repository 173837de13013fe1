/** One gateway with up to 10,000 edges and a million routes: how long a toggle takes to everybody, and what it costs the agent. */
import { ControlNetwork } from '../control/network.ts'
import { valueAtMost } from '../figure.ts'
import { sample } from '../sample.ts'
import type { Bench, Suite } from '../suite.ts'

const PER_ENTERPRISE = 100
/** Of a branch in the measurement of routes, in enterprises of two: a route is told once. */
const ROUTES_PER_EDGE = 100
const PEER_ROUTES = 10_000
const MB = 1_000_000

export const suite: Suite = {
  name: 'control',
  about: 'one gateway, its edges and routes: toggles, memory, and how late its event loop runs',
  minutes: 20,
  async verify({ check }) {
    using network = await ControlNetwork.start()
    const [count, perEnterprise] = [20, 10]
    await network.edges.ask('connect', { count, perEnterprise, prefixes: 3 })
    for (const reachable of [true, false]) {
      await toggle(network, { count, reachable, prefixes: 3, perEnterprise })
      const { edges, reachable: routes } = await network.gateway.ask('figures', undefined)
      check('edges that are up', edges, count)
      check(`routes to edges, VPN ${reachable ? 'on' : 'off'}`, routes, reachable ? 3 * count : 0)
    }
  },
  async measure(bench) {
    await edges(bench)
    await routes(bench)
  },
}

/** All edges announce a changed flag at once. @returns ms until the gateway's FIB has all, and until the last member of the last VRF was told */
async function toggle(
  { gateway, edges }: ControlNetwork,
  what: { count: number; reachable: boolean; prefixes: number; perEnterprise: number },
): Promise<{ fibMs: number; toldMs: number }> {
  const changes = what.count * what.prefixes
  const before = await gateway.ask('updates', undefined)
  const installed = gateway.ask('installed', { updates: before + changes })
  // Members are told of their own prefixes too, so that all get the same message.
  const { start, last } = await edges.ask('toggle', { ...what, expected: changes * what.perEnterprise })
  const since = (time: string) => Number(BigInt(time) - BigInt(start)) / 1e6
  return { fibMs: since(await installed), toldMs: since(last) }
}

async function edges(bench: Bench): Promise<void> {
  using network = await ControlNetwork.start()
  const empty = await network.gateway.ask('figures', undefined)
  const rounds = Math.min(bench.rounds, 5)
  let connected = 0
  for (const count of bench.quick ? [100, 300] : [100, 1000, 10_000]) {
    const more = count - connected
    const tookMs = await network.edges.ask('connect', { count: more, perEnterprise: PER_ENTERPRISE, prefixes: 1 })
    await network.gateway.ask('installed', { updates: count })
    connected = count
    const { rss } = await network.gateway.ask('figures', undefined)
    const curve = (name: string) => ({ name, x: count, over: 'edges' })
    const is = `${count} edges`
    bench.figure({ name: `${is}: connected per second`, value: (more / tookMs) * 1000, unit: '1/s' })
    bench.figure({
      name: `${is}: agent memory an edge`,
      value: (rss - empty.rss) / count / 1000,
      unit: 'kB',
      curve: curve('agent memory an edge'),
    })
    const [fib, told, stall]: number[][] = [[], [], []]
    for (let round = 0; round < rounds; round++)
      for (const reachable of [true, false]) {
        bench.signal.throwIfAborted()
        const result = await toggle(network, { count, reachable, prefixes: 1, perEnterprise: PER_ENTERPRISE })
        fib?.push(result.fibMs)
        told?.push(result.toldMs)
        const { loop } = await network.gateway.ask('figures', undefined)
        stall?.push(loop.maxMs)
        bench.note(
          `  ${is}, ${reachable ? 'on' : 'off'}: FIB ${result.fibMs.toFixed(0)} ms, told ${result.toldMs.toFixed(0)} ms, event loop p99 ${loop.p99Ms.toFixed(0)} ms, at most ${loop.maxMs.toFixed(0)} ms`,
        )
      }
    bench.figure({
      name: `${is}: toggle to the last route in the FIB`,
      value: sample(fib ?? []),
      unit: 'ms',
      bar: valueAtMost(1000),
      curve: curve('toggle to the last route in the FIB'),
    })
    bench.figure({
      name: `${is}: toggle to the last member told`,
      value: sample(told ?? []),
      unit: 'ms',
      bar: valueAtMost(1000),
      curve: curve('toggle to the last member told'),
    })
    bench.figure({
      name: `${is}: longest stall of the event loop`,
      value: sample(stall ?? []),
      unit: 'ms',
      bar: valueAtMost(20),
      curve: curve('longest stall of the event loop'),
    })
  }
}

async function routes(bench: Bench): Promise<void> {
  using network = await ControlNetwork.start()
  const netlink = await network.gateway.ask('netlinkRate', { count: PEER_ROUTES })
  const map = await network.gateway.ask('mapRate', { count: PEER_ROUTES })
  let before = await network.gateway.ask('figures', undefined)
  let connected = 0
  for (const count of bench.quick ? [100, 300] : [100, 1000, 10_000]) {
    const all = count * ROUTES_PER_EDGE
    const more = { count: count - connected, perEnterprise: 2, prefixes: ROUTES_PER_EDGE }
    const begin = performance.now()
    await network.edges.ask('connect', more)
    await network.gateway.ask('installed', { updates: all })
    const seconds = (performance.now() - begin) / 1000
    const after = await network.gateway.ask('figures', undefined)
    const added = (count - connected) * ROUTES_PER_EDGE
    connected = count
    bench.figure({
      name: `${all} routes of ${count} edges, handshakes included`,
      value: added / seconds,
      unit: '1/s',
      peer: { name: 'netlink routes', value: netlink },
      curve: { name: 'routes taken per second', x: all, over: 'routes' },
    })
    bench.figure({
      name: `${all} routes: agent memory`,
      value: after.rss / MB,
      unit: 'MB',
      ...(all === 1_000_000 && { bar: valueAtMost(1000) }),
      curve: { name: 'agent memory', x: all, over: 'routes' },
    })
    bench.figure({
      name: `${all} routes: longest stall of the event loop`,
      value: after.loop.maxMs,
      unit: 'ms',
      bar: valueAtMost(20),
    })
    bench.note(
      `  ${all} routes: ${((after.rss - before.rss) / added).toFixed(0)} bytes of memory more for each, its part of an edge included`,
    )
    before = after
  }
  const few = { count: 100, prefixes: ROUTES_PER_EDGE, perEnterprise: 2 }
  const took: number[] = []
  for (let round = 0; round < Math.min(bench.rounds, 5); round++)
    for (const reachable of [true, false]) {
      const { fibMs } = await toggle(network, { ...few, reachable })
      took.push((few.count * ROUTES_PER_EDGE * 1000) / fibMs)
    }
  bench.figure({
    name: `updates of ${few.count * ROUTES_PER_EDGE} routes, announced to installed`,
    value: sample(took),
    unit: '1/s',
    peer: { name: 'entries of a hash map in batches', value: map },
  })
}
