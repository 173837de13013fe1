import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { IntentError } from './error.ts'
import { readSealed, writeSealed } from './sealed-file.ts'

const schema = z.object({ revision: z.int(), name: z.string() })
const content = { revision: 7, name: 'edge-ä' }
let directory: string
let file: string
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'branchline-sealed-'))
  file = join(directory, 'state')
  await writeSealed(file, 'state', content)
})
afterEach(() => rmSync(directory, { recursive: true }))

const read = () => readSealed(file, 'state', schema)
function failure(): IntentError {
  try {
    read()
  } catch (error) {
    if (error instanceof IntentError) return error
    throw error
  }
  throw new Error('a damaged file was read')
}

test('is read as it was written, by its owner alone, and leaves no draft', () => {
  expect(read()).toEqual(content)
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(readdirSync(directory)).toEqual(['state'])
})

test('cut off anywhere, it is refused in one line that names the file and what to do', () => {
  const bytes = readFileSync(file)
  for (let length = 0; length < bytes.length; length++) {
    writeFileSync(file, bytes.subarray(0, length))
    const { code, message } = failure()
    expect(code).toBe('state')
    expect(message).toContain(file)
    expect(message).toContain('activate this node again')
    expect(message).not.toContain('\n')
  }
})

test('with any one bit flipped, it is refused', () => {
  const bytes = readFileSync(file)
  for (let at = 0; at < bytes.length; at++) {
    const flipped = Buffer.from(bytes)
    flipped.writeUInt8((bytes[at] ?? 0) ^ (1 << (at % 8)), at)
    writeFileSync(file, flipped)
    expect(failure().code, `byte ${at}`).toBe('state')
  }
})

test.each([
  [
    'of another kind',
    (text: string) => text.replace('branchline state', 'branchline identity'),
    'is not a Branchline state file',
  ],
  [
    'of a later version',
    (text: string) => text.replace('state 1', 'state 2'),
    'was written by another version (format 2, this one reads 1)',
  ],
  ['of something else', () => '{"revision":7}\n', 'is not a Branchline state file'],
  ['empty', () => '', 'is not a Branchline state file'],
])('a file %s says so', (_what, change, message) => {
  writeFileSync(file, change(readFileSync(file, 'utf8')))
  expect(failure().message).toContain(message)
})

test('sound bytes of the wrong shape name the field', async () => {
  await writeSealed(file, 'state', { revision: 'seven', name: 'x' })
  expect(failure().message).toContain('revision')
})

test('a missing file is another matter', () => {
  rmSync(file)
  expect(failure()).toMatchObject({ code: 'not-activated' })
})
