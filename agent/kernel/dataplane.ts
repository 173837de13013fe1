/**
 * The pinned dataplane of a node: `<bpffs>/maps/<name>` and `<bpffs>/links/<hook>-<ifindex>` (a link holds its program). Adopted when every map
 * is there in this build's layout: then new programs are loaded over the old maps and put in the place of the old ones. Anything
 * else is rebuilt whole. The node map is pinned last, with the layout hash in it: it says that the set is complete.
 */
import { existsSync, mkdirSync, readdirSync, rmdirSync, statfsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ABI_HASH, type Event, nodeConfigCodec } from '../../schema/abi.gen.ts'
import { Attachments, removePin } from './attachments.ts'
import { declaredMaps, mapShape, openPinned, pinObject, programInfo, shapeDifference } from './bpf-object.ts'
import { KernelError } from './error.ts'
import { FibThread } from './fib/thread.ts'
import { LinuxFlowTable } from './flow-table.ts'
import { fdOf, fibFds, type MapFds, openMaps, readCounters, readDrops } from './maps.ts'
import { closeFd } from './native.ts'
import type { Adoption, Dataplane, DataplaneOptions, FlowTable, Hook, Maps, ProgramInfo } from './port.ts'
import { hooksFor, loadPrograms, objectFiles, type Programs } from './programs.ts'
import { openRing } from './ring.ts'
import type { MapSizes } from './sizes.ts'

const BPF_FS_MAGIC = 0xcafe4a11

/**
 * @param options `objects`: folder of the object files
 * @throws KernelError; what was pinned before goes on forwarding then
 */
export function openDataplane({
  bpffs,
  esp,
  sizes = {},
  hooks = hooksFor(esp),
  objects,
}: DataplaneOptions & { objects: string }): Dataplane {
  const folders = { maps: join(bpffs, 'maps'), links: join(bpffs, 'links') }
  if (statfsSync(existingPart(bpffs)).type !== BPF_FS_MAGIC)
    throw new KernelError('open', bpffs, 'EINVAL', 'not on a bpffs')
  mkdirSync(folders.maps, { recursive: true })
  mkdirSync(folders.links, { recursive: true })

  const attachments = new Attachments(folders.links)
  const pinned = inspectPins(folders.maps, objects, hooksFor(esp), sizes)
  const adopted = pinned.kind === 'complete' ? pinned.maps : new Map<string, number>()
  let programs: Programs
  try {
    programs = loadPrograms(objects, hooks, { existing: adopted, sizes })
  } catch (error) {
    closeAll(adopted)
    throw error
  }
  if (pinned.kind === 'complete') attachments.updateAll(programs.programs)
  else {
    attachments.removeAll()
    for (const name of readdirSync(folders.maps)) removePin(join(folders.maps, name))
    pinMaps(programs.maps, folders.maps)
  }
  const adoption = { complete: 'adopted', none: 'created', unusable: 'rebuilt' } as const
  return new LinuxDataplane({
    programs,
    attachments,
    adopted,
    folders,
    adoption: adoption[pinned.kind],
    reason: pinned.kind === 'unusable' ? pinned.reason : undefined,
  })
}

/** The path itself or the nearest folder above it that exists. */
function existingPart(path: string): string {
  return existsSync(path) ? path : existingPart(dirname(path))
}

type Pinned = { kind: 'complete'; maps: MapFds } | { kind: 'none' } | { kind: 'unusable'; reason: string }

