/** Prometheus figures of an edge's paths; a gateway, with thousands of them, counts paths by condition. */
import type { Registry } from 'prom-client'
import { gauge } from '../loop/metrics.ts'
import type { PathControl } from './control.ts'
import { RANK } from './judge.ts'
import { lossRate } from './loss.ts'
import type { WatchedPath } from './watched-path.ts'

export function pathCounts(registry: Registry, control: PathControl): void {
  gauge(registry, 'branchline_paths', 'Paths to peers by condition', ['condition'], set => {
    const counts = new Map<string, number>(Object.keys(RANK).map(condition => [condition, 0]))
    for (const { paths } of control.peers())
      for (const { judge } of paths) counts.set(judge.condition, (counts.get(judge.condition) ?? 0) + 1)
    for (const [condition, count] of counts) set({ condition }, count)
  })
}

export function pathMetrics(registry: Registry, control: PathControl): void {
  type Set = (labels: Record<string, string>, value: number) => void
  /** What is not known has no sample. */
  const each =
    (read: (path: WatchedPath, put: (value: number | undefined, direction?: string) => void) => void) => (set: Set) => {
      for (const { peer, paths } of control.peers())
        for (const path of paths)
          read(path, (value, direction) => {
            const labels = { peer: peer.name(), link: path.link, ...(direction && { direction }) }
            if (value !== undefined) set(labels, value)
          })
    }
  const seconds = (ms: number | undefined) => ms && ms / 1000
  const [one, both] = [
    ['peer', 'link'],
    ['peer', 'link', 'direction'],
  ]
  gauge(
    registry,
    'branchline_path_condition',
    '0 good, 1 suspect, 2 degraded, 3 left, 4 down',
    one,
    each(({ judge }, put) => put(RANK[judge.condition])),
  )
  gauge(
    registry,
    'branchline_path_rtt_seconds',
    'Smoothed round trip',
    one,
    each(({ meter }, put) => put(seconds(meter.timing.srttMs))),
  )
  gauge(
    registry,
    'branchline_path_jitter_seconds',
    'Of what is received, RFC 3550',
    one,
    each(({ meter }, put) => put(seconds(meter.timing.jitterMs))),
  )
  gauge(
    registry,
    'branchline_path_loss_ratio',
    'Share of packets lost in the last ten seconds',
    both,
    each(({ meter }, put) => {
      const figures = meter.figures('ten')
      put(lossRate(figures.out), 'out')
      put(lossRate(figures.in), 'in')
    }),
  )
  gauge(
    registry,
    'branchline_path_bits_per_second',
    'In the last second, outer headers included',
    both,
    each(({ meter }, put) => {
      const { mbpsOut, mbpsIn } = meter.figures('second')
      put(mbpsOut * 1e6, 'out')
      put(mbpsIn * 1e6, 'in')
    }),
  )
}
