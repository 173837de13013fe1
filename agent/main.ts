/** The agent's process: wiring only. `branchline agent run` calls `runAgent` with the parsed configuration. */
import { pino } from 'pino'
import { Agent } from './agent.ts'
import { listen } from './api.ts'
import type { AgentConfig } from './config.ts'
import { IntentClient } from './intent/client.ts'
import { openLinuxKernel } from './kernel/linux.ts'
import { linuxNet } from './mp/net.ts'
import { every } from './node/periodic.ts'
import { version } from './version.ts'

const REPORT_MS = 30_000

/** Resolves when the agent was asked to end (SIGTERM, SIGINT). Rejects with an Error in one line when it cannot start. */
export async function runAgent(config: AgentConfig): Promise<void> {
  const log = pino({ level: config.logLevel }, pino.destination({ dest: 2, sync: true }))
  const intent = new IntentClient({ directory: config.stateDir, log, url: config.orchestrator?.url })
  const kernel = openLinuxKernel()
  const agent = await Agent.start({
    config,
    staticKey: intent.staticKey,
    state: intent.state,
    kernel,
    net: linuxNet,
    log,
    onEvent: event => intent.event(event),
    orchestrator: () => ({ url: intent.url, connected: intent.connected, revision: intent.state.revision }),
  })
  const server = await listen(config.socket, agent)
  intent.on('state', state => {
    agent
      .stateChanged(state)
      .catch(error => log.error({ err: error }, `state ${state.revision} not used: ${error.message}`))
  })
  const report = every(REPORT_MS, () => tell(), log)
  const tell = () => {
    const { kernel: release, esp } = agent.nodeStatus()
    const { revision } = intent.state
    intent.report({ revision, version: version(), kernel: release, esp, peers: agent.peerStates() })
  }
  intent.start()
  tell()
  log.info({ node: intent.name, role: intent.state.role, adoption: agent.nodeStatus().adoption }, 'agent runs')

  await new Promise<void>(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve())
  })
  report.stop()
  agent.close()
  await server.close()
  await intent.close()
  kernel.close()
}
