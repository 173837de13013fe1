import { describe, expect, it } from 'vitest'
import { longestSilenceMs } from './silence.ts'
import { parseCounters } from './tcp-counters.ts'

const at = (...times: number[]) => times.map((arrivedMs, number) => ({ number, sentMs: arrivedMs - 5, arrivedMs }))

describe('the longest silence', () => {
  it.each([
    ['none of nothing', at(), 0],
    ['none of one packet', at(100), 0],
    ['none at an even pace', at(100, 110, 120), 0],
    ['what is beyond the pace', at(100, 110, 165, 175), 45],
    ['the longest of several', at(0, 30, 40, 90, 130), 40],
  ])('is %s', (_what, arrivals, expected) => {
    expect(longestSilenceMs(arrivals, 10)).toBe(expected)
  })
})

describe('counters of TCP', () => {
  it('have the name of their group and their own', () => {
    const table = parseCounters('Tcp: InSegs OutRsts\nTcp: 12 3\nTcpExt: TCPOFOQueue\nTcpExt: 4\n')
    expect([...table]).toEqual([
      ['Tcp InSegs', 12],
      ['Tcp OutRsts', 3],
      ['TcpExt TCPOFOQueue', 4],
    ])
  })
})
