/** Health of an instance by asking it: HTTP (200 to 399 is healthy) or a TCP connection, as AWS Gateway Load Balancer does. */
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import type { HealthConfig } from './config.ts'
import type { HealthTarget } from './driver.ts'

type Checked = Exclude<HealthConfig, { kind: 'none' }>

export interface HealthCheck {
  close(): void
}

/**
 * Asks every `intervalMs`, and tells `changed` when `changes` answers in a row say otherwise than before.
 * @param healthy what it is taken for until then
 */
export function checkHealth(
  target: HealthTarget,
  config: Checked,
  healthy: boolean,
  changed: (healthy: boolean, reason: string) => void,
): HealthCheck {
  let state = healthy
  let against = 0
  let timer: NodeJS.Timeout | undefined
  let closed = false
  const round = async () => {
    const failure = await (config.kind === 'http' ? askHttp(target, config) : askTcp(target, config))
    if (closed) return
    against = (failure === undefined) === state ? 0 : against + 1
    if (against >= config.changes) {
      state = !state
      against = 0
      changed(state, failure ?? 'it answers')
    }
    timer = setTimeout(round, config.intervalMs)
  }
  timer = setTimeout(round, Math.min(config.intervalMs, FIRST_MS))
  return {
    close() {
      closed = true
      clearTimeout(timer)
    },
  }
}

const FIRST_MS = 100

/** @returns undefined when healthy, else why not */
async function askHttp({ address, port }: HealthTarget, { path, timeoutMs }: Checked): Promise<string | undefined> {
  const call = get({ host: address, port, path, timeout: timeoutMs, agent: false })
  call.on('timeout', () => call.destroy(new Error(`no answer within ${timeoutMs} ms`)))
  try {
    const [answer] = (await once(call, 'response')) as [IncomingMessage]
    const { statusCode = 0 } = answer
    return statusCode >= 200 && statusCode < 400 ? undefined : `it answers ${statusCode}`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    call.destroy()
  }
}

async function askTcp({ address, port }: HealthTarget, { timeoutMs }: Checked): Promise<string | undefined> {
  const socket = connect({ host: address, port })
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)))
  try {
    await once(socket, 'connect')
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    socket.destroy()
  }
}
