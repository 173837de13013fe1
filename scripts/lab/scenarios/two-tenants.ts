/**
 *   a1 10.1.0.10 --- branch-a ---+         +--- branch-b --- b1 10.2.0.10      acme
 *                                 ) gw1 (
 *   c1 10.1.0.10 --- branch-c ---+         +--- branch-d --- d1 10.2.0.10      globex
 *
 * Same addresses, same ports, all at once: only the tag in a packet tells whose it is.
 */
import { Flow } from '../flow.ts'
import type { Scenario } from '../scenario.ts'
import { PAIRS, switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { hostAddress } from '../traffic.ts'

const PACKETS = 10_000

export const twoTenants: Scenario = {
  name: 'two-tenants',
  about: 'two enterprises with identical subnets send 10,000 packets each way; none crosses over',
  enterprises: ['acme', 'globex'],
  async run(stage) {
    const { story, lab, count = PACKETS } = stage
    for (const enterprise of Object.keys(PAIRS)) await switchOn(stage, enterprise)
    // Eight journeys through one emulated CPU.
    const pps = lab.machine.kind === 'native' ? 2000 : 300
    await story.step(`${count} packets each way in both enterprises, at ${pps} a second each`, async () => {
      const flows = await Promise.all(
        Object.values(PAIRS).flatMap(([one, other]) =>
          [
            [one, other],
            [other, one],
          ].map(([from = '', to = '']) =>
            Flow.start(lab, {
              from,
              to,
              address: hostAddress(lab, to, 4),
              port: 7300,
              tag: `${from}-${to}`,
              pps,
              count,
            }),
          ),
        ),
      )
      for (const flow of flows) await flow.sent((count / pps) * 4000 + 30_000)
      const results = await Promise.all(flows.map(flow => flow.finish()))
      const sum = (field: 'received' | 'lost' | 'foreign') =>
        results.reduce((total, result) => total + result[field], 0)
      claim(
        results.every(result => result.received > 0),
        'one of the flows did not arrive at all',
      )
      story.note(`${sum('received')} of ${flows.length * count} packets arrived`)
      story.figure('crossings', sum('foreign'), 'packets', 0)
      story.figure('lost', sum('lost'), 'packets', null)
    })
  },
}
