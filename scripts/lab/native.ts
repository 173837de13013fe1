/** The machine that is this host: namespaces, a BPF file system and processes of its own, all recorded below the lab's folder. */
import { spawn } from 'node:child_process'
import { release } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { REPO } from '../guest/rundir.ts'
import type { ExecOptions, ExecResult, Machine } from './machine.ts'
import { reapNamespaces, reapProcesses } from './reap.ts'
import type { LabDir } from './record.ts'

export function nativeMachine(dir: LabDir): Machine {
  return {
    kind: 'native',
    kernel: release(),
    shared: dir.path,
    local: dir.path,
    hostAddress: '127.0.0.1',
    exec: execute,
    async stop() {
      await reapProcesses(dir)
      await reapNamespaces(dir)
    },
  }
}

/** Does this kernel carry ESP and collect-metadata xfrm interfaces? Tried in a namespace that ends with the command. */
export async function canSecure(): Promise<boolean> {
  const script = `ip link add probe0 type xfrm external
    ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode tunnel if_id 1 aead 'rfc4106(gcm(aes))' 0x${'11'.repeat(20)} 128`
  return (await execute(['unshare', '--net', 'sh', '-ec', script])).code === 0
}

/** Like the guest's exec: the command leads a process group, which an abort kills. */
function execute(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  options.signal?.throwIfAborted()
  const [file = '', ...args] = argv
  const child = spawn(file, args, {
    cwd: options.cwd ?? REPO,
    env: { ...process.env, PATH: `${join(REPO, 'node_modules/.bin')}:${process.env.PATH}`, ...options.env },
    detached: true,
  })
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', options.onStdout ?? ((chunk: Buffer) => void stdout.push(chunk)))
  child.stderr.on('data', options.onStderr ?? ((chunk: Buffer) => void stderr.push(chunk)))
  // A command may close its input early; that is its right.
  child.stdin.on('error', () => child.stdin.destroy())
  if (options.stdin instanceof Readable) options.stdin.pipe(child.stdin)
  else child.stdin.end(options.stdin)
  return new Promise((resolve, reject) => {
    const abort = () => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        process.kill(-child.pid, 'SIGKILL')
      reject(options.signal?.reason)
    }
    options.signal?.addEventListener('abort', abort, { once: true })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      options.signal?.removeEventListener('abort', abort)
      resolve({ code, signal, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() })
    })
  })
}
