/** The `branchline` command as the lab runs it: bundled, since one file starts many times faster than its modules, above all in the guest. */
import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { REPO } from '../guest/rundir.ts'
import { LabError } from './error.ts'

/** Below the repository: the packages that stay outside the bundle are resolved from there, and the guest has the same path. */
function folder(id: string): string {
  return join(REPO, '.cache/lab/run', id)
}

/**
 * @returns the words that run it, before its arguments
 * @throws LabError `command` with what the bundler says
 */
export async function buildProgram(id: string): Promise<string[]> {
  const node = join(REPO, 'node_modules/.bin/node')
  const execute = promisify(execFile)
  const argv = [join(REPO, 'scripts/bundle.ts'), '--no-source-maps', join(REPO, 'cli/main.ts'), folder(id)]
  await execute(node, argv).catch(cause => {
    throw new LabError('command', `the command cannot be bundled (npm run build): ${firstLine(cause)}`, { cause })
  })
  const cache = `NODE_COMPILE_CACHE=${join(folder(id), 'compiled')}`
  const words = ['env', cache, node, join(folder(id), 'branchline.js')]
  // A run that ends at once fills the cache; compiling is most of a start, and much slower in the emulated guest.
  await execute('env', [...words.slice(1), 'agent', 'run', '--config', '/nonexistent']).catch(() => {})
  return words
}

export function removeProgram(id: string): void {
  rmSync(folder(id), { recursive: true, force: true })
}

/** Of what the bundler wrote; its stack is of no use. */
function firstLine(cause: unknown): string {
  const text = cause instanceof Error && 'stderr' in cause ? String(cause.stderr) : String(cause)
  return text.split('\n').find(line => line.includes('ERROR')) ?? text
}
