import { expect, it } from 'vitest'
import { flowCodec, flowState } from '../../schema/abi.gen.ts'
import { flowEntry, newFlowConfig } from './flow-table.ts'

it('makes secrets of its own, for a table and a kernel of any size', () => {
  const [a, b] = [newFlowConfig(64, 4_000_000), newFlowConfig(2 ** 20, 1_000_000)]
  expect([a.lineMask, b.lineMask]).toEqual([63, 2 ** 20 - 1])
  const keys = [...a.lineKey, ...a.digestKey, ...b.lineKey, ...b.digestKey]
  expect(new Set(keys).size).toBe(12)
  for (const { lineKey } of [a, b]) expect(lineKey.slice(2).map(key => key & 1n)).toEqual([1n, 1n])
})

it.each([
  [1000, 1_000_000, 10],
  [300, 3_333_333, 8],
  [250, 4_000_000, 8],
  [100, 10_000_000, 7],
])('counts in ticks of about a second at %i Hz', (_, jiffyNs, tickShift) => {
  expect(newFlowConfig(2, jiffyNs).tickShift).toBe(tickShift)
})

it.each([0, 1, 3, 100])('refuses a table of %i lines', lines => {
  expect(() => newFlowConfig(lines, 4_000_000)).toThrow('not a power of two')
})

it('reads an IPv4 tuple out of an id, and none out of a digest', () => {
  const zero = flowCodec.decode(new Uint8Array(flowCodec.size))
  const { idLow: _low, idHigh: _high, ...rest } = zero
  // 10.1.2.3:443 -> 192.0.2.255:65534, TCP, VRF 0xabcdef; as the processor reads network order.
  const idLow = 0x0302010a_ff0200c0n
  const idHigh = 0x06abcdef_bb01feffn
  expect(flowEntry(5, { ...zero, idLow, idHigh, state: flowState.FLOW_CONNECTED })).toEqual({
    ...rest,
    slot: 5,
    vrf: 0xabcdef,
    state: flowState.FLOW_CONNECTED,
    tuple: {
      proto: 6,
      source: '10.1.2.3',
      destination: '192.0.2.255',
      sourcePort: 443,
      destinationPort: 65534,
    },
  })
  expect(flowEntry(5, { ...zero, idLow, idHigh: idHigh | (0xffn << 56n) })).toMatchObject({
    vrf: 0xabcdef,
    tuple: undefined,
  })
})
