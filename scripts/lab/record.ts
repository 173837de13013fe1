/**
 * A lab's folder, `/run/branchline-lab/<id>`. It is written before anything else of the lab exists, so that whatever happens to the process that
 * runs the lab, the next one finds what is left:
 *
 *   lab.json       LabRecord
 *   proc/<name>    pid and start time of one process of the lab, written by that process before it becomes what it runs (process.ts)
 *   bpf/           a BPF file system of its own: pins go when it is unmounted (native)
 *   …              state, logs and captures
 *
 * Namespaces need no list: their names begin with `bl-<id>-`.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { markProcess, type ProcessMark } from '../guest/rundir.ts'
import { LabError } from './error.ts'

const LABS = '/run/branchline-lab'

const labRecordSchema = z.object({
  topology: z.string(),
  machine: z.enum(['native', 'guest']),
  security: z.enum(['esp', 'clear']),
  /** Whose end is the lab's end; null once a detached lab is up. */
  owner: z.object({ pid: z.int(), start: z.string() }).nullable(),
  /** The orchestrator's TCP port on the host's loopback; null before it runs. */
  port: z.int().nullable(),
})
export type LabRecord = z.infer<typeof labRecordSchema>

export interface LabDir {
  readonly id: string
  readonly path: string
}

/** @throws LabError when the id cannot name namespaces */
export function labDir(id: string): LabDir {
  if (!/^[a-z0-9]{1,16}$/.test(id)) throw new LabError('input', `lab id ${JSON.stringify(id)}: 1 to 16 of a-z and 0-9`)
  return { id, path: join(LABS, id) }
}

/** Takes the id. @throws LabError `running` when another lab has it */
export function createLabDir(id: string, record: Omit<LabRecord, 'owner' | 'port'>): LabDir {
  const dir = labDir(id)
  mkdirSync(LABS, { recursive: true })
  try {
    mkdirSync(dir.path, { mode: 0o700 })
  } catch (cause) {
    throw new LabError('running', `lab ${id} runs already; end it: npm run lab -- down --id ${id}`, { cause })
  }
  writeRecord(dir, { ...record, owner: self(), port: null })
  for (const folder of ['proc', 'bpf']) mkdirSync(join(dir.path, folder))
  return dir
}

export function writeRecord(dir: LabDir, record: LabRecord): void {
  const file = join(dir.path, 'lab.json')
  writeFileSync(`${file}.new`, JSON.stringify(record))
  renameSync(`${file}.new`, file)
}

/** null: no such lab, or one whose start was cut off before its first line. */
export function readRecord(dir: LabDir): LabRecord | null {
  try {
    return labRecordSchema.parse(JSON.parse(readFileSync(join(dir.path, 'lab.json'), 'utf8')))
  } catch {
    return null
  }
}

export function removeLabDir(dir: LabDir): void {
  rmSync(dir.path, { recursive: true, force: true })
}

export function listLabs(): LabDir[] {
  try {
    return readdirSync(LABS).map(labDir)
  } catch {
    return []
  }
}

/** The processes that wrote themselves down, running or not. */
export function recordedProcesses(dir: LabDir): { name: string; mark: ProcessMark }[] {
  return listFiles(join(dir.path, 'proc')).flatMap(name => {
    const mark = readMark(join(dir.path, 'proc', name))
    return mark ? [{ name, mark }] : []
  })
}

/** null when the file is not there or not whole. */
export function readMark(file: string): ProcessMark | null {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return null
  }
  const [pid = '', start = ''] = text.trim().split(' ')
  return /^\d+$/.test(pid) && /^\d+$/.test(start) ? { pid: Number(pid), start } : null
}

function self(): ProcessMark {
  const mark = markProcess(process.pid)
  if (!mark) throw new Error('this process is not in /proc')
  return mark
}

function listFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
