/** TCP between the hosts of a pair, by iperf3. */
import { once } from 'node:events'
import type { Namespace } from '../../../tests/net/dataplane/namespace.ts'
import { BenchError } from '../error.ts'
import { HOST, type Pair } from './tunnel-pair.ts'

interface Report {
  error?: string
  end: { sum_received?: { bits_per_second: number } }
}

/** Gb/s that host-b received. @throws BenchError when they cannot connect */
export async function tcpThroughput({ hosts }: Pair, seconds: number): Promise<number> {
  const limit = AbortSignal.timeout((seconds + 10) * 1000)
  const server = hosts.b.spawn(['iperf3', '-s', '-1', '--forceflush'], {
    signal: limit,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  server.on('error', () => {})
  const ended = once(server, 'exit')
  await Promise.race([once(server.stdout ?? fail('iperf3 has no output'), 'data'), ended])
  const report = await client(hosts.a, ['-c', HOST.b, '-t', String(seconds), '-J', '--connect-timeout', '3000'], limit)
  server.kill()
  await ended
  const received = report.end.sum_received?.bits_per_second
  if (report.error !== undefined || !received) throw new BenchError(`iperf3: ${report.error ?? 'nothing arrived'}`)
  return received / 1e9
}

async function client(host: Namespace, options: readonly string[], signal: AbortSignal): Promise<Report> {
  const child = host.spawn(['iperf3', ...options], { signal, stdio: ['ignore', 'pipe', 'ignore'] })
  child.on('error', () => {})
  let text = ''
  for await (const part of child.stdout ?? fail('iperf3 has no output')) text += part
  try {
    return JSON.parse(text) as Report
  } catch {
    throw new BenchError('iperf3 was ended before it could report')
  }
}

function fail(message: string): never {
  throw new BenchError(message)
}
