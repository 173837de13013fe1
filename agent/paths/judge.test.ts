import { describe, expect, test } from 'vitest'
import { type Condition, type JudgeTimers, type Look, PathJudge } from './judge.ts'

const TIMERS = { silentMs: 1500, holdMs: 5000, longestHoldMs: 300_000, leaveEveryMs: 10_000 }

/** A judge with a clock: looks at a path every 50 ms. */
class Bench {
  readonly judge: PathJudge
  now = 0
  readonly changes: [number, Condition, string][] = []

  constructor(timers: Partial<JudgeTimers> = {}) {
    this.judge = new PathJudge({ ...TIMERS, ...timers })
    this.look()
  }

  look(look: Partial<Look> = {}, ms = 50): Condition {
    this.now += ms
    const change = this.judge.look({ ...well, nowMs: this.now, ...look })
    if (change) this.changes.push([this.now, change.to, change.reason])
    return this.judge.condition
  }

  for(ms: number, look: Partial<Look> = {}): void {
    for (const end = this.now + ms; this.now < end; ) this.look(look)
  }

  /** ms until the path is good again, while nothing is wrong with it. */
  return(): number {
    const start = this.now
    while (this.look() !== 'good') if (this.now - start > 600_000) throw new Error('never')
    return this.now - start
  }
}

const well: Omit<Look, 'nowMs'> = {
  present: true,
  silenceMs: 10,
  unanswered: 0,
  unansweredMs: 0,
  patienceMs: 40,
  left: false,
  fault: undefined,
  sign: undefined,
}

describe('one look', () => {
  test.each<[string, Partial<Look>, Condition, string]>([
    ['nothing wrong', {}, 'good', ''],
    ['one probe on its way', { unanswered: 1, unansweredMs: 30 }, 'good', ''],
    ['one probe late', { unanswered: 1, unansweredMs: 50 }, 'suspect', 'a probe is unanswered'],
    ['a sign', { sign: 'loses packets out' }, 'suspect', 'loses packets out'],
    ['a fault', { fault: 'loss out 20 %', sign: 'loses packets out' }, 'degraded', 'loss out 20 %'],
    ['three probes late', { unanswered: 3, unansweredMs: 150 }, 'left', '3 probes unanswered'],
    ['three probes on a slow way', { unanswered: 3, unansweredMs: 150, patienceMs: 300 }, 'good', ''],
    ['the programs left it', { left: true }, 'left', 'silent while in use'],
    ['silent, but not asked', { silenceMs: 5000 }, 'good', ''],
    ['silent and asked', { silenceMs: 1600, unanswered: 2, unansweredMs: 100 }, 'down', 'silent for 1600 ms'],
    ['asked ten times', { silenceMs: 600, unanswered: 10, unansweredMs: 550 }, 'down', 'silent for 600 ms'],
    [
      'asked ten times on a slow way',
      { silenceMs: 1600, unanswered: 10, unansweredMs: 1600, patienceMs: 2500 },
      'good',
      '',
    ],
    ['no link', { present: false }, 'down', 'no link'],
  ])('%s', (_name, look, condition, reason) => {
    const bench = new Bench()
    expect(bench.look(look)).toBe(condition)
    expect(bench.judge.reason).toBe(reason)
  })
})