/** Compares what is pinned with what the object files declare. */
function inspectPins(folder: string, objects: string, wanted: readonly Hook[], sizes: MapSizes): Pinned {
  if (readdirSync(folder).length === 0) return { kind: 'none' }
  const maps = new Map<string, number>()
  const unusable = (reason: string): Pinned => {
    closeAll(maps)
    return { kind: 'unusable', reason }
  }
  try {
    for (const file of objectFiles(wanted)) {
      for (const [name, shape] of declaredMaps(join(objects, file), sizes)) {
        if (maps.has(name)) continue
        const fd = openPinned(join(folder, name))
        if (fd === undefined) return unusable(`pinned map ${name} is missing`)
        maps.set(name, fd)
        const difference = shapeDifference(mapShape(fd), shape)
        if (difference) return unusable(`pinned map ${name} has ${difference}`)
      }
    }
    const hash = openMaps(maps).node.get(0)?.abiHash
    if (hash !== ABI_HASH)
      return unusable(`pinned maps have layout ${hash?.toString(16)} instead of ${ABI_HASH.toString(16)}`)
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    return unusable(error.message)
  }
  return { kind: 'complete', maps }
}

function pinMaps(maps: MapFds, folder: string): void {
  for (const [name, fd] of maps) if (name !== 'node') pinObject(fd, join(folder, name))
  const zero = nodeConfigCodec.decode(new Uint8Array(nodeConfigCodec.size))
  openMaps(maps).node.set(0, { ...zero, abiHash: ABI_HASH })
  pinObject(fdOf(maps, 'node'), join(folder, 'node'))
}

function closeAll(maps: MapFds): void {
  for (const fd of maps.values()) closeFd(fd)
}

/** Leaves it when somebody else has put something in. */
function removeFolder(path: string): void {
  if (existsSync(path) && readdirSync(path).length === 0) rmdirSync(path)
}

interface Parts {
  programs: Programs
  attachments: Attachments
  /** Descriptors of adopted maps: ours to close, those of new maps belong to `programs`. */
  adopted: MapFds
  folders: { maps: string; links: string }
  adoption: Adoption
  reason: string | undefined
}

class LinuxDataplane implements Dataplane {
  readonly maps: Maps
  readonly flows: FlowTable
  readonly fib: FibThread
  readonly adoption: Adoption
  readonly reason: string | undefined
  readonly loadMs: number
  readonly #parts: Parts
  readonly #handlers: ((event: Event) => void)[] = []
  #closeRing: (() => void) | undefined
  #closed = false

  constructor(parts: Parts) {
    this.#parts = parts
    this.maps = openMaps(parts.programs.maps)
    this.flows = new LinuxFlowTable(parts.programs.maps, parts.programs.flowSweep)
    this.fib = new FibThread(fibFds(parts.programs.maps))
    this.adoption = parts.adoption
    this.reason = parts.reason
    this.loadMs = parts.programs.loadMs
  }

  attach(hook: Hook, ifindex: number): void {
    const program = this.#parts.programs.programs.get(hook)
    if (program === undefined)
      throw new KernelError('attach', `${hook} of device ${ifindex}`, 'ENOENT', 'the program is not loaded')
    this.#parts.attachments.attach({ hook, ifindex }, program)
  }

  detach(hook: Hook, ifindex: number): void {
    this.#parts.attachments.detach({ hook, ifindex })
  }

  attached(): { hook: Hook; ifindex: number }[] {
    return this.#parts.attachments.list()
  }

  programs(): ProgramInfo[] {
    return Array.from(this.#parts.programs.programs, ([hook, fd]) => ({ hook, ...programInfo(fd) }))
  }

  drops(): Record<string, number> {
    return readDrops(this.#parts.programs.maps)
  }

  counters(): Record<string, number> {
    return readCounters(this.#parts.programs.maps)
  }

  onEvent(handler: (event: Event) => void): void {
    this.#handlers.push(handler)
    // Not before somebody listens: until then events wait in the ring.
    this.#closeRing ??= openRing(fdOf(this.#parts.programs.maps, 'events'), event => {
      for (const each of this.#handlers) each(event)
    })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#closeRing?.()
    this.fib.close()
    this.#parts.programs.close()
    closeAll(this.#parts.adopted)
  }

  destroy(): void {
    this.#parts.attachments.removeAll()
    const { maps, links } = this.#parts.folders
    for (const name of readdirSync(maps)) removePin(join(maps, name))
    for (const folder of [maps, links, dirname(maps)]) removeFolder(folder)
    this.close()
  }
}
