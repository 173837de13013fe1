/** Commands of the machine, as drivers run them: no shell words from outside, and errors in one line. */
import { execFile, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, statSync } from 'node:fs'

const TIMEOUT_MS = 20_000

/** @returns standard output. @throws Error naming the command and the last line of what it said */
export function run(command: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { timeout: TIMEOUT_MS, encoding: 'utf8' }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout)
      const said = stderr.trim().split('\n').at(-1) || error.message
      reject(new Error(`${command} ${args.slice(0, 3).join(' ')}: ${said}`, { cause: error }))
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}

/** Lines for one `ip -batch -`. */
export function ip(...lines: string[]): Promise<string> {
  return run('ip', ['-batch', '-'], `${lines.join('\n')}\n`)
}

/** Starts a process that outlives this one; what it says goes to `log`. @returns its process id */
export function start(command: string, args: readonly string[], log: string, env: NodeJS.ProcessEnv): Promise<number> {
  const output = openSync(log, 'a', 0o600)
  return new Promise<number>((resolve, reject) => {
    const child = spawn(command, args, { detached: true, stdio: ['ignore', output, output], env })
    child.once('error', reject)
    child.once('spawn', () => {
      child.unref()
      resolve(child.pid as number)
    })
  }).finally(() => closeSync(output))
}

/** Is the process alive that has this in its environment? Process ids come again, environments do not. */
export function lives(pid: number, mark: string): boolean {
  try {
    const state = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '')[0]
    return state !== 'Z' && readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark)
  } catch {
    return false
  }
}

/** To the process and all of its group, if it is the one that was started. @returns was it? */
export function signalGroup(pid: number, mark: string, signal: NodeJS.Signals): boolean {
  if (pid <= 0 || !lives(pid, mark)) return false
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
  return true
}

const POLL_MS = 25

/** Waits for a condition that nobody tells of. @returns false: not in time */
export async function until(condition: () => boolean, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) return false
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
  return true
}

/** What a log says last, for an error. */
export function lastLine(file: string): string {
  return readText(file).trim().split('\n').at(-1) ?? ''
}

export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

export function exists(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false }) !== undefined
}
