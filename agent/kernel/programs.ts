/** The programs: which object file and function serve which hook, and loading them all over one set of maps. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type BpfObject, loadObject } from './bpf-object.ts'
import { KernelError } from './error.ts'
import { initialiseFlowTable } from './flow-table.ts'
import type { MapFds } from './maps.ts'
import type { Hook } from './port.ts'
import type { MapSizes } from './sizes.ts'

/** BPF_TCX_INGRESS and BPF_TCX_EGRESS of enum bpf_attach_type, linux/bpf.h since 6.6. */
const INGRESS = 46
const EGRESS = 47
/** BPF_XDP */
export const XDP = 37
/** Native only: generic XDP would cost more than it saves. */
export const XDP_FLAGS_DRV_MODE = 4

interface HookProgram {
  object: string
  program: string
  attachType: number
  /** Of bpf_link_create. */
  flags?: number
  /** Needs the kfuncs of module xfrm_interface. */
  esp: boolean
}

export const hookPrograms: Readonly<Record<Hook, HookProgram>> = {
  lan: { object: 'lan.bpf.o', program: 'lan_ingress', attachType: INGRESS, esp: false },
  wan: { object: 'wan.bpf.o', program: 'wan_ingress', attachType: INGRESS, esp: false },
  'wan-xdp': { object: 'xdp.bpf.o', program: 'wan_xdp', attachType: XDP, flags: XDP_FLAGS_DRV_MODE, esp: false },
  'wan-egress': { object: 'wanout.bpf.o', program: 'wan_egress', attachType: EGRESS, esp: false },
  service: { object: 'service.bpf.o', program: 'service_ingress', attachType: INGRESS, esp: false },
  gather: { object: 'gather.bpf.o', program: 'gather_ingress', attachType: INGRESS, esp: false },
  hold: { object: 'hold.bpf.o', program: 'hold_ingress', attachType: INGRESS, esp: false },
  'mp-egress': { object: 'mp.bpf.o', program: 'mp_egress', attachType: EGRESS, esp: false },
  'mp-ingress': { object: 'mp.bpf.o', program: 'mp_ingress', attachType: INGRESS, esp: false },
  'ipsec-egress': { object: 'ipsec.bpf.o', program: 'ipsec_egress', attachType: EGRESS, esp: true },
  'ipsec-ingress': { object: 'ipsec.bpf.o', program: 'ipsec_ingress', attachType: INGRESS, esp: true },
}

export const hooks: readonly Hook[] = [
  'lan',
  'wan',
  'wan-xdp',
  'wan-egress',
  'service',
  'gather',
  'hold',
  'mp-egress',
  'mp-ingress',
  'ipsec-egress',
  'ipsec-ingress',
]

export function hooksFor(esp: boolean): Hook[] {
  return hooks.filter(hook => esp || !hookPrograms[hook].esp)
}

/** Runs on demand, on no hook: see LinuxFlowTable. */
const FLOW_SWEEP = { object: 'flows.bpf.o', program: 'flow_sweep' }

export interface Programs {
  /** Hook -> descriptor of its program. */
  readonly programs: ReadonlyMap<Hook, number>
  /** Descriptor of flow_sweep. */
  readonly flowSweep: number
  readonly maps: MapFds
  /** Wall time of loading and verifying everything. */
  readonly loadMs: number
  /** Closes all descriptors made here; what is pinned or attached stays. */
  close(): void
}

/**
 * Loads the programs of `wanted` hooks; all share one set of maps: those of `existing`, the rest made new and not pinned.
 * @param folder where the object files are
 * @throws KernelError, as loadObject; nothing stays loaded then
 */
export function loadPrograms(
  folder: string,
  wanted: readonly Hook[],
  { existing = new Map(), sizes = {} }: { existing?: MapFds; sizes?: MapSizes } = {},
): Programs {
  const start = performance.now()
  const objects: BpfObject[] = []
  const close = () => {
    for (const object of objects) object.close()
  }
  const maps = new Map(existing)
  const programs = new Map<Hook, number>()
  const load = (file: string) => {
    const object = loadObject(join(folder, file), { existing: maps, sizes })
    objects.push(object)
    for (const [name, fd] of object.maps) if (!maps.has(name)) maps.set(name, fd)
    return object
  }
  try {
    for (const file of objectFiles(wanted)) {
      const object = load(file)
      for (const hook of wanted)
        if (hookPrograms[hook].object === file) programs.set(hook, programOf(object, hookPrograms[hook]))
    }
    const flowSweep = programOf(load(FLOW_SWEEP.object), FLOW_SWEEP)
    if (!existing.has('flows')) initialiseFlowTable(maps)
    return { programs, flowSweep, maps, loadMs: performance.now() - start, close }
  } catch (error) {
    close()
    throw error
  }
}

function programOf({ programs }: BpfObject, { program, object }: { program: string; object: string }): number {
  const fd = programs.get(program)
  if (fd === undefined) throw new KernelError('find', `program ${program}`, 'ENOENT', object)
  return fd
}

export function objectFiles(wanted: readonly Hook[]): string[] {
  return [...new Set(wanted.map(hook => hookPrograms[hook].object))]
}

/** Where the object files are: bpf beside the bundled command, or bpf/out of the source tree. @throws KernelError ENOENT */
export function findObjectFolder(): string {
  const candidates = [join(import.meta.dirname, 'bpf'), join(import.meta.dirname, '../../bpf/out')]
  const found = candidates.find(folder => existsSync(join(folder, hookPrograms.wan.object)))
  if (!found)
    throw new KernelError('find', 'BPF object files', 'ENOENT', `not in ${candidates.join(' or ')}; run: npm run build`)
  return found
}
