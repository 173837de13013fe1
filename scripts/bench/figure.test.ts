import { describe, expect, it } from 'vitest'
import { exactly, judge, ratioAtLeast, ratioAtMost, timesFaster, valueAtLeast, valueAtMost } from './figure.ts'
import { printLine } from './print.ts'
import { sample } from './sample.ts'

const peer = (value: number) => ({ name: 'LPM_TRIE', value })

describe('judge', () => {
  it.each([
    ['a value up to its limit', { value: 30, bar: valueAtMost(30) }, true],
    ['a value above its limit', { value: 30.1, bar: valueAtMost(30) }, false],
    ['a rate that is high enough', { value: 1000, bar: valueAtLeast(1000) }, true],
    ['a rate that is too low', { value: 999, bar: valueAtLeast(1000) }, false],
    ['a count that is right', { value: 376, bar: exactly(376) }, true],
    ['a count that is too high', { value: 377, bar: exactly(376) }, false],
    ['at most twice the peer', { value: 126, peer: peer(63), bar: ratioAtMost(2) }, true],
    ['more than twice the peer', { value: 127, peer: peer(63), bar: ratioAtMost(2) }, false],
    ['nearly the peer', { value: 95, peer: peer(100), bar: ratioAtLeast(0.95) }, true],
    ['not nearly the peer', { value: 94, peer: peer(100), bar: ratioAtLeast(0.95) }, false],
    ['50 times as fast', { value: 20, peer: peer(1000), bar: timesFaster(50) }, true],
    ['49 times as fast', { value: 20, peer: peer(980), bar: timesFaster(50) }, false],
    ['a ratio without a peer', { value: 1, bar: ratioAtMost(2) }, false],
    ['a peer that did nothing', { value: 1, peer: peer(0), bar: ratioAtLeast(2) }, false],
    ['no bar', { value: 1 }, null],
  ] as const)('%s', (_, measured, ok) => {
    expect(judge('fib', { name: 'x', unit: 'ns', ...measured }).ok).toBe(ok)
  })

  it('judges what was measured, not what is printed of it', () => {
    expect(judge('tag', { name: 'send', unit: 'ns', value: 30.0000001, bar: valueAtMost(30) })).toMatchObject({
      value: 30,
      ok: false,
    })
  })

  it('makes a line of nine keys that are always there', () => {
    expect(judge('floor', { name: 'empty program', unit: 'ns', value: 15 })).toEqual({
      suite: 'floor',
      name: 'empty program',
      value: 15,
      unit: 'ns',
      peer: null,
      peerValue: null,
      ratio: null,
      bar: null,
      ok: null,
    })
  })

  it('adds the extremes, and what ratio and bar mean', () => {
    const figure = judge('fib', {
      name: 'real table, pipelined',
      unit: 'ns',
      value: sample([20, 18, 23]),
      peer: { name: 'LPM_TRIE', value: sample([1200, 1000, 1100]) },
      bar: timesFaster(50),
    })
    expect(JSON.parse(JSON.stringify(figure))).toEqual({
      suite: 'fib',
      name: 'real table, pipelined',
      value: 20,
      unit: 'ns',
      peer: 'LPM_TRIE',
      peerValue: 1100,
      ratio: 55,
      bar: 50,
      ok: true,
      barOn: 'ratio',
      barIs: 'at-least',
      ratioIs: 'peer/value',
      min: 18,
      max: 23,
      peerMin: 1000,
      peerMax: 1200,
    })
    expect(printLine(figure)).toMatch(/^real table.* 20 ns +18-23 +LPM_TRIE +1,100 ns +55x as fast +>= 50x +ok$/)
  })
})
