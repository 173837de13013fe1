/**
 * Debian's libbpf.so.1 (1.1 or newer) through koffi: the only module that knows its C signatures. Integer functions return -errno, pointer
 * functions NULL and errno; bpf-object.ts, bpf-map.ts, bpf-link.ts and ring.ts make these into typed objects and KernelErrors.
 */
import { isMainThread } from 'node:worker_threads'
import koffi from 'koffi'
import { KernelError } from './error.ts'
import { errnoName, lastErrno, libc, type Pointer } from './native.ts'

const lib = koffi.load('libbpf.so.1')

type Path = string
/** Buffers stay where they are for the time of a call, so a pointer inside an options struct is good until it returns. */
type Buffer = Uint8Array | null

koffi.struct('bpf_map_batch_opts', { sz: 'size_t', elem_flags: 'uint64', flags: 'uint64' })
koffi.struct('bpf_test_run_opts', {
  sz: 'size_t',
  data_in: 'void *',
  data_out: 'void *',
  data_size_in: 'uint32',
  data_size_out: 'uint32',
  ctx_in: 'void *',
  ctx_out: 'void *',
  ctx_size_in: 'uint32',
  ctx_size_out: 'uint32',
  retval: 'uint32',
  repeat: 'int32',
  duration: 'uint32',
  flags: 'uint32',
  cpu: 'uint32',
  batch_size: 'uint32',
})

export const objectOpenFile: (path: Path, options: null) => Pointer = lib.func(
  'void *bpf_object__open_file(const char *, void *)',
)
export const objectLoad: (object: Pointer) => number = lib.func('int bpf_object__load(void *)')
export const objectClose: (object: Pointer) => void = lib.func('void bpf_object__close(void *)')
export const objectNextMap: (object: Pointer, map: Pointer) => Pointer = lib.func(
  'void *bpf_object__next_map(void *, void *)',
)
export const objectNextProgram: (object: Pointer, program: Pointer) => Pointer = lib.func(
  'void *bpf_object__next_program(void *, void *)',
)
export const programName: (program: Pointer) => string = lib.func('const char *bpf_program__name(void *)')
export const programFd: (program: Pointer) => number = lib.func('int bpf_program__fd(void *)')

export const mapName: (map: Pointer) => string = lib.func('const char *bpf_map__name(void *)')
export const mapFd: (map: Pointer) => number = lib.func('int bpf_map__fd(void *)')
export const mapType: (map: Pointer) => number = lib.func('int bpf_map__type(void *)')
export const mapKeySize: (map: Pointer) => number = lib.func('uint32 bpf_map__key_size(void *)')
export const mapValueSize: (map: Pointer) => number = lib.func('uint32 bpf_map__value_size(void *)')
export const mapMaxEntries: (map: Pointer) => number = lib.func('uint32 bpf_map__max_entries(void *)')
export const mapSetMaxEntries: (map: Pointer, entries: number) => number = lib.func(
  'int bpf_map__set_max_entries(void *, uint32)',
)
export const mapSetValueSize: (map: Pointer, bytes: number) => number = lib.func(
  'int bpf_map__set_value_size(void *, uint32)',
)
/** Of an internal map; `size` is that of its value. */
export const mapSetInitialValue: (map: Pointer, value: Uint8Array, size: number) => number = lib.func(
  'int bpf_map__set_initial_value(void *, const void *, size_t)',
)
export const mapFlags: (map: Pointer) => number = lib.func('uint32 bpf_map__map_flags(void *)')
export const mapIsInternal: (map: Pointer) => boolean = lib.func('bool bpf_map__is_internal(void *)')
export const mapReuseFd: (map: Pointer, fd: number) => number = lib.func('int bpf_map__reuse_fd(void *, int)')
export const mapSetPinPath: (map: Pointer, path: null) => number = lib.func(
  'int bpf_map__set_pin_path(void *, const char *)',
)

export const mapUpdate: (fd: number, key: Uint8Array, value: Uint8Array, flags: bigint) => number = lib.func(
  'int bpf_map_update_elem(int, const void *, const void *, uint64)',
)
export const mapLookup: (fd: number, key: Uint8Array, value: Uint8Array) => number = lib.func(
  'int bpf_map_lookup_elem(int, const void *, void *)',
)
export const mapDelete: (fd: number, key: Uint8Array) => number = lib.func('int bpf_map_delete_elem(int, const void *)')

