/** What hosts do: ping, and send text or bytes over TCP. */
import { join } from 'node:path'
import { LabError } from './error.ts'
import type { Lab } from './lab.ts'
import type { LabProcess } from './process.ts'
import { addressFor, findNode } from './topology.ts'
import { until } from './until.ts'

/** @returns how many of the echo requests were answered; errors that routers report count as not answered */
export async function ping(lab: Lab, from: string, to: string, family: 4 | 6, count = 3): Promise<number> {
  const argv = ['ping', `-${family}`, '-n', '-c', String(count), '-i', '0.2', '-W', '1', hostAddress(lab, to, family)]
  const { stdout, stderr } = await lab.exec(from, argv)
  const received = /(\d+) received/.exec(stdout)?.[1]
  if (received === undefined)
    throw new LabError('command', `ping from ${from} to ${to}: ${stderr.trim() || stdout.trim()}`)
  return Number(received)
}

export function hostAddress(lab: Lab, host: string, family: 4 | 6): string {
  const node = findNode(lab.topology, host)
  if (node.kind !== 'host' && node.kind !== 'server') throw new LabError('input', `${host} is no host`)
  return addressFor(node, family)
}

export interface Transfer {
  readonly from: string
  /** a host, or a node with the address to use */
  readonly to: string | { readonly node: string; readonly address: string }
  readonly family: 4 | 6
  readonly port: number
  /** Shell command whose standard output is sent. */
  readonly source: string
  /** Of the sender's packets, as nc -T names it; default none. */
  readonly dscp?: string
}

/** Shell: some random bytes every 50 ms, until the file is there. */
export function pacedSource(bytesPerSecond: number, endFile: string): string {
  return `while [ ! -e ${endFile} ]; do head -c ${Math.ceil(bytesPerSecond / 20)} /dev/urandom; sleep 0.05; done`
}

/** A TCP transfer under way; both ends hash what passes. */
export class TcpTransfer {
  readonly #sender: LabProcess
  readonly #receiver: LabProcess

  static async start(lab: Lab, { from, family, port, source, dscp, ...rest }: Transfer): Promise<TcpTransfer> {
    const { node: to, address } =
      typeof rest.to === 'string' ? { node: rest.to, address: hostAddress(lab, rest.to, family) } : rest.to
    const name = `${from}-${to}-${port}-${Date.now()}`
    const receiver = await lab.start(to, {
      name: `tcp-receive-${name}`,
      argv: ['sh', '-c', `nc -${family} -l ${port} | sha256sum`],
    })
    await until('the TCP receiver listens', 20_000, async () =>
      (await lab.run(to, ['ss', '-Hltn', `sport = :${port}`])).includes('LISTEN'),
    )
    // tee into a named pipe: dash has no process substitution, and the hash must be of what was sent.
    const pipe = join(lab.machine.local, `pipe-${name}`)
    const send = `mkfifo ${pipe}; sha256sum <${pipe} & { ${source}; } | tee ${pipe} | nc ${dscp === undefined ? '' : `-T ${dscp} `}-${family} -N ${address} ${port}; wait; rm ${pipe}`
    const sender = await lab.start(from, { name: `tcp-send-${name}`, argv: ['sh', '-c', send] })
    return new TcpTransfer(sender, receiver)
  }

  private constructor(sender: LabProcess, receiver: LabProcess) {
    this.#sender = sender
    this.#receiver = receiver
  }

  /** Waits for both ends. @throws LabError `deadline`; `claim` when what came is not what was sent */
  async finish(deadlineMs: number): Promise<void> {
    const hashes: string[] = []
    // Each ends with its hash, which is read here on the host: that takes no time from an emulated machine.
    for (const process of [this.#sender, this.#receiver])
      hashes.push(
        await until(`${process.name} ends`, deadlineMs, async () => /[0-9a-f]{64}/.exec(process.output())?.[0]),
      )
    if (hashes[0] !== hashes[1])
      throw new LabError('claim', `the TCP transfer was damaged: ${this.#sender.tail()} and ${this.#receiver.tail()}`)
  }
}
