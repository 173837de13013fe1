import { expect, test } from 'vitest'
import type { PathReport } from '../schema/agent-api.ts'
import { pathsText } from './paths.ts'

const row: PathReport = {
  peer: 'gw1',
  path: 1,
  link: 'lte',
  condition: 'degraded',
  reason: 'loss out 21 %',
  forMs: 4200,
  returnsInMs: 5000,
  rttMs: 48.31,
  jitterMs: 2.04,
  lossOut: 0.2134,
  lossIn: null,
  reordered: 0,
  delayP95Ms: 12.5,
  mbpsOut: 1.234,
  mbpsIn: 0,
  classes: ['bulk', 'realtime+'],
}

test('a path as people see it; what is unknown is a dash', () => {
  expect(pathsText([row]).split('\n')).toEqual([
    'PEER  PATH   STATE     SINCE  RTT    JITTER  DELAY P95  LOSS OUT  IN  MB/S OUT  IN    USED BY         REASON',
    'gw1   1 lte  degraded  4 s    48 ms  2.0 ms  +13 ms     21.3 %    -   1.23      0.00  bulk realtime+  loss out 21 %; back in 5 s if it stays well',
  ])
  expect(pathsText([])).toBe('no paths')
})
