/** Wires the orchestrator: data directory, database, grants, publisher, API. */
import type { Logger } from 'pino'
import { Registry } from 'prom-client'
import { LoopDelay } from '../agent/loop/delay.ts'
import { loopMetrics } from '../agent/loop/metrics.ts'
import { serve } from './api/server.ts'
import type { Services } from './api/trpc.ts'
import { openDataDirectory } from './pki/data-directory.ts'
import { Connections } from './publish/connections.ts'
import { Publisher } from './publish/publisher.ts'
import { adoptAuthority } from './store/authorities.ts'
import { openDatabase } from './store/database.ts'
import { Grants } from './store/grants.ts'
import { loadIntents } from './store/node-intent.ts'
import { Policies } from './store/policies.ts'
import { Store } from './store/store.ts'
import { Upkeep } from './upkeep.ts'

export interface OrchestratorOptions {
  dataDir: string
  host: string
  /** 0: the kernel chooses. */
  port: number
  /** PostgreSQL; without it PGlite in the data directory. */
  databaseUrl?: string | undefined
  /** Seconds; renewed at half of it. */
  grantLifetimeS?: number
  /** Seconds. */
  keyLifetimeS?: number
  log: Logger
  now?: () => Date
}

export interface Orchestrator {
  url: string
  /** The same from this machine: loopback when the server listens on every address. */
  dialUrl: string
  address: string
  port: number
  database: string
  close(): Promise<void>
}

const DAY_S = 86_400

export async function startOrchestrator(options: OrchestratorOptions): Promise<Orchestrator> {
  const { log } = options
  const data = await openDataDirectory(options.dataDir)
  const store = new Store(await openDatabase({ url: options.databaseUrl, directory: options.dataDir }), options.now)
  try {
    const grants = new Grants(data.grantKey, options.grantLifetimeS ?? DAY_S)
    const policies = new Policies(data.grantKey)
    const connections = new Connections()
    const publisher = new Publisher({
      load: nodes => store.snapshot(db => loadIntents(db, nodes)),
      onError: error => log.error({ err: error }, 'cannot load states; trying again'),
    })
    await store.work('orchestrator', async work => {
      await adoptAuthority(work, data.authority)
      await grants.anchor(work)
      await policies.renew(work)
    })
    await store.follow(change => {
      if (change.scope === 'shut-out') connections.shutOut(change.node, change.reason)
      publisher.notice(change)
    })
    const services: Services = {
      store,
      authority: data.authority,
      grants,
      policies,
      publisher,
      connections,
      keyLifetimeS: options.keyLifetimeS ?? 7 * DAY_S,
      log,
      loop: new LoopDelay(),
      metrics: new Registry(),
    }
    loopMetrics(services.metrics, services.loop)
    const upkeep = new Upkeep({ store, grants, log })
    // Grants that ran out while nobody was here are renewed before the first node asks.
    await upkeep.renewGrants()
    const server = await serve(services, {
      host: options.host,
      port: options.port,
      identity: await data.serverIdentity(),
    })
    upkeep.start((options.grantLifetimeS ?? DAY_S) * 1000, async () => server.setIdentity(await data.serverIdentity()))
    const url = (host: string) => `wss://${host.includes(':') ? `[${host}]` : host}:${server.port}`
    const wildcard = server.address === '0.0.0.0' || server.address === '::'
    return {
      url: url(server.address),
      dialUrl: url(wildcard ? 'localhost' : server.address),
      address: server.address,
      port: server.port,
      database: store.description,
      close: async () => {
        services.loop.close()
        await upkeep.stop()
        await server.close()
        await store.close()
      },
    }
  } catch (error) {
    await store.close()
    throw error
  }
}
