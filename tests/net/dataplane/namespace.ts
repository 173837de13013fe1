/** Network namespaces for tests: made by name, entered by this very thread for a call, gone with everything in them. */
import { execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { closeSync, openSync, readdirSync } from 'node:fs'
import { checkErrno, libc } from '../../../agent/kernel/native.ts'

const CLONE_NEWNET = 0x40000000
const setns: (fd: number, type: number) => number = libc.func('int setns(int fd, int nstype)')

export class Namespace implements Disposable {
  readonly name: string

  constructor(name: string) {
    this.name = name
    execFileSync('ip', ['netns', 'add', name])
    this.run('ip link set lo up')
  }

  get #path(): string {
    return `/run/netns/${this.name}`
  }

  /** Standard output of a command line (words, no shell). @throws when it fails */
  run(command: string): string {
    return this.execute(command.split(' '))
  }

  /** The same of words that may hold spaces. nsenter and not `ip netns exec`: that would hide bpffs. */
  execute(command: readonly string[]): string {
    return execFileSync('nsenter', [`--net=${this.#path}`, ...command], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  }

  spawn(command: readonly string[], options: SpawnOptions = {}) {
    return spawn('nsenter', [`--net=${this.#path}`, ...command], options)
  }

  /** Runs synchronous code with this thread inside: what attaches to a device means the namespace of its caller. */
  enter<T>(action: () => T): T {
    const home = openSync('/proc/thread-self/ns/net', 'r')
    const target = openSync(this.#path, 'r')
    try {
      checkErrno(setns(target, CLONE_NEWNET), 'enter', this.name)
      return action()
    } finally {
      checkErrno(setns(home, CLONE_NEWNET), 'leave', this.name)
      closeSync(target)
      closeSync(home)
    }
  }

  /** Runs asynchronous code with this thread inside, and with it whatever else the thread does until then. */
  async within<T>(action: () => Promise<T>): Promise<T> {
    const home = openSync('/proc/thread-self/ns/net', 'r')
    const target = openSync(this.#path, 'r')
    try {
      checkErrno(setns(target, CLONE_NEWNET), 'enter', this.name)
      return await action()
    } finally {
      checkErrno(setns(home, CLONE_NEWNET), 'leave', this.name)
      closeSync(target)
      closeSync(home)
    }
  }

  ifindex(device: string): number {
    const [link] = JSON.parse(this.run(`ip -j link show dev ${device}`)) as { ifindex: number }[]
    if (!link) throw new Error(`no device ${device} in ${this.name}`)
    return link.ifindex
  }

  [Symbol.dispose](): void {
    execFileSync('ip', ['netns', 'del', this.name])
  }
}

/** Two devices joined by a wire. */
export function wire(a: Namespace, deviceA: string, b: Namespace, deviceB: string, mtu = 1500): void {
  a.run(`ip link add ${deviceA} mtu ${mtu} type veth peer name ${deviceB} mtu ${mtu} netns ${b.name}`)
  a.run(`ip link set ${deviceA} up`)
  b.run(`ip link set ${deviceB} up`)
}

/** Removes what a killed run left. */
export function removeNamespaces(prefix: string): void {
  let names: string[] = []
  try {
    names = readdirSync('/run/netns')
  } catch {
    // No namespace was ever made on this machine.
  }
  for (const name of names.filter(name => name.startsWith(prefix))) execFileSync('ip', ['netns', 'del', name])
}
