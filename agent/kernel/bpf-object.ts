/** BPF object files: open, give every map its file descriptor, load, hand out descriptors by name. */
import { KernelError } from './error.ts'
import * as libbpf from './libbpf.ts'
import type { Pointer } from './native.ts'
import type { MapSizes } from './sizes.ts'

/** What makes two maps the same kind: a pinned map is reused only when all of it is equal. */
export interface MapShape {
  type: number
  keySize: number
  valueSize: number
  maxEntries: number
  flags: number
}

export interface BpfObject {
  /** Program name -> descriptor. */
  readonly programs: ReadonlyMap<string, number>
  /** Map name -> descriptor, without internal ones (.rodata). The first object that declares a map creates it. */
  readonly maps: ReadonlyMap<string, number>
  /** Closes the descriptors of programs and of maps that this object created; what is pinned or attached stays. */
  close(): void
}

/**
 * Loads one object file. A map whose name is in `existing` is not created, but taken from there; one in `sizes` has that many entries. Pin declarations in the object
 * (LIBBPF_PIN_BY_NAME) do nothing here: dataplane.ts pins when everything is loaded, so that no half set of pins is ever left behind.
 * @throws KernelError with the verifier's last lines when the kernel refuses a program; EINVAL when a map of `existing` has another shape
 */
export function loadObject(
  path: string,
  { existing = new Map(), sizes = {} }: { existing?: ReadonlyMap<string, number>; sizes?: MapSizes } = {},
): BpfObject {
  const opened = libbpf.withMessages(() => libbpf.objectOpenFile(path, null))
  const object = libbpf.checkPointer(opened.result, 'open', path, tail(opened.messages))
  try {
    const maps = each(map => libbpf.objectNextMap(object, map))
    const declared = maps.filter(map => !libbpf.mapIsInternal(map))
    for (const map of declared) prepareMap(map, existing, sizes)
    for (const map of maps) if (libbpf.mapIsInternal(map)) tellSize(map, sizes)
    const loaded = libbpf.withMessages(() => libbpf.objectLoad(object))
    libbpf.checkResult(loaded.result, 'load', path, tail(loaded.messages))
    return {
      programs: new Map(
        each(program => libbpf.objectNextProgram(object, program)).map(program => [
          libbpf.programName(program),
          libbpf.programFd(program),
        ]),
      ),
      maps: new Map(declared.map(map => [libbpf.mapName(map), libbpf.mapFd(map)])),
      close: () => libbpf.objectClose(object),
    }
  } catch (error) {
    libbpf.objectClose(object)
    throw error
  }
}

/** The maps that an object file declares, without loading it, in the sizes that they would be made with. */
export function declaredMaps(path: string, sizes: MapSizes = {}): Map<string, MapShape> {
  const opened = libbpf.withMessages(() => libbpf.objectOpenFile(path, null))
  const object = libbpf.checkPointer(opened.result, 'open', path, tail(opened.messages))
  const maps = each(map => libbpf.objectNextMap(object, map)).filter(map => !libbpf.mapIsInternal(map))
  for (const map of maps) resize(map, sizes)
  const shapes = new Map(maps.map(map => [libbpf.mapName(map), declaredShape(map)]))
  libbpf.objectClose(object)
  return shapes
}

/** Shape of a map in the kernel (struct bpf_map_info in linux/bpf.h). */
export function mapShape(fd: number): MapShape {
  const info = libbpf.infoOf(fd, 24, 'map')
  const word = (offset: number) => info.getUint32(offset, true)
  return { type: word(0), keySize: word(8), valueSize: word(12), maxEntries: word(16), flags: word(20) }
}

/** The first difference as text, undefined when there is none. */
export function shapeDifference(found: MapShape, declared: MapShape): string | undefined {
  for (const [name, a, b] of [
    ['type', found.type, declared.type],
    ['key size', found.keySize, declared.keySize],
    ['value size', found.valueSize, declared.valueSize],
    ['max entries', found.maxEntries, declared.maxEntries],
    ['flags', found.flags, declared.flags],
  ] as const) {
    if (a !== b) return `${name} ${a} instead of ${b}`
  }
  return undefined
}

