/** Two threads that put the same flows into one table at the same time. */
import { once } from 'node:events'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { runProgram } from '../../../agent/kernel/prog-run.ts'

interface Task {
  /** Descriptor of the program; descriptors are the process's, not the thread's. */
  program: number
  packet: Uint8Array
  repeat: number
  mark: number
  /** Threads that are ready: each waits for the other. */
  ready: Int32Array<SharedArrayBuffer>
}

const CPUS = 2

/** Runs `program` in two threads at once, with mark 0 and 1. @param repeat runs of each */
export async function onTwoCpus(task: Pick<Task, 'program' | 'packet' | 'repeat'>): Promise<void> {
  const ready = new Int32Array(new SharedArrayBuffer(4))
  const threads = Array.from({ length: CPUS }, async (_, mark) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { ...task, mark, ready } satisfies Task })
    await once(worker, 'exit')
  })
  await Promise.all(threads)
}

if (!isMainThread) {
  const { program, packet, repeat, mark, ready } = workerData as Task
  Atomics.add(ready, 0, 1)
  while (Atomics.load(ready, 0) < CPUS);
  runProgram(program, { packet, repeat, context: { mark } })
}
