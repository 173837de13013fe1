/**
 * Worker threads of the agent. One table names them: Node runs their source in the repository, scripts/bundle.ts makes each a file beside the
 * command.
 */
import { Worker } from 'node:worker_threads'

/** Name -> module, seen from here. */
export const WORKERS = {
  fib: './kernel/fib/worker.ts',
  responder: './mp/responder-worker.ts',
} as const

export type WorkerName = keyof typeof WORKERS

/** A bundle's files lie in one folder. */
export function bundledWorker(name: WorkerName): string {
  return `worker-${name}`
}

/** @param workerData what the structured clone algorithm takes; key objects too */
export function startWorker(name: WorkerName, workerData: unknown): Worker {
  const bundled = !import.meta.url.endsWith('.ts')
  const file = new URL(bundled ? `./${bundledWorker(name)}.js` : WORKERS[name], import.meta.url)
  return new Worker(file, { name, workerData })
}