export interface LoadedProgram {
  /** Instructions that the verifier walked. */
  verified: number
  jitedBytes: number
}

/** struct bpf_prog_info in linux/bpf.h: jited_prog_len at 16, verified_insns at 216. */
export function programInfo(fd: number): LoadedProgram {
  const info = libbpf.infoOf(fd, 232, 'program')
  return { jitedBytes: info.getUint32(16, true), verified: info.getUint32(216, true) }
}

/** Descriptor of a pinned object; undefined when nothing is there. */
export function openPinned(path: string): number | undefined {
  const fd = libbpf.getPinned(path)
  if (fd === -2 /* ENOENT */) return undefined
  return libbpf.checkResult(fd, 'open', `pin ${path}`)
}

/** Pins a descriptor; the folder must be on a bpffs. */
export function pinObject(fd: number, path: string): void {
  libbpf.checkResult(libbpf.pin(fd, path), 'pin', path)
}

function prepareMap(map: bigint, existing: ReadonlyMap<string, number>, sizes: MapSizes): void {
  const name = libbpf.mapName(map)
  libbpf.checkResult(libbpf.mapSetPinPath(map, null), 'unset the pin path of', `map ${name}`)
  resize(map, sizes)
  const fd = existing.get(name)
  if (fd === undefined) return
  // libbpf takes over the shape of the descriptor without a look at the declaration.
  const difference = shapeDifference(mapShape(fd), declaredShape(map))
  if (difference) throw new KernelError('reuse', `map ${name}`, 'EINVAL', difference)
  libbpf.checkResult(libbpf.mapReuseFd(map, fd), 'reuse', `map ${name}`)
}

function resize(map: bigint, sizes: MapSizes): void {
  const name = libbpf.mapName(map)
  const size = sizes[name]
  if (size === undefined) return
  const set = libbpf.mapMaxEntries(map) === 1 ? libbpf.mapSetValueSize : libbpf.mapSetMaxEntries
  libbpf.checkResult(set(map, size), 'resize', `map ${name}`)
}

const SIZE_OF = '.rodata.'

/** A program that checks its reads against a map's size has it as a constant, in a section `.rodata.` and the map's name. */
function tellSize(map: bigint, sizes: MapSizes): void {
  const name = libbpf.mapName(map)
  const size = name.startsWith(SIZE_OF) ? sizes[name.slice(SIZE_OF.length)] : undefined
  if (size === undefined) return
  const value = new Uint8Array(Uint32Array.of(size).buffer)
  libbpf.checkResult(libbpf.mapSetInitialValue(map, value, value.length), 'set', name)
}

const BPF_MAP_TYPE_DEVMAP_HASH = 25
const BPF_F_RDONLY_PROG = 128

function declaredShape(map: bigint): MapShape {
  return {
    type: libbpf.mapType(map),
    keySize: libbpf.mapKeySize(map),
    valueSize: libbpf.mapValueSize(map),
    maxEntries: libbpf.mapMaxEntries(map),
    // The kernel makes a devmap read-only for programs and refuses to be asked for it.
    flags: libbpf.mapFlags(map) | (libbpf.mapType(map) === BPF_MAP_TYPE_DEVMAP_HASH ? BPF_F_RDONLY_PROG : 0),
  }
}

function each(next: (previous: Pointer) => Pointer): bigint[] {
  const found: bigint[] = []
  for (let item = next(null); item !== null; item = next(item)) found.push(item)
  return found
}

/** The lines that explain a failure stand at the end of a verifier log, before its statistics. */
function tail(messages: readonly string[]): string {
  return messages.join('').trimEnd().split('\n').slice(-20).join('\n')
}
