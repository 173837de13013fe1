/** What the TCP of a host has counted (RFC 4022; Documentation/networking/snmp_counter.rst). Of its network namespace, so of all its connections. */
import type { Lab } from './lab.ts'

export interface TcpCounters {
  /** segments; joined ones (GRO) count once */
  readonly received: number
  readonly retransmitted: number
  /** sent and received */
  readonly resets: number
  /** segments that waited for an earlier one */
  readonly outOfOrder: number
}

export async function tcpCounters(lab: Lab, host: string): Promise<TcpCounters> {
  const table = parseCounters(await lab.run(host, ['cat', '/proc/net/snmp', '/proc/net/netstat']))
  const count = (name: string) => table.get(name) ?? 0
  return {
    received: count('Tcp InSegs'),
    retransmitted: count('Tcp RetransSegs'),
    resets: count('Tcp OutRsts') + count('Tcp EstabResets') + count('TcpExt TCPAbortOnTimeout'),
    outOfOrder: count('TcpExt TCPOFOQueue'),
  }
}

/** Pairs of lines: names, then values, each behind the name of its group. @returns `Tcp InSegs` -> value */
export function parseCounters(text: string): ReadonlyMap<string, number> {
  const lines = text.split('\n').map(line => line.split(' '))
  const table = new Map<string, number>()
  for (let at = 0; at + 1 < lines.length; at += 2) {
    const [names = [], values = []] = [lines[at], lines[at + 1]]
    const group = names[0]?.replace(':', '') ?? ''
    for (const [index, name] of names.entries()) if (index > 0) table.set(`${group} ${name}`, Number(values[index]))
  }
  return table
}

/** What came on top since `before`. */
export function since(before: TcpCounters, now: TcpCounters): TcpCounters {
  return {
    received: now.received - before.received,
    retransmitted: now.retransmitted - before.retransmitted,
    resets: now.resets - before.resets,
    outOfOrder: now.outOfOrder - before.outOfOrder,
  }
}