const batchOptions = { sz: koffi.sizeof('bpf_map_batch_opts'), elem_flags: 0, flags: 0 }
type Count = [number]
const updateBatch: (fd: number, keys: Uint8Array, values: Uint8Array, count: Count, options: object) => number =
  lib.func('int bpf_map_update_batch(int, const void *, const void *, _Inout_ uint32 *, bpf_map_batch_opts *)')
const deleteBatch: (fd: number, keys: Uint8Array, count: Count, options: object) => number = lib.func(
  'int bpf_map_delete_batch(int, const void *, _Inout_ uint32 *, bpf_map_batch_opts *)',
)
const lookupBatch: (
  fd: number,
  position: Buffer,
  next: Uint8Array,
  keys: Uint8Array,
  values: Uint8Array,
  count: Count,
  options: object,
) => number = lib.func(
  'int bpf_map_lookup_batch(int, void *, void *, void *, void *, _Inout_ uint32 *, bpf_map_batch_opts *)',
)

/** `result` is 0 or -errno; `count` how many elements were done, which errors other than EFAULT report too. */
export interface BatchResult {
  result: number
  count: number
}

export function mapUpdateBatch(fd: number, keys: Uint8Array, values: Uint8Array, count: number): BatchResult {
  const done: Count = [count]
  return { result: updateBatch(fd, keys, values, done, batchOptions), count: done[0] }
}

export function mapDeleteBatch(fd: number, keys: Uint8Array, count: number): BatchResult {
  const done: Count = [count]
  return { result: deleteBatch(fd, keys, done, batchOptions), count: done[0] }
}

/** @param position null for the first batch, then what `next` got; both at least 4 bytes and a key long */
export function mapLookupBatch(
  fd: number,
  position: Buffer,
  next: Uint8Array,
  keys: Uint8Array,
  values: Uint8Array,
  count: number,
): BatchResult {
  const done: Count = [count]
  return { result: lookupBatch(fd, position, next, keys, values, done, batchOptions), count: done[0] }
}

export const possibleCpus: () => number = lib.func('int libbpf_num_possible_cpus()')

koffi.struct('bpf_link_create_opts', { sz: 'size_t', flags: 'uint32', reserved: 'uint32' })
const createLink: (program: number, ifindex: number, attachType: number, options: object) => number = lib.func(
  'int bpf_link_create(int, int, int, bpf_link_create_opts *)',
)
/** @param flags of XDP: XDP_FLAGS_* of linux/if_link.h */
export function linkCreate(program: number, ifindex: number, attachType: number, flags = 0): number {
  return createLink(program, ifindex, attachType, { sz: koffi.sizeof('bpf_link_create_opts'), flags, reserved: 0 })
}
export const linkUpdate: (link: number, program: number, options: null) => number = lib.func(
  'int bpf_link_update(int, int, void *)',
)
export const linkDetach: (link: number) => number = lib.func('int bpf_link_detach(int)')
export const pin: (fd: number, path: Path) => number = lib.func('int bpf_obj_pin(int, const char *)')
export const getPinned: (path: Path) => number = lib.func('int bpf_obj_get(const char *)')

const objectInfo: (fd: number, info: Uint8Array, length: [number]) => number = lib.func(
  'int bpf_obj_get_info_by_fd(int, void *, _Inout_ uint32 *)',
)

/** The first `size` bytes of struct bpf_prog_info, bpf_map_info or bpf_link_info (linux/bpf.h); zeros behind what the kernel knows. */
export function infoOf(fd: number, size: number, object: string): DataView {
  const info = new Uint8Array(size)
  checkResult(objectInfo(fd, info, [size]), 'inspect', object)
  return new DataView(info.buffer)
}

export interface TestRunOptions {
  data_in: Uint8Array
  data_out: Uint8Array
  /** Null where a program type takes none. */
  ctx_in: Buffer
  ctx_out: Buffer
  repeat: number
}

const testRun: (program: number, options: TestRun) => number = lib.func(
  'int bpf_prog_test_run_opts(int, _Inout_ bpf_test_run_opts *)',
)
interface TestRun extends Omit<TestRunOptions, 'data_out'> {
  data_out: Uint8Array | null
  sz: number
  data_size_in: number
  data_size_out: number
  ctx_size_in: number
  ctx_size_out: number
  retval: number
  duration: number
  flags: number
  cpu: number
  batch_size: number
}

const BPF_F_TEST_XDP_LIVE_FRAMES = 2

