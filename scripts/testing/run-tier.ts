/** Runs one tier: its steps in order, their output to ours, at most `minutes` long. */

import { spawn } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Guest, startGuest } from '../guest/guest.ts'
import { REPO } from '../guest/rundir.ts'
import { addCounts, couldNotRun, NONE, readVitestReport, type StepResult } from './result.ts'
import type { Step, Tier } from './tiers.ts'

type VitestStep = Extract<Step, { kind: 'vitest' }>

/** What the steps of one tier share. `signal` aborts at the deadline or on Ctrl-C. */
type Context = { readonly signal: AbortSignal; readonly guest: Guest | null }

/** Never throws: what keeps a tier from running becomes a failure with its reason. */
export async function runTier(tier: Tier, interrupted: AbortSignal): Promise<StepResult> {
  const deadline = AbortSignal.timeout(tier.minutes * 60_000)
  const signal = AbortSignal.any([deadline, interrupted])
  let guest: Guest | null = null
  try {
    if (tier.steps.some(step => step.kind === 'vitest' && step.guest !== undefined))
      guest = await startGuest({ signal })
    let total: StepResult = { ...NONE, problem: null }
    for (const step of tier.steps) {
      const result = await (step.kind === 'command'
        ? runCommand(step.argv, signal)
        : runVitest(step, { signal, guest }))
      total = { ...addCounts(total, result), problem: total.problem ?? result.problem }
    }
    return total
  } catch (error) {
    if (interrupted.aborted) return couldNotRun('interrupted')
    if (deadline.aborted) return couldNotRun(`not done after ${tier.minutes} minutes`)
    return couldNotRun(error instanceof Error ? error.message : String(error))
  } finally {
    await guest?.stop()
  }
}

async function runCommand(argv: readonly string[], signal: AbortSignal): Promise<StepResult> {
  const code = await execute(argv, {}, signal)
  if (code === 0) return { ...NONE, passed: 1, problem: null }
  return { ...NONE, failed: 1, problem: `${argv.join(' ')} ended with ${code ?? 'a signal'}` }
}

async function runVitest(step: VitestStep, context: Context): Promise<StepResult> {
  if (globSync(step.files, { cwd: REPO, exclude: ['node_modules'] }).length === 0) {
    return step.mayBeEmpty ? { ...NONE, problem: null } : couldNotRun(`no test file ${step.files}`)
  }
  const inside = step.guest === 'inside' ? context.guest : null
  const folder = inside?.share ?? mkdtempSync(join(tmpdir(), 'branchline-test-'))
  const report = join(folder, `${step.project}.json`)
  const argv = ['node', 'node_modules/vitest/vitest.mjs', 'run', '--configLoader', 'native', '--project', step.project]
  argv.push('--reporter', 'default', '--reporter', 'json', '--outputFile.json', report)
  try {
    const code =
      inside === null
        ? await execute(argv, context.guest ? { BRANCHLINE_TEST_GUEST: context.guest.name } : {}, context.signal)
        : await executeInside(inside, argv, context.signal)
    return readVitestReport(readIfThere(report), code)
  } finally {
    if (inside === null) rmSync(folder, { recursive: true })
  }
}

/** The exit code; null after a signal. The command gets a process group of its own, which goes down whole. */
function execute(argv: readonly string[], env: Record<string, string>, signal: AbortSignal): Promise<number | null> {
  signal.throwIfAborted()
  const [file = '', ...args] = argv
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: REPO,
      env: { ...process.env, PATH: `${join(REPO, 'node_modules/.bin')}:${process.env.PATH}`, ...env },
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
    })
    const kill = () => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL')
      reject(signal.reason)
    }
    signal.addEventListener('abort', kill, { once: true })
    child.on('error', reject)
    child.on('close', code => {
      signal.removeEventListener('abort', kill)
      resolve(code)
    })
  })
}

async function executeInside(guest: Guest, argv: readonly string[], signal: AbortSignal): Promise<number | null> {
  const status = await guest.exec(argv, {
    onStdout: chunk => process.stdout.write(chunk),
    onStderr: chunk => process.stderr.write(chunk),
    signal,
  })
  return status.code
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
