import { randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silent } from '../log.ts'
import { RUNTIME_FILE, type RuntimeItem, readRuntime, runtimeItems } from './runtime.ts'
import { Snapshots } from './snapshots.ts'

const NODE = randomUUID()
const HASH = 0x1234_5678_9abc_def0n
let directory: string
let file: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'branchline-snapshots-'))
  file = join(directory, 'run', RUNTIME_FILE)
})
afterEach(() => rmSync(directory, { recursive: true }))

const vrf = (id: number) => ({ id, enterprise: NODE, name: `tenant-${id}` })
const policy = { enterprise: NODE, document: Uint8Array.of(1, 2) }
function* items(count: number): Iterable<RuntimeItem> {
  for (let id = 1; id <= count; id++) yield { vrfs: vrf(id) }
  yield { sessions: { sid: 16, remoteSid: 32, peer: 1, esp: true, created: 5, paths: [] } }
  yield { policies: policy }
  yield { floor: 7 }
  yield { newest: ['key', 8] }
}
const piecesOf = (count: number) => runtimeItems({ abiHash: HASH, node: NODE }, items(count))
const read = () => readRuntime(join(directory, 'run'), NODE, HASH)

async function until(condition: () => boolean): Promise<void> {
  for (const end = performance.now() + 10_000; !condition(); ) {
    if (performance.now() > end) throw new Error('not within 10 s')
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

test('what was written is read again', async () => {
  const snapshots = new Snapshots({ file, pieces: () => piecesOf(3), log: silent })
  snapshots.save()
  await until(() => existsSync(file))
  expect(read()).toEqual({
    version: 3,
    abiHash: HASH,
    node: NODE,
    vrfs: [vrf(1), vrf(2), vrf(3)],
    peers: [],
    sessions: [{ sid: 16, remoteSid: 32, peer: 1, esp: true, created: 5, paths: [] }],
    policies: [policy],
    learned: [],
    timestamps: { floor: 7, newest: [['key', 8]] },
  })
  expect(readdirSync(join(directory, 'run'))).toEqual([RUNTIME_FILE])
})

test('a large one is made beside other work, and what changes meanwhile is in the next', async () => {
  let count = 200_000
  let turns = 0
  const beside = setInterval(() => turns++, 1)
  const snapshots = new Snapshots({ file, pieces: () => piecesOf(count), log: silent })
  snapshots.save()
  await until(() => existsSync(`${file}.new`))
  const before = turns
  count = 2
  snapshots.save()
  await until(() => existsSync(file))
  expect(turns - before).toBeGreaterThan(5)
  snapshots.cancel()
  clearInterval(beside)
  snapshots.save()
  snapshots.saveNow()
  expect(read()).toMatchObject({ vrfs: [vrf(1), vrf(2)] })
})

test('the last one, of an agent that ends, is not replaced by one that was under way', async () => {
  let count = 200_000
  const snapshots = new Snapshots({ file, pieces: () => piecesOf(count), log: silent })
  snapshots.save()
  await until(() => existsSync(`${file}.new`))
  count = 1
  snapshots.saveNow()
  await until(() => !existsSync(`${file}.new`))
  expect(read()).toMatchObject({ vrfs: [vrf(1)] })
})

test.each([
  ['cut short', (bytes: Buffer) => bytes.subarray(0, -5)],
  ['no CBOR', () => Buffer.from('hello')],
  ['empty', () => Buffer.alloc(0)],
])('a file that is %s is as good as absent', (_, damage) => {
  const snapshots = new Snapshots({ file, pieces: () => piecesOf(3), log: silent })
  snapshots.saveNow()
  writeFileSync(file, damage(readFileSync(file)))
  expect(read()).toMatch(/is damaged$|is of another version or damaged$/)
})
