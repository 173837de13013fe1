/**
 * The thread that writes the FIB: a change of a large table, and the wait for a grace period, never hold up the agent's event loop. It keeps nothing that
 * is not in the maps: when it ends, another one rebuilds the table from them.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { FibEngine } from './engine.ts'
import { graceOver, mapFib, waitGrace } from './memory.ts'
import type { Answer, Request, WorkerStart } from './messages.ts'

/** ms for which replaced structures may lie idle, and how many of them. */
const COLLECT_MS = 50
const COLLECT_COUNT = 4096

const { fds } = workerData as WorkerStart
const port = parentPort
if (!port) throw new Error('this module is a worker')
const memory = mapFib(fds)
const engine = new FibEngine(memory, waitGrace)
let collecting: NodeJS.Timeout | 'now' | undefined
let ending = false

const answer = (message: Answer) => port.postMessage(message)

port.on('message', (request: Request | 'end') => {
  if (request === 'end') {
    ending = true
    if (collecting !== 'now') end()
    return
  }
  const { id, what } = request
  if (what === 'apply') answer({ id, what, refused: engine.apply(request.changes) })
  else if (what === 'records') answer({ id, what, records: engine.records() })
  else answer({ id, what, usage: engine.usage })
  collectSoon()
})
answer({ what: 'ready', lost: engine.lost })

function collectSoon(): void {
  if (engine.retired === 0 || collecting === 'now') return
  if (engine.retired >= COLLECT_COUNT) {
    clearTimeout(collecting)
    collect()
  } else collecting ??= setTimeout(collect, COLLECT_MS)
}

function collect(): void {
  collecting = 'now'
  engine.collect(graceOver).then(
    () => {
      collecting = undefined
      if (ending) end()
      else collectSoon()
    },
    // Whatever it is ends this thread, and the next one begins with clean books.
    error =>
      setImmediate(() => {
        throw error
      }),
  )
}

/** Pages that stay mapped would keep the maps of a dataplane that is gone, 100 MB and more. */
function end(): void {
  clearTimeout(collecting === 'now' ? undefined : collecting)
  memory.close()
  port?.close()
}
