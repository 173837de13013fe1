/**
 * Topology: an edge, or a gateway, alone on its machine. Whatever fails while its agent starts, nothing stays open: an agent that said why it cannot
 * start has to end, and the next one needs its ports.
 */
import { afterEach, expect, test, vi } from 'vitest'
import { Agent } from '../../agent/agent.ts'
import { KernelError } from '../../agent/kernel/error.ts'
import type { Network } from '../../agent/kernel/port.ts'
import { ROUTE_PORT } from '../../schema/route-messages.ts'
import { Anchor } from '../identities.ts'
import { Simulation, type Station } from './branches.ts'

const CALLS = [
  'links',
  'createLink',
  'setLink',
  'setFeatures',
  'addresses',
  'addAddress',
  'routes',
  'replaceRoute',
  'rules',
  'addRule',
  'neighbours',
  'replaceNeighbour',
] as const satisfies (keyof Network)[]

type Kind = 'gateway' | 'edge'

let simulation: Simulation

afterEach(async () => {
  vi.restoreAllMocks()
  await simulation[Symbol.asyncDispose]()
})

function machine(kind: Kind): Promise<Station> {
  const anchor = new Anchor()
  simulation = new Simulation()
  if (kind === 'gateway')
    return simulation.add({ name: kind, node: anchor.gateway('gw', '100.64.0.0/24'), wan: '192.0.2.1' })
  const node = anchor.edge('a', anchor.enterprise('acme', 'esp'), [{ prefix: '10.1.0.0/16', reachable: true }], [])
  return simulation.add({ name: kind, node, wan: '192.0.2.11', lan: '10.1.0.1/24' })
}

/** The `nth` call of the kernel's network fails. Returns whether there was one. */
function failAt(station: Station, nth: number): () => boolean {
  let calls = 0
  const { network } = station.kernel
  for (const name of CALLS) {
    const call = network[name].bind(network) as (...args: unknown[]) => Promise<never>
    vi.spyOn(network, name).mockImplementation((...args: unknown[]) => {
      calls += 1
      return calls === nth ? Promise.reject(new KernelError(name, 'network', 'EIO')) : call(...args)
    })
  }
  return () => calls >= nth
}

test.each<Kind>(['gateway', 'edge'])('%s: each call of the kernel fails once', async kind => {
  let failures = 0
  for (let nth = 1; ; nth++) {
    const station = await machine(kind)
    const failed = failAt(station, nth)
    const error = await station.start().catch((reason: unknown) => reason)
    vi.restoreAllMocks()
    if (!failed()) break
    // What the reconciler could not do is logged and tried again; it keeps nobody from starting.
    if (!(error instanceof Agent)) {
      failures += 1
      expect(error, `call ${nth}`).toMatchObject({ code: 'EIO' })
      expect(simulation.world.open(kind), `call ${nth}`).toEqual([])
    }
    await simulation[Symbol.asyncDispose]()
  }
  expect(failures).toBeGreaterThan(5)
})

test('a gateway whose port of the route session is taken', async () => {
  const gateway = await machine('gateway')
  const squatter = await gateway.net.listen({ address: '100.64.0.1', port: ROUTE_PORT }, () => {})
  await expect(gateway.start()).rejects.toMatchObject({ code: 'EADDRINUSE' })
  expect(simulation.world.open('gateway')).toEqual([`100.64.0.1 ${ROUTE_PORT}`])
  squatter.close()
  await gateway.start()
})
