/** Resident memory of the processes with the VPN in use. */
import type { Scenario } from '../scenario.ts'
import { switchOn } from '../steps.ts'
import { TcpTransfer } from '../traffic.ts'

const AGENT_BAR_MB = 120
const ORCHESTRATOR_BAR_MB = 700

export const memory: Scenario = {
  name: 'memory',
  about: 'memory of agents and orchestrator with both enterprises connected',
  enterprises: ['acme', 'globex'],
  async run(stage) {
    const { story, lab, system } = stage
    await switchOn(stage, 'acme')
    await switchOn(stage, 'globex')
    await story.step('some traffic', async () => {
      const source = 'head -c 5000000 /dev/urandom'
      const transfer = await TcpTransfer.start(lab, { from: 'a1', to: 'b1', family: 4, port: 7700, source })
      await transfer.finish(120_000)
    })
    await story.step('what the processes hold', async () => {
      const sizes = await Promise.all(system.agents.map(async agent => (await agent.status()).memoryBytes))
      story.note(system.agents.map((agent, index) => `${agent.name} ${megabytes(sizes[index] ?? 0)} MB`).join(', '))
      story.figure('largest-agent', megabytes(Math.max(...sizes)), 'MB', AGENT_BAR_MB)
      const { memoryBytes } = await system.orchestrator.admin.status.query()
      story.figure('orchestrator', megabytes(memoryBytes), 'MB', ORCHESTRATOR_BAR_MB)
    })
  },
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e6)
}
