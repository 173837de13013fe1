/** Puts a path that senders left back into use: one byte of an entry that they write at the same time, so only that byte may be written. */
import { pathStateCodec } from '../../schema/abi.gen.ts'
import { viewOf } from '../../schema/codec.ts'
import { mapShape } from './bpf-object.ts'
import { mapMemory, PAGE } from './fib/memory.ts'
import { pathStateOffset } from './last-heard.ts'
import { placeOf } from './named-map.ts'

const HANDLE = pathStateOffset({ handle: 1 })
const LEFT = pathStateOffset({ left: 1 })

/** @param fd of the array path_state. @returns false: there is no such path. It happens rarely, so the pages are mapped for each call */
export function leftClearer(fd: number): (handle: number) => boolean {
  // As bpf_map_value_size and array_map_elem_size of the kernel: values begin at multiples of 8.
  const size = Math.ceil(pathStateCodec.size / 8) * 8
  return handle => {
    const place = placeOf(handle)
    if (place >= mapShape(fd).maxEntries) return false
    const at = place * size
    const page = Math.floor(at / PAGE) * PAGE
    const memory = mapMemory('map path_state', fd, page, at + size - page)
    try {
      const entry = memory.bytes.subarray(at - page)
      if (viewOf(entry).getUint32(HANDLE, true) !== handle) return false
      entry[LEFT] = 0
      return true
    } finally {
      memory.close()
    }
  }
}
