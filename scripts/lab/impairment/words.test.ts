import { describe, expect, it } from 'vitest'
import { netemWords } from './netem.ts'
import { bucketOf, parseProfile } from './profile.ts'
import { directionsOfWord, type ImpairWords, profileOfWords } from './words.ts'

describe('words', () => {
  it.each<[ImpairWords, object]>([
    [
      { delay: '20ms', jitter: '500us' },
      { delayMs: 20, jitterMs: 0.5 },
    ],
    [{ delay: '1.5s' }, { delayMs: 1500 }],
    [
      { loss: '1%', burst: '3' },
      { loss: 0.01, burst: 3 },
    ],
    [{ loss: '0.3%' }, { loss: 0.003 }],
    [
      { rate: '10mbit', queue: '64kb' },
      { rate: 10_000_000, queueBytes: 65_536 },
    ],
    [
      { rate: '0.3mbit', queue: '50ms' },
      { rate: 300_000, queueMs: 50 },
    ],
    [
      { rate: '1gbit', queue: '3000b' },
      { rate: 1_000_000_000, queueBytes: 3000 },
    ],
    [
      { delay: '20ms', reorder: '5%', 'reorder-by': '10ms' },
      { delayMs: 20, reorder: 0.05, reorderByMs: 10 },
    ],
    [
      { blackhole: true, 'larger-than': '1300' },
      { blackhole: true, only: { largerThan: 1300 } },
    ],
    [
      { loss: '100%', match: '0:0x0f=0x01' },
      { loss: 1, only: { match: { offset: 0, bytes: 1, mask: 15, value: 1 } } },
    ],
    [{ clear: true }, {}],
  ])('%j', (words, profile) => {
    expect(profileOfWords(words)).toEqual(profile)
  })

  it('that change nothing make no profile', () => {
    expect(profileOfWords({})).toBeUndefined()
  })

  it.each<[ImpairWords, string]>([
    [{ delay: '20' }, '--delay 20: write it like 20ms'],
    [{ loss: '0.01' }, '--loss 0.01: write it like 1%'],
    [{ loss: '101%' }, 'loss: must be a share from 0 to 1'],
    [{ rate: '10mb' }, '--rate 10mb: write it like 10mbit'],
    [{ rate: '1mbit', queue: '5' }, '--queue 5: write it like 50ms or 64kb'],
    [{ match: '0=1' }, '--match 0=1: write it like 0:0x0f=0x01'],
    [{ loss: '1%', match: '0:0x0f=0x11' }, 'only.match: has bits in value that mask leaves out: it never matches'],
    [{ clear: true, loss: '1%' }, '--clear excludes every impairment'],
    [{ jitter: '5ms' }, 'jitterMs: 5 ms of jitter need a delay of 5 ms at least'],
    [{ reorder: '5%' }, 'reorder: needs a delay'],
    [{ delay: '5ms', reorder: '5%', 'reorder-by': '6ms' }, 'reorderByMs: needs a delay of 6 ms at least'],
    [{ burst: '3' }, 'burst: needs loss, the share of packets'],
    [{ loss: '1%', burst: '2.5', 'even-bursts': true }, 'evenBursts: needs burst, a whole number'],
    [{ loss: '80%', burst: '3' }, 'burst: bursts of 3 lose 75.0 % at most'],
    [{ queue: '50ms' }, 'queueMs: needs rate'],
  ])('%j is refused', (words, message) => {
    expect(() => profileOfWords(words)).toThrow(message)
  })

  it('name directions', () => {
    expect(directionsOfWord(undefined)).toEqual(['out', 'in'])
    expect(directionsOfWord('in')).toEqual(['in'])
    expect(() => directionsOfWord('up')).toThrow('--direction up: out, in or both')
  })
})

describe('a profile', () => {
  it('names what it does not know', () => {
    expect(() => parseProfile({ latency: 3 })).toThrow(/impairment: .*"latency"/)
  })

  it('makes the same token bucket for both ways', () => {
    expect(bucketOf(parseProfile({ rate: 80_000_000, queueBytes: 100_000 }), 1500)).toEqual({
      rate: 80_000_000,
      bytes: 20_000,
      queueMs: 10,
    })
    // Never less than a frame.
    expect(bucketOf(parseProfile({ rate: 1_000_000 }), 1500)).toEqual({ rate: 1_000_000, bytes: 1600, queueMs: 50 })
    expect(bucketOf({}, 1500)).toBeUndefined()
  })
})

describe("netem's words", () => {
  it.each([
    [{}, 'limit 100000 corrupt 0.000000%'],
    [{ delayMs: 20 }, 'limit 100000 delay 20000us 0us corrupt 0.000000%'],
    [{ blackhole: true, loss: 0.1 }, 'limit 100000 loss 100% corrupt 0.000000%'],
    // Into the bad state 1/3 * 0.1 / 0.9, out of it 1/3.
    [{ loss: 0.1, burst: 3 }, 'limit 100000 loss gemodel 3.703704% 33.333333% corrupt 0.000000%'],
    [{ delayMs: 9, reorder: 0.2 }, 'limit 100000 delay 9000us 0us corrupt 0.000000% reorder 20.000000%'],
  ])('of %j', (profile, words) => {
    expect(netemWords(parseProfile(profile))).toBe(words)
  })

  it.each([
    [{ blackhole: true, only: { largerThan: 1300 } }, 'for a filter take --with relay'],
    [{ delayMs: 20, reorder: 0.1, reorderByMs: 5 }, 'for less take --with relay'],
  ])('do not say %j', (profile, message) => {
    expect(() => netemWords(parseProfile(profile))).toThrow(message)
  })
})
