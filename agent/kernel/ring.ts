/** The ring buffer of sampled events. */
import koffi from 'koffi'
import { type Event, eventCodec } from '../../schema/abi.gen.ts'
import * as libbpf from './libbpf.ts'
import type { Pointer } from './native.ts'
import { watchReadable } from './reactor.ts'

const SAMPLE = koffi.array('uint8', eventCodec.size, 'Typed')

/**
 * Calls `onEvent` for every event, those that waited in the ring included. Does not keep the process alive.
 * @returns a function that closes the ring. @throws KernelError
 */
export function openRing(mapFd: number, onEvent: (event: Event) => void): () => void {
  let samples: Uint8Array[] = []
  const callback = koffi.register((_context: Pointer, data: Pointer, size: number | bigint) => {
    // An exception must not cross the C frames of libbpf: handlers run after it.
    if (data !== null && Number(size) >= eventCodec.size) samples.push(koffi.decode(data, SAMPLE))
    return 0
  }, libbpf.ringSampleType)
  const ring = libbpf.checkPointer(libbpf.ringNew(mapFd, callback, null, null), 'open', 'map events')
  const registration = watchReadable(libbpf.ringEpollFd(ring), () => {
    libbpf.checkResult(libbpf.ringConsume(ring), 'read', 'map events')
    // Read again each time: a handler may close the ring, which empties them.
    for (let sample = samples.shift(); sample; sample = samples.shift()) onEvent(eventCodec.decode(sample))
  })
  return () => {
    samples = []
    registration.close()
    libbpf.ringFree(ring)
    koffi.unregister(callback)
  }
}
