import { expect, test } from 'vitest'
import { type Peer, peerCodec } from '../../schema/abi.gen.ts'
import { affectsRoutes, type Resource } from './resource.ts'

const zero = peerCodec.decode(new Uint8Array(peerCodec.size))
const peer = (change: Partial<Peer>): Resource => ({
  kind: 'peer',
  index: 1,
  value: { ...zero, sid: 0x100, pathMask: 3, policyVersion: 1, ...change },
})

test.each<[string, Partial<Peer>, boolean]>([
  ['its session', { sid: 0x200 }, false],
  ['its best path', { pathBest: 1 }, false],
  ['some of its paths', { pathMask: 1 }, false],
  ['all of its paths', { pathMask: 0 }, true],
  ['its policy', { policyVersion: 2 }, true],
])('flows of a peer that changes %s are looked up again: %s', (_name, change, again) => {
  expect(affectsRoutes(peer(change), peer({}))).toBe(again)
})

test('flows are looked up again when a peer comes, and when any route does', () => {
  expect(affectsRoutes(peer({}))).toBe(true)
  const route: Resource = { kind: 'fib', vrf: 1, address: '10.0.0.0', prefixLength: 8, nexthop: 1 }
  expect(affectsRoutes(route, { ...route, nexthop: 2 })).toBe(true)
})
