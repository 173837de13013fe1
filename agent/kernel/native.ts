/** What every native call shares: the C library, errno names, pointers. */
import { constants } from 'node:os'
import koffi from 'koffi'
import { KernelError } from './error.ts'

/** A C pointer; null is NULL. */
export type Pointer = bigint | null

export const libc = koffi.load('libc.so.6')

/** Kernel-internal numbers that reach user space although errno.h does not know them (include/linux/errno.h). */
const kernelErrno: readonly [string, number][] = [['ENOTSUPP', 524]]

// EWOULDBLOCK is EAGAIN and EOPNOTSUPP is ENOTSUP on Linux: the first of two names for one number stays.
const names = new Map<number, string>()
for (const [name, value] of [...Object.entries(constants.errno), ...kernelErrno]) {
  if (!names.has(value)) names.set(value, name)
}
names.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP')

/** @param errno positive */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`
}

/** errno of the last native call: read it before the next one. */
export function lastErrno(): number {
  return koffi.errno()
}

/** @returns `result` when it is not negative. @throws KernelError with errno: for calls that answer -1 */
export function checkErrno(result: number, operation: string, object: string): number {
  if (result < 0) throw new KernelError(operation, object, errnoName(lastErrno()))
  return result
}

const closeDescriptor: (fd: number) => number = libc.func('int close(int fd)')

/** Closes a descriptor; an error means that it is closed already, which no caller can do anything about. */
export function closeFd(fd: number): void {
  closeDescriptor(fd)
}

const fcntl: (fd: number, command: number, least: number) => number = libc.func('int fcntl(int, int, int)')
const F_DUPFD_CLOEXEC = 1030

/** Another descriptor of the same object. @throws KernelError */
export function duplicateFd(fd: number): number {
  return checkErrno(fcntl(fd, F_DUPFD_CLOEXEC, 0), 'duplicate', `descriptor ${fd}`)
}

const clockGettime: (clock: number, time: BigInt64Array) => number = libc.func('int clock_gettime(int, void *)')
const clockGetres: (clock: number, time: BigInt64Array) => number = libc.func('int clock_getres(int, void *)')
const CLOCK_MONOTONIC = 1
const CLOCK_MONOTONIC_COARSE = 6

/** CLOCK_MONOTONIC in ns: what bpf_ktime_get_ns answers. process.hrtime has an offset of its own and cannot stand in. */
export function monotonicNs(): bigint {
  const time = new BigInt64Array(2)
  checkErrno(clockGettime(CLOCK_MONOTONIC, time), 'read', 'CLOCK_MONOTONIC')
  return (time[0] ?? 0n) * 1_000_000_000n + (time[1] ?? 0n)
}

/** Length of a jiffy: the coarse clocks move once in each. */
export function coarseTickNs(): number {
  const time = new BigInt64Array(2)
  checkErrno(clockGetres(CLOCK_MONOTONIC_COARSE, time), 'read', 'CLOCK_MONOTONIC_COARSE')
  return Number(time[1])
}
