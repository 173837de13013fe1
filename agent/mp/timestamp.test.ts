import { describe, expect, it } from 'vitest'
import { TimestampSource, TimestampTable } from './timestamp.ts'

const key = (n: number) => Uint8Array.from({ length: 32 }, () => n)

describe('TimestampSource', () => {
  it('never repeats, whatever the clock does', () => {
    let now = 1000
    const source = new TimestampSource(() => now)
    expect([source.next(), source.next()]).toEqual([1_000_000, 1_000_001])
    now = 500
    expect(source.next()).toBe(1_000_002)
    now = 2000.5
    expect(source.next()).toBe(2_000_500)
    source.continueAfter(9_000_000)
    source.continueAfter(5)
    expect(source.next()).toBe(9_000_001)
  })
})

describe('TimestampTable', () => {
  it('takes each key’s timestamps in rising order only', () => {
    const table = new TimestampTable()
    expect(table.accept(key(1), 10)).toEqual({ ok: true })
    expect(table.accept(key(1), 10)).toEqual({ ok: false, reason: 'duplicate' })
    expect(table.accept(key(1), 9)).toEqual({ ok: false, reason: 'old', after: 10 })
    expect(table.accept(key(1), 11)).toEqual({ ok: true })
    expect(table.accept(key(2), 1)).toEqual({ ok: true })
  })

  it('stays bounded and lets nothing old in by forgetting', () => {
    const table = new TimestampTable(2)
    table.accept(key(1), 100)
    table.accept(key(2), 50)
    table.accept(key(1), 101) // key 2 is now the one heard longest ago
    table.accept(key(3), 60)
    expect(table.size).toBe(2)
    expect(table.accept(key(2), 50)).toEqual({ ok: false, reason: 'old', after: 50 })
    expect(table.accept(key(1), 101)).toEqual({ ok: false, reason: 'duplicate' })
    expect(table.accept(key(2), 51)).toEqual({ ok: true })
    expect(table.accept(key(1), 101)).toEqual({ ok: false, reason: 'old', after: 101 })
  })

  it('survives by export and import, through JSON, and keeps the higher of two', () => {
    const table = new TimestampTable()
    table.accept(key(1), 100)
    table.accept(key(2), 200)
    const restored = new TimestampTable()
    restored.accept(key(2), 300)
    restored.import(JSON.parse(JSON.stringify(table.export())))
    expect(restored.accept(key(1), 100)).toMatchObject({ reason: 'duplicate' })
    expect(restored.accept(key(2), 300)).toMatchObject({ reason: 'duplicate' })
    const small = new TimestampTable(1)
    small.import(table.export())
    expect(small.export()).toEqual({ floor: 100, newest: [[Buffer.from(key(2)).toString('base64'), 200]] })
  })
})
