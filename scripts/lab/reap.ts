/** Ends what is left of a lab: its guest or its processes, namespaces and BPF file system, then its folder. Safe to repeat. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { findGuest } from '../guest/guest.ts'
import { isAlive, markProcess, type ProcessMark, removeGuest, runDir } from '../guest/rundir.ts'
import { LabError } from './error.ts'
import { guestName } from './guest-machine.ts'
import { removeProgram } from './program.ts'
import { type LabDir, type LabRecord, listLabs, readRecord, recordedProcesses, removeLabDir } from './record.ts'

const execFileAsync = promisify(execFile)
const DEATH_DEADLINE_MS = 5000

/** Ends every lab that nobody runs any more. @returns their ids */
export async function reapDeadLabs(): Promise<string[]> {
  const reaped: string[] = []
  for (const dir of listLabs()) {
    if (!isDead(dir, readRecord(dir))) continue
    await reapLab(dir)
    reaped.push(dir.id)
  }
  return reaped
}

/** Its owner is gone; or, detached, its machine is: after a reboot, for one. */
function isDead(dir: LabDir, record: LabRecord | null): boolean {
  if (record === null) return true
  if (record.owner !== null) return !isAlive(record.owner)
  return record.machine === 'guest' ? findGuest(guestName(dir.id)) === null : namespaces(dir).length === 0
}

export async function reapLab(dir: LabDir): Promise<void> {
  removeGuest(runDir(guestName(dir.id)))
  await reapProcesses(dir)
  await reapNamespaces(dir)
  removeProgram(dir.id)
  removeLabDir(dir)
}

/** Kills, without mercy: what must end in an orderly way was ended before. */
export async function reapProcesses(dir: LabDir): Promise<void> {
  const marks = [
    ...recordedProcesses(dir).map(({ mark }) => mark),
    ...(await processesInNamespaces(dir)),
    ...processesOfInstances(dir),
  ]
  for (const mark of marks) if (isAlive(mark)) process.kill(mark.pid, 'SIGKILL')
  const deadline = performance.now() + DEATH_DEADLINE_MS
  while (marks.some(isAlive)) {
    if (performance.now() > deadline) throw new LabError('deadline', `processes of lab ${dir.id} do not end`)
    await sleep(10)
  }
}

/** Removes the namespaces, with all devices in them, and the BPF file system, with all pins in it. */
export async function reapNamespaces(dir: LabDir): Promise<void> {
  const names = namespaces(dir)
  await Promise.all(names.map(name => execFileAsync('ip', ['netns', 'delete', name])))
  const pins = join(dir.path, 'bpf')
  // A mount may be stacked when a start was repeated.
  while (isMounted(pins)) await execFileAsync('umount', [pins])
  rmSync(pins, { recursive: true, force: true })
}

function namespaces(dir: LabDir): string[] {
  try {
    return readdirSync('/run/netns').filter(name => name.startsWith(`bl-${dir.id}-`))
  } catch {
    return []
  }
}

/** The namespaces are the lab's, so are the processes in them, also those that `exec` started. */
async function processesInNamespaces(dir: LabDir): Promise<ProcessMark[]> {
  const lists = await Promise.all(namespaces(dir).map(name => execFileAsync('ip', ['netns', 'pids', name])))
  return lists.flatMap(({ stdout }) =>
    stdout.split('\n').flatMap(line => {
      const mark = line === '' ? null : markProcess(Number(line))
      return mark ? [mark] : []
    }),
  )
}

/** Instances of service functions outlive the agent that started them, in namespaces without a name. Their environment says where they keep their files. */
function processesOfInstances(dir: LabDir): ProcessMark[] {
  return readdirSync('/proc').flatMap(pid => {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`BRANCHLINE_KEPT=${dir.path}/`)) return []
      const mark = markProcess(Number(pid))
      return mark ? [mark] : []
    } catch {
      // No process, or one that has ended.
      return []
    }
  })
}

function isMounted(path: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .some(line => line.split(' ')[1] === path)
}
