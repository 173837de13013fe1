/**
 * A lock file beside an embedded database: two processes on one PGlite folder destroy it. Node has no flock, so the file names its owner by
 * process id and start time (which a reused process id does not share).
 */
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { OrchestratorError } from '../error.ts'

export interface Lock {
  release(): void
}

/** @throws OrchestratorError naming the process that holds the lock */
export function takeLock(file: string): Lock {
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, `${process.pid} ${startTime(process.pid) ?? 0}\n`, { mode: 0o600 })
  try {
    for (;;) {
      // A hard link appears with its content, and only one can: nobody sees a lock half written.
      if (tryLink(draft, file)) return { release: () => rmSync(file, { force: true }) }
      const held = readIfThere(file)
      const [pid = 0, started = 0] = (held ?? '').split(' ').map(Number)
      if (held !== undefined && pid > 0 && startTime(pid) === started) {
        throw new OrchestratorError(
          'setup',
          `another orchestrator (process ${pid}) uses this database; stop it, or use another --data-dir (lock file ${file})`,
        )
      }
      if (held !== undefined) rmSync(file, { force: true })
    }
  } finally {
    rmSync(draft, { force: true })
  }
}

function tryLink(draft: string, file: string): boolean {
  try {
    linkSync(draft, file)
    return true
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') return false
    throw new OrchestratorError('setup', `cannot create the lock file ${file}: ${String(cause)}`, { cause })
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

/** Clock ticks between boot and the start of a process: field 22 of /proc/<pid>/stat (proc(5)); undefined when it is gone. */
function startTime(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field, the command in parentheses, may hold blanks.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
  } catch {
    return undefined
  }
}
