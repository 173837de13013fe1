/** `branchline lab ...`: hands everything over to scripts/lab, which only a clone of the repository has. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { EXIT } from './error.ts'

export function addLab(program: Command): void {
  program
    .command('lab')
    .description('branches, gateway and WAN on this machine (branchline lab --help)')
    .argument('[arguments...]')
    .action(() => {
      throw new Error('the lab comes first: branchline lab ..., without options before it')
    })
}

/** @returns the lab's exit code */
export async function runLab(argv: readonly string[]): Promise<number> {
  // From cli/ and from dist/ alike.
  const script = fileURLToPath(new URL('../scripts/lab/main.ts', import.meta.url))
  if (!existsSync(script)) {
    process.stderr.write('branchline: the lab is part of the repository; clone it and run npm run lab there\n')
    return EXIT.failed
  }
  const child = spawn(process.execPath, [script, ...argv], { stdio: 'inherit' })
  // The terminal sends Ctrl-C to both; the lab cleans up, and this process waits for it.
  const wait = () => {}
  process.on('SIGINT', wait)
  const end = () => child.kill('SIGTERM')
  process.on('SIGTERM', end)
  return await new Promise(resolve => {
    child.once('error', () => resolve(EXIT.failed))
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)))
  })
}
