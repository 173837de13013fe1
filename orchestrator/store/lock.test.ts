import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { takeLock } from './lock.ts'

let directory: string
let file: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'branchline-lock-'))
  file = join(directory, 'db.lock')
})
afterEach(() => rmSync(directory, { recursive: true }))

test('one holder at a time, named in the refusal; free again after release', () => {
  const lock = takeLock(file)
  expect(() => takeLock(file)).toThrow(`another orchestrator (process ${process.pid}) uses this database`)
  lock.release()
  takeLock(file).release()
  expect(readdirSync(directory)).toEqual([])
})

test.each([
  ['a process that is gone', '999999999 1'],
  ['a process id that another process got since', `${process.pid} 1`],
  ['a file cut off by a crash', ''],
])('the lock of %s is taken over', (_what, content) => {
  writeFileSync(file, content)
  takeLock(file).release()
})
