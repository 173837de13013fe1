import { expect, test } from 'vitest'
import { PathMeter } from '../paths/meter.ts'
import { TestPath } from '../paths/testing.ts'
import { GatewayQuality } from './gateway-quality.ts'

const LOOK_MS = 100

/** An edge with two gateways of one metric, a path to each; gw1's can fail. Only the clock, the paths and their meters are there. */
function setUp() {
  const uplink = (node: string) => {
    const path = new TestPath()
    Object.assign(path.counters, { rttUs: 1000, srttUs: 1000 })
    const watched = { path: 0, meter: new PathMeter() }
    const paths = { sid: 0x100, paths: [watched], working: [watched] }
    return { path, paths, usable: true, gateway: { node, name: node, metric: 100, drained: false } }
  }
  const [gw1, gw2] = [uplink('gw1'), uplink('gw2')]
  let now = 0
  const node = { now: () => now, dataplane: { maps: { pathCounters: () => undefined } } }
  const list = { uplinks: new Map([gw1, gw2].map(each => [each.gateway.node, each])), leaving: () => false }
  const quality = new GatewayQuality(node as never, list as never, () => {})
  const pass = (ms: number) => {
    for (const end = now + ms; now < end; ) {
      now += LOOK_MS
      for (const { path, paths } of [gw1, gw2]) paths.paths[0]?.meter.add(now, path.step(LOOK_MS, 2))
      if (now % 500 === 0) quality.measure()
    }
  }
  /** Nothing of gw1's path arrives, or all does again. */
  const fail = (failing: boolean) => {
    gw1.path.lossOut = failing ? 1 : 0
    gw1.path.lossIn = failing ? 1 : 0
    gw1.paths.working = failing ? [] : gw1.paths.paths
    quality.measure()
  }
  return { quality, pass, fail, share: () => quality.choice.share(['gw1', 'gw2']).toSorted() }
}

test.each([1000, 3300, 30_000, 90_700])('a gateway that failed for %i ms has its flows again within 13 s', failedMs => {
  const { pass, fail, share } = setUp()
  pass(20_000)
  expect(share()).toEqual(['gw1', 'gw2'])
  fail(true)
  pass(failedMs)
  expect(share()).toEqual(['gw2'])
  fail(false)
  pass(9000)
  expect(share()).toEqual(['gw2'])
  pass(4000)
  expect(share()).toEqual(['gw1', 'gw2'])
})

test('one that hardly failed keeps them', () => {
  const { pass, fail, share } = setUp()
  pass(20_000)
  fail(true)
  pass(200)
  fail(false)
  expect(share()).toEqual(['gw1', 'gw2'])
})
