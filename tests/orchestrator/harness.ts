/** A real orchestrator in this process, admins and nodes that dial it, and a proxy that can be cut. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTRPCClient, createWSClient, type TRPCClient, wsLink } from '@trpc/client'
import { pino } from 'pino'
import { activate } from '../../agent/intent/activate.ts'
import { IntentClient } from '../../agent/intent/client.ts'
import { socketClass, type TlsMaterial } from '../../agent/intent/socket.ts'
import { silent } from '../../agent/log.ts'
import type { AppRouter } from '../../orchestrator/api/router.ts'
import { type Orchestrator, startOrchestrator } from '../../orchestrator/main.ts'
import { initDataDirectory } from '../../orchestrator/pki/data-directory.ts'
import { type AdminFile, adminFileSchema } from '../../schema/admin-file.ts'
import type { NodeState } from '../../schema/node-state.ts'

export type Client = TRPCClient<AppRouter>

export interface Dialled {
  trpc: Client
  /** Code and reason of the close frame, once there was one. */
  closed: Promise<{ code: number; reason: string }>
  close(): Promise<void>
}

export function dial(url: string, tls: TlsMaterial): Dialled {
  const closed = Promise.withResolvers<{ code: number; reason: string }>()
  const socket = createWSClient({
    url,
    WebSocket: socketClass({ tls: () => tls, onClose: (code, reason) => closed.resolve({ code, reason }) }),
    retryDelayMs: () => 200,
  })
  return {
    trpc: createTRPCClient<AppRouter>({ links: [wsLink({ client: socket })] }),
    closed: closed.promise,
    close: () => socket.close(),
  }
}

export interface BenchOptions {
  databaseUrl?: string
  grantLifetimeS?: number
}

async function freshData(directory: string): Promise<void> {
  await initDataDirectory(directory, ['127.0.0.1'], 'wss://127.0.0.1:1')
}

/** One orchestrator with its data directory; `restart` keeps directory and port. */
export class Bench {
  readonly directory: string
  readonly #options: BenchOptions
  readonly #clients: IntentClient[] = []
  readonly #dialled: Dialled[] = []
  #orchestrator: Orchestrator | undefined
  /** Added to the orchestrator's clock. */
  clockMs = 0

  private constructor(directory: string, options: BenchOptions) {
    this.directory = directory
    this.#options = options
  }

  /** @param prepare makes the data directory; a fresh one unless given */
  static async start(
    options: BenchOptions = {},
    prepare: (directory: string) => void | Promise<void> = freshData,
  ): Promise<Bench> {
    const bench = new Bench(mkdtempSync(join(tmpdir(), 'branchline-orch-')), options)
    try {
      await prepare(bench.data)
      await bench.up(0)
    } catch (error) {
      await bench.close()
      throw error
    }
    return bench
  }

  get data(): string {
    return join(this.directory, 'data')
  }

  get orchestrator(): Orchestrator {
    if (!this.#orchestrator) throw new Error('the orchestrator is down')
    return this.#orchestrator
  }

  get url(): string {
    return this.orchestrator.url
  }

  async up(port: number, change: BenchOptions = {}): Promise<void> {
    const { databaseUrl, grantLifetimeS } = { ...this.#options, ...change }
    this.#orchestrator = await startOrchestrator({
      dataDir: this.data,
      host: '127.0.0.1',
      port,
      databaseUrl,
      ...(grantLifetimeS !== undefined && { grantLifetimeS }),
      log: pino({ level: 'fatal' }),
      now: () => new Date(Date.now() + this.clockMs),
    })
  }

  async down(): Promise<number> {
    const { port } = this.orchestrator
    await this.#orchestrator?.close()
    this.#orchestrator = undefined
    return port
  }

  get adminFile(): AdminFile {
    return adminFileSchema.parse(JSON.parse(readFileSync(join(this.data, 'admin.json'), 'utf8')))
  }

  dial(tls: TlsMaterial, url = this.url): Dialled {
    const dialled = dial(url, tls)
    this.#dialled.push(dialled)
    return dialled
  }

  admin(): Client['admin'] {
    return this.dial(this.adminFile).trpc.admin
  }

  stateDir(name: string): string {
    return join(this.directory, name)
  }

  async activate(name: string, key: string): Promise<NodeState> {
    return (await activate({ url: this.url, key, directory: this.stateDir(name) })).state
  }

  /** Not started yet. */
  intent(name: string, url?: string): IntentClient {
    const client = new IntentClient({ directory: this.stateDir(name), log: silent, url })
    this.#clients.push(client)
    return client
  }

  /** Connected and current. */
  async connect(name: string, url?: string): Promise<IntentClient> {
    const client = this.intent(name, url)
    const connected = new Promise(resolve => client.once('connected', resolve))
    client.start()
    await connected
    return client
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map(client => client.close()))
    await Promise.all(this.#dialled.map(dialled => dialled.close()))
    await this.#orchestrator?.close()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** The next state of the node that fits, or the one that it has. */
export async function stateWhere(client: IntentClient, fits: (state: NodeState) => boolean): Promise<NodeState> {
  if (fits(client.state)) return client.state
  const found = Promise.withResolvers<NodeState>()
  const look = (state: NodeState) => {
    if (fits(state)) found.resolve(state)
  }
  client.on('state', look)
  return await found.promise.finally(() => client.off('state', look))
}

/** A TCP proxy in front of the orchestrator: `cut` breaks all connections and refuses new ones until `mend`. */
export async function startProxy(
  target: () => number,
): Promise<{ url: string; cut(): void; mend(): void; close(): void }> {
  const sockets = new Set<Socket>()
  let whole = true
  const server = createServer(near => {
    if (!whole) return near.destroy()
    const far = connect(target(), '127.0.0.1')
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.pipe(to)
      from.on('error', () => {})
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port')
  const cut = () => {
    whole = false
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `wss://127.0.0.1:${address.port}`,
    cut,
    mend: () => {
      whole = true
    },
    close: () => {
      cut()
      server.close()
    },
  }
}

export async function messageOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  )
}
