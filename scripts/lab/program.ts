/** The `branchline` command as the lab runs it: bundled, since that starts many times faster than its modules, above all in the guest. */
import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { REPO } from '../guest/rundir.ts'
import { LabError } from './error.ts'
import { type Machine, run } from './machine.ts'

const execute = promisify(execFile)

export interface Program {
  /** on this host */
  readonly folder: string
  /** that run it, before its arguments */
  readonly words: readonly string[]
}

/** Below the repository: the packages that stay outside the bundle are resolved from there. */
function folderOf(id: string): string {
  return join(REPO, '.cache/lab/run', id)
}

/** As in the first line of the bundle: a daemon makes little garbage at a time, and V8 would keep 16 MB for it. */
export const NODE_FLAGS = ['--max-semi-space-size=2']

/** Portable, so that what the host compiled serves at another path too. */
function programIn(folder: string): Program {
  const cache = ['NODE_COMPILE_CACHE_PORTABLE=1', `NODE_COMPILE_CACHE=${join(folder, 'compiled')}`]
  const node = join(REPO, 'node_modules/.bin/node')
  return { folder, words: ['env', ...cache, node, ...NODE_FLAGS, join(folder, 'branchline.js')] }
}

/** @throws LabError `command` with what the bundler says */
export async function buildProgram(id: string): Promise<Program> {
  const program = programIn(folderOf(id))
  const argv = [join(REPO, 'scripts/bundle.ts'), '--no-source-maps', join(REPO, 'cli/main.ts'), program.folder]
  await execute(join(REPO, 'node_modules/.bin/node'), argv).catch(cause => {
    throw new LabError('command', `the command cannot be bundled (npm run build): ${firstLine(cause)}`, { cause })
  })
  // A run that ends at once fills the cache; compiling is most of a start, and much slower in the emulated guest.
  const [env = '', ...words] = program.words
  await execute(env, [...words, 'agent', 'run', '--config', '/nonexistent']).catch(() => {})
  return program
}

/**
 * Puts what an agent needs of it where the machine reads it fast: the guest sees the repository through 9p, uncached, where a start would spend
 * its time on reading.
 * @returns the words that run it there
 */
export async function installProgram({ folder, words }: Program, machine: Machine): Promise<readonly string[]> {
  if (machine.kind === 'native') return words
  const archive = join(machine.shared, 'program.tar')
  const native = ['koffi', '@koromix'].map(name => `node_modules/${name}`)
  await execute('tar', ['-cf', archive, '-C', folder, '.', '-C', REPO, ...native])
  const copy = programIn(join(machine.local, 'program'))
  await run(machine, ['mkdir', copy.folder])
  await run(machine, ['tar', '-xf', archive, '-C', copy.folder])
  return copy.words
}

export function removeProgram(id: string): void {
  rmSync(folderOf(id), { recursive: true, force: true })
}

/** Of what the bundler wrote; its stack is of no use. */
function firstLine(cause: unknown): string {
  const text = cause instanceof Error && 'stderr' in cause ? String(cause.stderr) : String(cause)
  return text.split('\n').find(line => line.includes('ERROR')) ?? text
}