/** Runs an XDP program on frames that take its verdict's way (Documentation/bpf/bpf_prog_run.rst): `repeat` packets are really sent. */
export function sendLiveFrames(program: number, packet: Uint8Array, repeat: number): number {
  return testRun(program, {
    sz: koffi.sizeof('bpf_test_run_opts'),
    data_in: packet,
    data_out: null,
    ctx_in: null,
    ctx_out: null,
    data_size_in: packet.length,
    data_size_out: 0,
    ctx_size_in: 0,
    ctx_size_out: 0,
    retval: 0,
    repeat,
    duration: 0,
    flags: BPF_F_TEST_XDP_LIVE_FRAMES,
    cpu: 0,
    batch_size: 0,
  })
}

/** @returns 0 or -errno, and the options struct with its results; `data_out` and `ctx_out` are written in place */
export function progTestRun(program: number, options: TestRunOptions): { result: number; run: TestRun } {
  const run: TestRun = {
    ...options,
    sz: koffi.sizeof('bpf_test_run_opts'),
    data_size_in: options.data_in.length,
    data_size_out: options.data_out.length,
    ctx_size_in: options.ctx_in?.length ?? 0,
    ctx_size_out: options.ctx_out?.length ?? 0,
    retval: 0,
    duration: 0,
    flags: 0,
    cpu: 0,
    batch_size: 0,
  }
  return { result: testRun(program, run), run }
}

koffi.proto('int ring_buffer_sample_fn(void *context, void *data, size_t size)')
export const ringSampleType = koffi.pointer(koffi.type('ring_buffer_sample_fn'))
export const ringNew: (map: number, callback: bigint, context: null, options: null) => Pointer = lib.func(
  'void *ring_buffer__new(int, ring_buffer_sample_fn *, void *, void *)',
)
export const ringFree: (ring: Pointer) => void = lib.func('void ring_buffer__free(void *)')
export const ringConsume: (ring: Pointer) => number = lib.func('int ring_buffer__consume(void *)')
export const ringEpollFd: (ring: Pointer) => number = lib.func('int ring_buffer__epoll_fd(void *)')

/** @returns `result` when it is not negative. @throws KernelError for -errno */
export function checkResult(result: number, operation: string, object: string, detail?: string): number {
  if (result < 0) throw new KernelError(operation, object, errnoName(-result), detail)
  return result
}

/** @throws KernelError with errno when `pointer` is NULL */
export function checkPointer(pointer: Pointer, operation: string, object: string, detail?: string): bigint {
  if (pointer === null) throw new KernelError(operation, object, errnoName(lastErrno()), detail)
  return pointer
}

// libbpf's own words, verifier log included. Kept instead of printed: they become the detail of a KernelError.
const vsnprintf: (target: Buffer, size: number, format: Pointer, args: Pointer) => number = libc.func(
  'int vsnprintf(void *, size_t, void *, void *)',
)
koffi.proto('int libbpf_print_fn_t(int level, void *format, void *args)')
const setPrint: (callback: bigint) => bigint = lib.func('void *libbpf_set_print(libbpf_print_fn_t *)')
const LIBBPF_DEBUG = 2
/** Large enough for va_list on x86-64 (24 bytes) and arm64 (32 bytes). */
const VA_LIST = koffi.array('uint8', 32)
let messages: string[] = []

// One for the whole process, so it must not be that of a worker, which may end before the others.
if (isMainThread)
  setPrint(
    koffi.register(
      (level: number, format: Pointer, args: Pointer) => {
        if (level < LIBBPF_DEBUG && format !== null && args !== null) messages.push(formatMessage(format, args))
        return 0
      },
      koffi.pointer(koffi.type('libbpf_print_fn_t')),
    ),
  )

function formatMessage(format: Pointer, args: Pointer): string {
  // vsnprintf walks the va_list, so the second call needs it as it was. A verifier log has up to 16 MB and its end matters most.
  const saved: unknown = koffi.decode(args, VA_LIST)
  const length = vsnprintf(null, 0, format, args)
  koffi.encode(args, VA_LIST, saved)
  const text = new Uint8Array(length + 1)
  vsnprintf(text, text.length, format, args)
  return new TextDecoder().decode(text.subarray(0, length))
}

/** Runs `action` and gives its result with what libbpf had to say meanwhile. */
export function withMessages<T>(action: () => T): { result: T; messages: string[] } {
  const outer = messages
  messages = []
  try {
    const result = action()
    return { result, messages }
  } finally {
    messages = outer
  }
}
