/** Paths as `branchline paths` and the metrics show them. */

import { spread } from '../../schema/abi.gen.ts'
import type { PathReport } from '../../schema/agent-api.ts'
import { Slices } from '../loop/slices.ts'
import type { PathControl } from './control.ts'
import { lossRate } from './loss.ts'
import { CLASSES, type PeerPaths } from './peer-paths.ts'
import type { WatchedPath } from './watched-path.ts'

/** Other work of the event loop has its turn meanwhile. @param peer only this one's, by name */
export async function pathReports(control: PathControl, nowMs: number, peer?: string): Promise<PathReport[]> {
  const slices = new Slices()
  const reports: PathReport[] = []
  for (const paths of control.peers()) {
    if (peer !== undefined && paths.peer.name() !== peer) continue
    for (const path of paths.paths) reports.push(reportOf(paths, path, nowMs))
    if (slices.over) await slices.rest()
  }
  return reports
}

function reportOf(paths: PeerPaths, watched: WatchedPath, nowMs: number): PathReport {
  const { meter, judge, path, link } = watched
  const [now, lately] = [meter.figures('second'), meter.figures('ten')]
  const { srttMs, jitterMs } = meter.timing
  return {
    peer: paths.peer.name(),
    path,
    link,
    condition: judge.condition,
    reason: judge.reason,
    forMs: Math.max(0, nowMs - (judge.sinceMs ?? nowMs)),
    returnsInMs: judge.waitMs(nowMs) ?? null,
    rttMs: srttMs ?? null,
    jitterMs: jitterMs ?? null,
    lossOut: lossRate(lately.out) ?? null,
    lossIn: lossRate(lately.in) ?? null,
    reordered: lately.reordered ?? null,
    delayP95Ms: lately.delayP95Ms ?? null,
    mbpsOut: now.mbpsOut,
    mbpsIn: now.mbpsIn,
    classes: classesOn(paths, path),
  }
}

/** Classes whose packets use the path; those that only send copies there have a `+`. */
function classesOn({ words }: PeerPaths, path: number): string[] {
  return CLASSES.flatMap((name, index) => {
    const word = words[index]
    if (!word) return []
    const shared = word.mode === spread.SPREAD_FLOWS || word.mode === spread.SPREAD_PACKETS
    if (shared ? (word.mask >> path) & 1 : word.best === path) return [name]
    return word.mode === spread.SPREAD_TWICE && word.second === path ? [`${name}+`] : []
  })
}
