/** Repeats an action; a run that is late or throws does not pile up or stop the series. */
import type { Logger } from '../log.ts'

export function every(ms: number, action: () => void | Promise<void>, log: Logger): { stop(): void } {
  let stopped = false
  let timer = setTimeout(run, ms)
  async function run() {
    try {
      await action()
    } catch (error) {
      log.error({ err: error }, `periodic work failed: ${error instanceof Error ? error.message : String(error)}`)
    }
    if (!stopped) timer = setTimeout(run, ms)
  }
  return {
    stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}
