/** When a path was last heard: one number of a large entry. A gateway asks it of 10,000 paths twice a second, so nothing else is decoded. */
import { type PathState, pathStateCodec } from '../../schema/abi.gen.ts'
import { viewOf } from '../../schema/codec.ts'
import * as libbpf from './libbpf.ts'
import { placeOf } from './named-map.ts'

const ZERO = pathStateCodec.decode(new Uint8Array(pathStateCodec.size))

/** Where a member lies, in bytes from the start, found by writing it. */
export function pathStateOffset(change: Partial<PathState>): number {
  return pathStateCodec.encode({ ...ZERO, ...change }).findIndex(byte => byte !== 0)
}

const HANDLE = pathStateOffset({ handle: 1 })
const LAST_RX_NS = pathStateOffset({ lastRxNs: 1n })

/** @param fd of the array path_state. @returns ns on CLOCK_MONOTONIC, 0n: never; undefined: there is no such path */
export function lastHeardReader(fd: number): (handle: number) => bigint | undefined {
  const key = new Uint8Array(4)
  const value = new Uint8Array(pathStateCodec.size)
  const [keyView, view] = [viewOf(key), viewOf(value)]
  return handle => {
    keyView.setUint32(0, placeOf(handle), true)
    if (libbpf.mapLookup(fd, key, value) !== 0 || view.getUint32(HANDLE, true) !== handle) return undefined
    return view.getBigUint64(LAST_RX_NS, true)
  }
}
