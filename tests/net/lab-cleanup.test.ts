/** A lab in a process of its own, which is ended in every way there is. Each test looks for what is left on this host. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { markProcess, REPO } from '../../scripts/guest/rundir.ts'
import { reapDeadLabs, reapLab } from '../../scripts/lab/reap.ts'
import { createLabDir, labDir } from '../../scripts/lab/record.ts'
import { until } from '../../scripts/lab/until.ts'

const NODE = join(REPO, 'node_modules/.bin/node')
const MAIN = join(REPO, 'scripts/lab/main.ts')
const base = `c${process.pid}`
const ids: string[] = []

afterAll(async () => {
  for (const id of ids) await reapLab(labDir(id))
})

function newId(): string {
  const id = `${base}x${ids.length}`
  ids.push(id)
  return id
}

/** Everything of a lab that a person could find on this host. */
function traces(id: string): string[] {
  const names = (folder: string) => (existsSync(folder) ? readdirSync(folder) : [])
  return [
    ...names('/run/netns').filter(name => name.startsWith(`bl-${id}-`)),
    ...names('/run/branchline-lab').filter(name => name === id),
    ...readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter(line => line.includes(`/run/branchline-lab/${id}/`)),
    ...processesOf(id),
  ]
}

/** By the namespace that they are in or the words that they were started with. */
function processesOf(id: string): string[] {
  return readdirSync('/proc').flatMap(pid => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      // Not the client of `exec`, which ends a moment after its command.
      return words.includes(`marker-${id}`) && !words.includes(MAIN) ? [words] : []
    } catch {
      return []
    }
  })
}

/** Resolves when the lab is up, with a process running in a1. */
async function startLab(id: string, ...options: string[]): Promise<ChildProcess> {
  const child = spawn(NODE, [MAIN, 'up', '--native', '--network', '--id', id, ...options], {
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  let heard = ''
  child.stderr?.on('data', chunk => {
    heard += chunk
  })
  await until('the lab is up', 20_000, async () => {
    if (child.exitCode !== null && child.exitCode !== 0) throw new Error(heard)
    return heard.includes('up: orchestrator')
  })
  // A command by hand, not one that the lab wrote down.
  spawn(NODE, [MAIN, 'exec', '--id', id, 'a1', '--', 'sh', '-c', `sleep 1000; : marker-${id}`], { stdio: 'ignore' })
  await until('the command runs', 10_000, async () => processesOf(id).some(words => words.startsWith('sh ')))
  return child
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode
}

describe('a lab that ends', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('by %s leaves nothing', async (signal, code) => {
    const id = newId()
    const lab = await startLab(id)
    expect(traces(id)).not.toEqual([])
    lab.kill(signal)
    expect(await ended(lab)).toBe(code)
    expect(traces(id)).toEqual([])
  })

  it('by SIGINT while it starts leaves nothing', async () => {
    const id = newId()
    const child = spawn(NODE, [MAIN, 'up', '--native', '--network', '--id', id], { stdio: 'ignore' })
    await until('its first namespace is there', 20_000, async () => traces(id).some(trace => trace.startsWith('bl-')))
    child.kill('SIGINT')
    expect(await ended(child)).toBe(130)
    expect(traces(id)).toEqual([])
  })

  it('by kill -9 leaves what the next start removes', async () => {
    const id = newId()
    const lab = await startLab(id)
    lab.kill('SIGKILL')
    await ended(lab)
    expect(traces(id).length).toBeGreaterThan(10)
    const next = newId()
    const second = await startLab(next)
    expect(traces(id)).toEqual([])
    second.kill('SIGINT')
    await ended(second)
    expect(traces(next)).toEqual([])
  })

  it('detached goes on without its process, is found by others, and ends by down', async () => {
    const id = newId()
    const lab = await startLab(id, '--detach')
    expect(await ended(lab)).toBe(0)
    // Nothing of a detached network runs by itself: a start of another lab must leave it alone all the same.
    expect(await reapDeadLabs()).not.toContain(id)
    expect(traces(id).length).toBeGreaterThan(10)
    expect(await ended(spawn(NODE, [MAIN, 'down', '--id', id], { stdio: 'ignore' }))).toBe(0)
    expect(traces(id)).toEqual([])
  })
})

describe('reaping', () => {
  it("leaves a process alone that only has a dead one's pid", async () => {
    const dir = createLabDir(newId(), { topology: 'two-branches', machine: 'native', security: 'clear' })
    const bystander = spawn('sleep', ['1000'])
    const mark = markProcess(bystander.pid ?? 0)
    mkdirSync(join(dir.path, 'proc'), { recursive: true })
    writeFileSync(join(dir.path, 'proc', 'agent-gw1'), `${bystander.pid} ${Number(mark?.start) - 1}\n`)
    await reapLab(dir)
    expect(bystander.exitCode).toBe(null)
    expect(markProcess(bystander.pid ?? 0)).toEqual(mark)
    bystander.kill('SIGKILL')
  })

  it('does not touch a lab whose owner lives', async () => {
    const dir = createLabDir(newId(), { topology: 'two-branches', machine: 'native', security: 'clear' })
    expect(await reapDeadLabs()).not.toContain(dir.id)
    expect(existsSync(dir.path)).toBe(true)
  })

  it('refuses an id that is taken', () => {
    const id = newId()
    createLabDir(id, { topology: 'two-branches', machine: 'native', security: 'clear' })
    expect(() => createLabDir(id, { topology: 'two-branches', machine: 'native', security: 'clear' })).toThrow(
      `lab ${id} runs already; end it: npm run lab -- down --id ${id}`,
    )
  })
})
