/**
 * A function by itself, without a gateway:
 *
 *   client eth0 --- in0 [function] out0 --- eth0 server
 *   10.1.0.10                               198.18.0.80
 *   2001:db8:a:1::10                        2001:db8:80::80
 *
 * Client and server stand for the gateway: each sends all that it has to the MAC of the function's arm, as an adapter does.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { REPO } from '../../../scripts/guest/rundir.ts'
import { until } from '../../../scripts/lab/until.ts'

const execute = promisify(execFile)

export const CLIENT = { 4: '10.1.0.10', 6: '2001:db8:a:1::10' } as const
export const SERVER = { 4: '198.18.0.80', 6: '2001:db8:80::80' } as const
export const FUNCTIONS = join(REPO, 'vagrant/functions')

const READY_MS = 60_000
const MAC = {
  client: '02:00:00:00:00:01',
  in0: '02:00:00:00:00:02',
  out0: '02:00:00:00:00:03',
  server: '02:00:00:00:00:04',
}

type Place = 'client' | 'function' | 'server'

export class FunctionBench {
  /** removed at the end */
  readonly folder = mkdtempSync(join(tmpdir(), 'branchline-function-'))
  readonly #prefix = `bl-fn-${process.pid}`
  readonly #children: ChildProcess[] = []
  #log = ''
  #function: ChildProcess | undefined

  /** The wires alone. */
  static async wire(): Promise<FunctionBench> {
    const bench = new FunctionBench()
    const [client, fn, server] = (['client', 'function', 'server'] as const).map(place => bench.#namespace(place))
    const end = (ns: string | undefined, address: string, near: string, far: string) => `
      ip -n ${ns} link set lo up
      ip -n ${ns} link set eth0 address ${near} up
      ip -n ${ns} addr add ${address.split(' ')[0]}/32 dev eth0
      ip -n ${ns} addr add ${address.split(' ')[1]}/128 dev eth0 nodad
      for hop in 169.254.0.1 fe80::1; do
        ip -n ${ns} neigh add $hop lladdr ${far} dev eth0 nud permanent
        ip -n ${ns} route add default via $hop dev eth0 onlink
      done`
    const wired = bench.#sh(`
      for name in ${client} ${fn} ${server}; do ip netns add $name; done
      ip link add eth0 netns ${client} type veth peer name in0 netns ${fn}
      ip link add eth0 netns ${server} type veth peer name out0 netns ${fn}
      ${end(client, `${CLIENT[4]} ${CLIENT[6]}`, MAC.client, MAC.in0)}
      ${end(server, `${SERVER[4]} ${SERVER[6]}`, MAC.server, MAC.out0)}
      ip -n ${fn} link set lo up
      ip -n ${fn} link set in0 address ${MAC.in0} up
      ip -n ${fn} link set out0 address ${MAC.out0} up
      ip netns exec ${fn} ${join(FUNCTIONS, 'plumb')} in0 out0 ${MAC.client} ${MAC.server}`)
    return wired.then(
      () => bench,
      async error => {
        await bench.close()
        throw error
      },
    )
  }

  /** Resolves when it says that packets pass. @throws with what it says when it ends instead */
  async run(name: string, env: Readonly<Record<string, string>> = {}): Promise<void> {
    const child = this.start('function', [join(FUNCTIONS, name, 'run')], {
      BRANCHLINE_INSTANCE: `${name}-1`,
      BRANCHLINE_DIR: this.folder,
      ...env,
    })
    this.#function = child
    const ready = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${name} is not ready: ${this.#log}`)), READY_MS)
      const settle = (then: () => void) => {
        clearTimeout(timer)
        then()
      }
      child.stdout?.on('data', (chunk: Buffer) => {
        if (/^ready$/m.test(chunk.toString())) settle(resolve)
      })
      child.once('exit', code => settle(() => reject(new Error(`${name} ended with ${code}: ${this.#log}`))))
    })
    await ready
  }

  /** SIGTERM. @returns its exit code */
  async end(): Promise<number | null> {
    const child = this.#function
    if (!child) throw new Error('no function runs')
    if (child.exitCode === null) {
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    return child.exitCode
  }

  get log(): string {
    return this.#log
  }

  /** Standard output; an exit code other than 0 is thrown. */
  async exec(place: Place, argv: readonly string[]): Promise<string> {
    const { stdout } = await execute('ip', ['netns', 'exec', this.#namespace(place), ...argv], { maxBuffer: 1 << 26 })
    return stdout
  }

  start(place: Place, argv: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    const child = spawn('nsenter', [`--net=/run/netns/${this.#namespace(place)}`, '--', ...argv], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    })
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        this.#log += chunk.toString()
      })
    this.#children.push(child)
    return child
  }

  /** Waits until somebody listens on the TCP port. */
  async listens(place: Place, port: number): Promise<void> {
    await until(`somebody listens on ${port}`, 20_000, async () =>
      (await this.exec(place, ['ss', '-Hltn', `sport = :${port}`])).includes('LISTEN'),
    )
  }

  async processes(place: Place): Promise<number[]> {
    const { stdout } = await execute('ip', ['netns', 'pids', this.#namespace(place)])
    return stdout.split('\n').filter(Boolean).map(Number)
  }

  async close(): Promise<void> {
    if (this.#function) await this.end()
    for (const child of this.#children)
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
    for (const place of ['client', 'function', 'server'] as const) {
      if (!existsSync(`/run/netns/${this.#namespace(place)}`)) continue
      // What a function left behind; a test of its own asks that there is none.
      for (const pid of await this.processes(place)) process.kill(pid, 'SIGKILL')
      await execute('ip', ['netns', 'delete', this.#namespace(place)])
    }
    rmSync(this.folder, { recursive: true, force: true })
  }

  #namespace(place: Place): string {
    return `${this.#prefix}-${place}`
  }

  async #sh(script: string): Promise<void> {
    await execute('sh', ['-ec', script])
  }
}
