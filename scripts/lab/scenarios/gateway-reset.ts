/**
 *   a1 ==TCP==> branch-a === gw1 (loses everything) === branch-b --- b1
 *
 * A gateway is configured by its edges alone, so it can be rebuilt from nothing.
 */
import { Probe } from '../probe.ts'
import type { Scenario } from '../scenario.ts'
import { reboot, switchOn } from '../steps.ts'
import { hostAddress, TcpTransfer } from '../traffic.ts'

const BACK_BAR_MS = 3000
/** 300 chunks of 20 kB, 50 ms apart: longer than the outage. */
const SOURCE = 'for i in $(seq 300); do head -c 20000 /dev/urandom; sleep 0.05; done'

export const gatewayReset: Scenario = {
  name: 'gateway-reset',
  about: 'a gateway loses all kernel and process state and is rebuilt by its edges; a TCP transfer survives',
  enterprises: ['acme'],
  async run(stage) {
    const { story, lab, system } = stage
    const gateway = system.agent('gw1')
    await switchOn(stage, 'acme')
    const probe = await Probe.start(lab, { from: 'a1', to: 'b1', address: hostAddress(lab, 'b1', 4) })
    await probe.becomes('answered', 10_000)
    const transfer = await TcpTransfer.start(lab, { from: 'a1', to: 'b1', family: 4, port: 7400, source: SOURCE })
    await story.step('gw1: process, pins, devices and SAs are gone', async () => {
      await reboot(stage, gateway)
      await probe.becomes('silent', 10_000)
    })
    await story.step('gw1 starts again; nobody touches orchestrator or edges', async () => {
      const begin = performance.now()
      await gateway.start()
      const answering = performance.now()
      const back = await probe.becomes('answered', 60_000)
      const { adoption } = await gateway.status()
      story.note(`its dataplane was ${adoption}`)
      // A Node start in the emulated guest takes longer than the bar.
      const native = lab.machine.kind === 'native'
      story.figure('process-start-to-service', Math.round(back - begin), 'ms', native ? BACK_BAR_MS : null)
      story.figure('agent-answers-to-service', Math.max(0, Math.round(back - answering)), 'ms', BACK_BAR_MS)
    })
    await story.step('the TCP transfer ends with the right hash', () => transfer.finish(120_000))
    await probe.stop()
  },
}
