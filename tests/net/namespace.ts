/**
 * A network namespace of the calling thread's own: sockets, sysctls and child processes made after `enter` are in it. It needs no name and no
 * cleaning up: the kernel takes it away when the last socket in it is closed.
 */
import { closeSync, openSync } from 'node:fs'
import { checkErrno, libc } from '../../agent/kernel/native.ts'

const CLONE_NEWNET = 0x40000000
const unshare: (flags: number) => number = libc.func('int unshare(int)')
const setns: (fd: number, type: number) => number = libc.func('int setns(int, int)')

export interface Namespace {
  /** Back to where the thread came from. */
  leave(): void
}

/** Enters a fresh namespace. @throws KernelError EPERM without CAP_SYS_ADMIN */
export function enterFreshNamespace(): Namespace {
  const before = openSync('/proc/thread-self/ns/net', 'r')
  checkErrno(unshare(CLONE_NEWNET), 'unshare', 'network namespace')
  return {
    leave: () => {
      checkErrno(setns(before, CLONE_NEWNET), 'enter', 'network namespace')
      closeSync(before)
    },
  }
}
