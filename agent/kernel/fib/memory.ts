/**
 * The two maps of the FIB as typed arrays over their pages, and the grace period after which no program reads what was replaced. Without libbpf: it
 * has one callback for its messages, which only the agent's own thread may have.
 */
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import koffi from 'koffi'
import { ABI_FIB_LINE_BYTES, ABI_FIB_SLACK, ABI_FIB_UNIT, fibCodec, fibRootCodec } from '../../../schema/abi.gen.ts'
import { KernelError } from '../error.ts'
import { errnoName, lastErrno, libc, type Pointer } from '../native.ts'
import { vrfsIn } from '../sizes.ts'

/** An array map with BPF_F_MMAPABLE, and the size of all its entries. */
export interface ArrayFd {
  fd: number
  bytes: number
}

/** The maps of these names. */
export interface FibFds {
  readonly fib: ArrayFd
  readonly fib_routes: ArrayFd
}

/** All arrays are shared with the programs. */
export interface FibMemory {
  /** Map `fib`: struct fib, the roots of both halves, the halves. */
  readonly words: Uint32Array
  /** Record 0 is never used: 0 stands for none. */
  readonly routes: Uint32Array
  /** VRF numbers are below this. */
  readonly vrfs: number
  /** Units in each half. */
  readonly halfUnits: number
  /** Place of a half's first unit. */
  placeOf(half: number): number
  /** Index of a root's first word. */
  rootOf(half: number, vrf: number): number
  /** Takes the pages out of the address space: no array may be used after that. */
  close(): void
}

const HEAD_WORDS = fibCodec.size / 4
const ROOT_WORDS = fibRootCodec.size / 4

/** @throws KernelError */
export function mapFib(fds: FibFds): FibMemory {
  const fib = mapPages('fib', fds.fib)
  const routes = mapPages('fib_routes', fds.fib_routes)
  const vrfs = vrfsIn(fds.fib.bytes)
  const head = fibCodec.size + 2 * vrfs * fibRootCodec.size
  const lines = Math.floor((fds.fib.bytes - head - ABI_FIB_SLACK) / (2 * ABI_FIB_LINE_BYTES))
  const halfUnits = lines * (ABI_FIB_LINE_BYTES / ABI_FIB_UNIT)
  return {
    words: fib.words,
    routes: routes.words,
    vrfs,
    halfUnits,
    placeOf: half => head / ABI_FIB_UNIT + half * halfUnits,
    rootOf: (half, vrf) => HEAD_WORDS + (half * vrfs + vrf) * ROOT_WORDS,
    close: () => {
      for (const pages of [fib, routes]) pages.close()
    },
  }
}

const mmap: (at: null, length: number, protection: number, flags: number, fd: number, offset: number) => bigint =
  libc.func('void *mmap(void *, size_t, int, int, int, int64)')
const munmap: (at: Pointer, length: number) => number = libc.func('int munmap(void *, size_t)')
const PROT_READ_WRITE = 3
const MAP_SHARED = 1
const MAP_FAILED = 2n ** 64n - 1n
/** Offsets of mapMemory are multiples of it. */
export const PAGE = 4096

/** All values of the map. @throws KernelError */
export function mapPages(name: string, { fd, bytes: length }: ArrayFd) {
  const { bytes, close } = mapMemory(`map ${name}`, fd, 0, length)
  return { words: new Uint32Array(bytes.buffer, 0, length / 4), close }
}

/** Some bytes of what is behind a descriptor, shared with the kernel until `close`. @throws KernelError */
export function mapMemory(name: string, fd: number, offset: number, length: number) {
  const bytes = Math.ceil(length / PAGE) * PAGE
  const address = mmap(null, bytes, PROT_READ_WRITE, MAP_SHARED, fd, offset)
  if (address === MAP_FAILED || address === -1n) throw new KernelError('map into memory', name, errnoName(lastErrno()))
  return { bytes: new Uint8Array(koffi.view(address, bytes), 0, length), close: () => munmap(address, bytes) }
}

const syscall = libc.func('long syscall(long, int, unsigned int, int)')
/** asm/unistd.h */
const SYS_membarrier = process.arch === 'arm64' ? 283 : 324
const MEMBARRIER_CMD_GLOBAL = 1

/** ms. A program runs for microseconds. */
const LONG_ENOUGH = 1000

/**
 * Returns when every program that was running has ended: membarrier's global command waits for a grace period of RCU, which programs run under
 * (kernel/sched/membarrier.c). It takes some milliseconds. A kernel with nohz_full does not offer it: then a second is waited.
 */
export function waitGrace(): void {
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LONG_ENOUGH)
}

/** The same beside the event loop. */
export async function graceOver(): Promise<void> {
  const result = await membarrier(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0)
  if (result < 0) await setTimeout(LONG_ENOUGH)
}
const membarrier = promisify(syscall.async) as (...numbers: number[]) => Promise<number>
