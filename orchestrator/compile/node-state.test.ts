import { expect, test } from 'vitest'
import { nodeStateSchema } from '../../schema/node-state.ts'
import { compileNodeState, type NodeIntent } from './node-state.ts'

const id = (digit: number) => `0000000${digit}-0000-4000-8000-000000000000`
const gateway = {
  node: id(9),
  name: 'gw1',
  staticKey: Buffer.alloc(32).toString('base64'),
  endpoints: [{ address: '192.0.2.1', port: 2426 }],
  adminMetric: 100,
  location: null,
  drained: false,
}
const edge: NodeIntent = {
  node: { id: id(1), name: 'edge-a', role: 'edge', revision: 7, location: null },
  grant: 'Z3JhbnQ=',
  enterprise: { id: id(2), name: 'acme', security: 'esp', vpnEnabled: true },
  subnets: [
    { prefix: '10.1.0.0/24', enabled: true, gateways: [id(9)] },
    { prefix: '10.2.0.0/24', enabled: false, gateways: null },
  ],
  gateways: [gateway],
  policy: 'cG9saWN5',
  trust: { anchors: ['YW5jaG9y'], revocations: null },
}
const flags = (intent: NodeIntent) => compileNodeState(intent).vpn?.subnets.map(subnet => subnet.reachable)

test('a subnet is reachable while the VPN is on and the subnet is in it', () => {
  const off = { ...edge, enterprise: { id: id(2), name: 'acme', security: 'esp', vpnEnabled: false } } as const
  expect(flags(edge)).toEqual([true, false])
  expect(flags(off)).toEqual([false, false])
  expect(compileNodeState(off).grant).toBe(compileNodeState(edge).grant)
})

test('a gateway gets identity and trust and nothing of tenants, whatever the intent holds', () => {
  const state = compileNodeState({ ...edge, node: { ...edge.node, role: 'gateway' } })
  expect(state).toEqual({
    revision: 7,
    node: id(1),
    name: 'edge-a',
    role: 'gateway',
    grant: 'Z3JhbnQ=',
    trust: { anchors: ['YW5jaG9y'], revocations: null },
    gateways: [],
    policy: null,
    vpn: null,
  })
})

test('a subnet names the gateways that may hear of it, or none for all', () => {
  expect(compileNodeState(edge).vpn?.subnets.map(subnet => subnet.gateways)).toEqual([[id(9)], undefined])
})

test('is what nodes accept, and the same for the same intent', () => {
  expect(nodeStateSchema.parse(compileNodeState(edge))).toEqual(compileNodeState(edge))
  expect(JSON.stringify(compileNodeState(structuredClone(edge)))).toBe(JSON.stringify(compileNodeState(edge)))
})
