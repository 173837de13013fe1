/** A thread that moves a peer from one session to another and back, as fast as it can, while the programs run in the thread that started it. */
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import * as libbpf from '../../../agent/kernel/libbpf.ts'

interface Task {
  /** Descriptor of the peers map; descriptors are the process's, not the thread's. */
  peers: number
  index: number
  /** Encoded peers, written in turn. */
  values: readonly Uint8Array[]
  /** [stop, moves made] */
  shared: Int32Array<SharedArrayBuffer>
}

/** @returns a function that ends the moving and tells how many there were */
export async function keepMoving(task: Omit<Task, 'shared'>): Promise<() => Promise<number>> {
  const shared = new Int32Array(new SharedArrayBuffer(8))
  const worker = new Worker(new URL(import.meta.url), { workerData: { ...task, shared } satisfies Task })
  const ended = new Promise<void>((resolve, reject) => {
    worker.once('exit', () => resolve())
    worker.once('error', reject)
  })
  while (Atomics.load(shared, 1) === 0) await Promise.race([ended, new Promise(resolve => setTimeout(resolve, 1))])
  return async () => {
    Atomics.store(shared, 0, 1)
    await ended
    return Atomics.load(shared, 1)
  }
}

function move({ peers, index, values, shared }: Task): void {
  const key = new Uint8Array(Uint32Array.of(index).buffer)
  for (let moves = 1; Atomics.load(shared, 0) === 0; moves++) {
    const value = values[moves % values.length]
    if (value) libbpf.checkResult(libbpf.mapUpdate(peers, key, value, 0n), 'write', 'map peers')
    Atomics.store(shared, 1, moves)
  }
}

if (!isMainThread) move(workerData as Task)
