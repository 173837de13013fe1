import { expect, test } from 'vitest'
import type { Captured } from './pcap.ts'
import { tcpArrivals } from './tcp-arrivals.ts'

const PORT = 7400
const IPV6 = 0x86dd
const MSS = 1000

type Sent = { time?: number; sequence: number; sentMs: number; length?: number; port?: number }

/** An IPv6 packet of which the capture kept the headers. */
function packet({ time = 0, sequence, sentMs, length = MSS, port = PORT }: Sent): Captured {
  const bytes = Buffer.alloc(40 + 32)
  bytes.writeUInt8(0x60, 0)
  bytes.writeUInt16BE(32 + length, 4)
  bytes.writeUInt8(6, 6)
  bytes.writeUInt16BE(port, 42)
  bytes.writeUInt32BE(sequence >>> 0, 44)
  bytes.writeUInt8(8 << 4, 52)
  bytes.set([1, 1, 8, 10], 60)
  bytes.writeUInt32BE(sentMs >>> 0, 64)
  return { time, ethertype: IPV6, packet: bytes }
}

const order = (...sent: [place: number, sentMs: number][]) =>
  tcpArrivals(
    sent.map(([place, sentMs]) => packet({ sequence: place * MSS, sentMs })),
    PORT,
    0,
  ).outOfOrder

test.each<[string, [number, number][], number]>([
  [
    'as sent',
    [
      [0, 1],
      [1, 1],
      [2, 1],
      [3, 2],
    ],
    0,
  ],
  [
    'two turned round',
    [
      [0, 1],
      [2, 2],
      [1, 1],
      [3, 2],
    ],
    1,
  ],
  [
    'two of one millisecond',
    [
      [1, 1],
      [0, 1],
    ],
    1,
  ],
  [
    'one far behind',
    [
      [0, 1],
      [2, 2],
      [3, 2],
      [4, 3],
      [1, 1],
    ],
    1,
  ],
  [
    'lost and sent again',
    [
      [0, 1],
      [2, 2],
      [3, 2],
      [1, 50],
      [4, 50],
    ],
    0,
  ],
  [
    'sent again in the millisecond of what is new',
    [
      [0, 1],
      [2, 2],
      [3, 2],
      [4, 50],
      [1, 50],
    ],
    0,
  ],
  [
    'several sent again',
    [
      [0, 1],
      [3, 2],
      [1, 50],
      [2, 50],
    ],
    0,
  ],
  [
    'several sent again and turned round',
    [
      [0, 1],
      [3, 2],
      [2, 50],
      [1, 50],
    ],
    1,
  ],
  [
    'sent again for nothing',
    [
      [0, 1],
      [1, 1],
      [2, 2],
      [1, 50],
    ],
    0,
  ],
  [
    'over the end of both counters',
    [
      [-2, -1],
      [0, 1],
      [-1, 0],
      [1, 1],
    ],
    1,
  ],
])('%s', (_name, sent, outOfOrder) => {
  expect(order(...sent)).toBe(outOfOrder)
})

test('the rate is of new bytes, behind what is skipped', () => {
  const times = [0, 0.5, 1, 1.5, 2]
  const packets = times.map((time, index) => packet({ time, sequence: index * MSS, sentMs: time * 1000 }))
  const again = packet({ time: 2.5, sequence: 0, sentMs: 2500 })
  const other = packet({ time: 3, sequence: 9 * MSS, sentMs: 3000, port: 80 })
  const empty = packet({ time: 3, sequence: 9 * MSS, sentMs: 3000, length: 0 })
  const { mbps, ...rest } = tcpArrivals([...packets, again, other, empty], PORT, 1000)
  expect(mbps).toBeCloseTo((2 * MSS * 8) / 1.5 / 1e6)
  expect(rest).toEqual({ segments: 6, outOfOrder: 0, mss: MSS })
})
