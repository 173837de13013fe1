/** The lab's orchestrator: a process of this host on its loopback, and a connection to it as admin. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createTRPCClient, createWSClient, type TRPCClient, wsLink } from '@trpc/client'
import { z } from 'zod'
import { socketClass } from '../../agent/intent/socket.ts'
import type { AppRouter } from '../../orchestrator/api/router.ts'
import { initDataDirectory } from '../../orchestrator/pki/data-directory.ts'
import { type AdminFile, adminFileSchema } from '../../schema/admin-file.ts'
import { freePort } from '../guest/qemu.ts'
import { LabError } from './error.ts'
import { LabProcess, type Signal } from './process.ts'
import type { Site } from './site.ts'
import { until } from './until.ts'

const PROCESS = 'orchestrator'
const START_DEADLINE_MS = 60_000
const readySchema = z.object({ ready: z.literal(true), url: z.string() })

export type Admin = TRPCClient<AppRouter>['admin']

export class Orchestrator {
  readonly dataDir: string
  readonly port: number
  readonly #site: Site
  readonly #program: readonly string[]
  #connection: { admin: Admin; close: () => Promise<void> } | undefined

  /** Makes an orchestrator with a CA of its own and starts it. @throws LabError */
  static async create(site: Site, program: readonly string[]): Promise<Orchestrator> {
    const port = await freePort()
    const orchestrator = new Orchestrator(site, program, port)
    await initDataDirectory(orchestrator.dataDir, ['orchestrator', '127.0.0.1'], `wss://127.0.0.1:${port}`)
    await orchestrator.start()
    return orchestrator
  }

  private constructor(site: Site, program: readonly string[], port: number) {
    this.#site = site
    this.#program = program
    this.port = port
    this.dataDir = join(site.dir.path, 'orchestrator')
  }

  /** Also after `kill`: same port, same data. */
  async start(): Promise<void> {
    const argv = [
      ...this.#program,
      'orchestrator',
      'run',
      '--data-dir',
      this.dataDir,
      '--listen',
      `127.0.0.1:${this.port}`,
    ]
    const started = await LabProcess.start(this.#site.host, { name: PROCESS, argv })
    const before = started.output().split('\n').filter(isReady).length
    await until('the orchestrator is ready', START_DEADLINE_MS, async () => {
      if (started.output().split('\n').filter(isReady).length > before) return true
      if (await started.alive()) return false
      throw new LabError('process', `the orchestrator ended\n${started.tail()}`)
    })
  }

  async kill(signal: Signal): Promise<void> {
    await this.disconnect()
    await LabProcess.find(this.#site.host, PROCESS)?.end(signal)
  }

  /** One connection for all that the lab asks of the orchestrator: a command line costs a second each. */
  get admin(): Admin {
    this.#connection ??= connectAdmin(
      adminFileSchema.parse(JSON.parse(readFileSync(join(this.dataDir, 'admin.json'), 'utf8'))),
    )
    return this.#connection.admin
  }

  async disconnect(): Promise<void> {
    await this.#connection?.close()
    this.#connection = undefined
  }
}

function connectAdmin(file: AdminFile): { admin: Admin; close: () => Promise<void> } {
  const tls = { ca: file.ca, certificate: file.certificate, key: file.key }
  const socket = createWSClient({ url: file.url, WebSocket: socketClass({ tls: () => tls }) })
  return {
    admin: createTRPCClient<AppRouter>({ links: [wsLink({ client: socket })] }).admin,
    close: () => socket.close(),
  }
}

function isReady(line: string): boolean {
  try {
    return readySchema.safeParse(JSON.parse(line)).success
  } catch {
    return false
  }
}
