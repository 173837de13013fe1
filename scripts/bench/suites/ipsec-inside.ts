/**
 * Suite `ipsec`, the part that runs where the kernel has ESP:
 *   node ipsec-inside.ts <rounds> <seed> <megabytes of a transfer> <packets of a flood>
 * Progress on standard error, one JSON `Result` on standard output.
 */
import { compare } from '../compare.ts'
import { random } from '../random.ts'
import type { Sample } from '../sample.ts'
import { branchlineLane, type Lane, plainLane, removeLanes, wireguardLane, xfrmLane } from './ipsec-lanes.ts'
import { aimGenerator, flood, loadGenerator, startReceiver, transfer } from './ipsec-load.ts'

/** TCP segment of all lanes: what fits Branchline's over a WAN of MTU 1500. */
const MSS = 1338

const lanes = { branchline: branchlineLane, xfrm: xfrmLane, wireguard: wireguardLane, plain: plainLane }
export type LaneName = keyof typeof lanes

export interface Result {
  /** Mb/s; `xfrm-full`: packets as large as its own overhead allows */
  readonly tcp: Record<LaneName | 'xfrm-full', Sample>
  /** Packets of 64 B per second. */
  readonly pps: Record<LaneName, Sample>
  readonly faults: Record<string, number>
}

if (import.meta.main) {
  const [rounds = 0, seed = 0, megabytes = 0, packets = 0] = process.argv.slice(2).map(Number)
  console.log(JSON.stringify(await measure(rounds, seed, megabytes, packets)))
}

async function measure(rounds: number, seed: number, megabytes: number, packets: number): Promise<Result> {
  using cleanup = new DisposableStack()
  loadGenerator()
  removeLanes()
  const open = {} as Record<LaneName, Lane>
  for (const name of Object.keys(lanes) as LaneName[]) {
    const lane = cleanup.use(lanes[name](name))
    aimGenerator(lane)
    cleanup.use(await startReceiver(lane))
    open[name] = lane
  }
  const settings = { rounds, random: random(seed) }
  const pps = await compare(
    each(lane => flood(lane, packets)),
    settings,
  )
  const tcp = await compare(
    { ...each(lane => transfer(lane, megabytes, MSS)), 'xfrm-full': () => transfer(open.xfrm, megabytes) },
    settings,
  )
  const faults = Object.assign({}, ...Object.entries(open).map(([name, lane]) => named(name, lane.faults())))
  return { tcp, pps, faults }

  function each(action: (lane: Lane) => number | Promise<number>) {
    return Object.fromEntries(Object.entries(open).map(([name, lane]) => [name, () => action(lane)])) as Record<
      LaneName,
      () => number | Promise<number>
    >
  }
}

function named(lane: string, faults: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(faults).map(([name, count]) => [`${lane}: ${name}`, count]))
}
