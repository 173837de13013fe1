/** A connection whose data waits its turn among that of others: see WorkQueue. */
import type { WorkQueue } from '../loop/queue.ts'
import type { ByteStream } from './net.ts'

export function queuedStream(stream: ByteStream, queue: WorkQueue): ByteStream {
  return {
    remote: stream.remote,
    write: bytes => stream.write(bytes),
    onData: handler => stream.onData(bytes => queue.add(() => handler(bytes))),
    onDrain: handler => stream.onDrain(() => queue.add(handler)),
    // Behind the data that came before.
    onClose: handler => stream.onClose(reason => queue.add(() => handler(reason))),
    close: () => stream.close(),
  }
}
