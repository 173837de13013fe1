/** The counters in path_state's large entries: a gateway asks for them of thousands of paths a second, so nothing else is decoded. */
import { ABI_DELAY_BUCKETS, type PathState, pathStateCodec } from '../../schema/abi.gen.ts'
import { viewOf } from '../../schema/codec.ts'
import * as libbpf from './libbpf.ts'
import { placeOf } from './named-map.ts'
import { LONGS, type PathCounters, WORDS } from './path-counters.ts'

const ZERO = pathStateCodec.decode(new Uint8Array(pathStateCodec.size))

/** Where a member lies, found by writing it. */
function offsetOf(change: Partial<PathState>): number {
  return pathStateCodec.encode({ ...ZERO, ...change }).findIndex(byte => byte !== 0)
}

const HANDLE = offsetOf({ handle: 1 })
const LEFT = offsetOf({ left: 1 })
const DELAY = offsetOf({ delay: ZERO.delay.map((_, bucket) => (bucket === 0 ? 1 : 0)) })
const WORDS_AT = WORDS.map(name => [name, offsetOf({ [name]: 1 })] as const)
const LONGS_AT = LONGS.map(name => [name, offsetOf({ [name]: 1n })] as const)

/** @param fd of the array path_state. @returns undefined: there is no such path */
export function countersReader(fd: number): (handle: number) => PathCounters | undefined {
  const key = new Uint8Array(4)
  const value = new Uint8Array(pathStateCodec.size)
  const [keyView, view] = [viewOf(key), viewOf(value)]
  const long = (at: number) => view.getUint32(at, true) + 2 ** 32 * view.getUint32(at + 4, true)
  return handle => {
    keyView.setUint32(0, placeOf(handle), true)
    if (libbpf.mapLookup(fd, key, value) !== 0 || view.getUint32(HANDLE, true) !== handle) return undefined
    const delay = Array.from({ length: ABI_DELAY_BUCKETS }, (_, bucket) => view.getUint32(DELAY + 4 * bucket, true))
    const counters = { handle, left: value[LEFT] !== 0, delay } as PathCounters
    for (const [name, at] of WORDS_AT) counters[name] = view.getUint32(at, true)
    for (const [name, at] of LONGS_AT) counters[name] = long(at)
    return counters
  }
}