describe('return', () => {
  test('from suspect is at once', () => {
    const bench = new Bench()
    bench.look({ sign: 'x' })
    expect(bench.look()).toBe('good')
  })

  test('from a short absence takes ten seconds since it was left', () => {
    const bench = new Bench()
    bench.look({ left: true })
    expect(bench.return()).toBe(10_000)
  })

  test('from a long one takes five good seconds', () => {
    const bench = new Bench()
    bench.for(60_000, { fault: 'loss in 9 %' })
    expect(bench.return()).toBe(5050)
  })

  test('waits for good time without a break', () => {
    const bench = new Bench()
    bench.for(60_000, { fault: 'x' })
    bench.for(4000)
    expect(bench.look({ fault: 'x' })).toBe('degraded')
    expect(bench.return()).toBe(5050)
  })

  test('from down goes by left, where it is used if there is no other', () => {
    const bench = new Bench()
    bench.look({ present: false })
    expect(bench.look()).toBe('left')
    expect(bench.judge.needed(bench.now)).toEqual({ from: 'left', to: 'good', reason: 'no other path' })
  })

  test('of a path that does not answer is not helped by need', () => {
    const bench = new Bench()
    bench.look({ unanswered: 3, unansweredMs: 200 })
    expect(bench.judge.needed(bench.now)).toBeUndefined()
  })

  test('of a path that was left is not helped by need before it was heard again', () => {
    const bench = new Bench()
    bench.look({ left: true, silenceMs: 60 })
    for (let silenceMs = 110; silenceMs < 500; silenceMs += 50) {
      bench.look({ left: true, silenceMs, unanswered: 1, unansweredMs: 20 })
      expect(bench.judge.needed(bench.now), `silent for ${silenceMs} ms`).toBeUndefined()
    }
    bench.look({ left: true })
    expect(bench.judge.needed(bench.now)).toEqual({ from: 'left', to: 'good', reason: 'no other path' })
  })

  test('of a path that was never there is at once', () => {
    const bench = new Bench()
    const late = new PathJudge(TIMERS)
    late.look({ ...well, nowMs: bench.now, present: false })
    expect(late.condition).toBe('down')
    late.look({ ...well, nowMs: bench.now + 50 })
    expect(late.condition).toBe('good')
  })
})

describe('a path that comes and goes', () => {
  test('is away twice as long each time, to five minutes', () => {
    const bench = new Bench()
    const away = Array.from({ length: 9 }, () => {
      bench.look({ left: true })
      return Math.round(bench.return() / 1000)
    })
    expect(away).toEqual([10, 10, 20, 40, 80, 160, 300, 300, 300])
  })

  test('is away as long as the configuration says', () => {
    const bench = new Bench({ holdMs: 300, longestHoldMs: 700, leaveEveryMs: 400 })
    const away = Array.from({ length: 4 }, () => {
      bench.look({ left: true })
      return bench.return()
    })
    // Looks are 50 ms apart, and good time begins with the first good one.
    expect(away).toEqual([400, 650, 750, 750])
  })

  test('is forgiven for good time', () => {
    const bench = new Bench()
    for (let time = 0; time < 4; time++) {
      bench.look({ left: true })
      bench.return()
    }
    bench.for(600_000)
    bench.look({ left: true })
    expect(Math.round(bench.return() / 1000)).toBe(10)
  })

  test('ten times a second is not used again', () => {
    const bench = new Bench()
    for (let time = 0; time < 600; time++) {
      bench.look({ present: false })
      bench.look()
    }
    expect(bench.changes.filter(([, to]) => to === 'good')).toHaveLength(0)
  })

  test('never leaves twice in ten seconds, whatever it does', () => {
    const seed = Math.floor(Math.random() * 2 ** 31)
    let state = seed
    const random = () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
      return state / 2 ** 31
    }
    const bench = new Bench()
    let bad: Partial<Look> = {}
    for (let step = 0; step < 40_000; step++) {
      const kinds = [{}, {}, { left: true }, { fault: 'x' }, { present: false }, { sign: 'y' }]
      if (random() < 0.02) bad = kinds[Math.floor(random() * kinds.length)] ?? {}
      bench.look(bad)
    }
    const departures = bench.changes
      .filter(([, to], index) => isOff(to) && !isOff(bench.changes[index - 1]?.[1] ?? 'good'))
      .map(([at]) => at)
    expect(departures.length).toBeGreaterThan(2)
    for (const [index, at] of departures.slice(1).entries())
      expect(at - (departures[index] ?? 0), `seed ${seed}`).toBeGreaterThanOrEqual(10_000)
  })
})

const isOff = (condition: Condition) => !['good', 'suspect'].includes(condition)
