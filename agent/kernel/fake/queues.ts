/** In-memory qdiscs and HTB classes. Every kind is there; a device without a qdisc of ours shows none. */
import { KernelError } from '../error.ts'
import { type HtbClass, type Qdisc, type QdiscSpec, ROOT } from '../queueing.ts'

export class FakeQueues {
  readonly #requireDevice: (operation: string, ifindex: number) => void
  readonly #qdiscs = new Map<string, QdiscSpec>()
  readonly #classes = new Map<string, HtbClass>()

  constructor(requireDevice: (operation: string, ifindex: number) => void) {
    this.#requireDevice = requireDevice
  }

  list(): Qdisc[] {
    return Array.from(this.#qdiscs.values(), ({ ifindex, kind, handle, parent }) => ({ ifindex, kind, handle, parent }))
  }

  replace(spec: QdiscSpec): void {
    const object = `qdisc ${spec.kind} of device ${spec.ifindex}`
    this.#requireDevice('replace', spec.ifindex)
    if (spec.parent !== ROOT && !this.#classes.has(key(spec.ifindex, spec.parent)))
      throw new KernelError('replace', object, 'ENOENT', 'Specified class not found')
    const before = this.#qdiscs.get(key(spec.ifindex, spec.parent))
    if (before?.handle === spec.handle) {
      if (before.kind !== spec.kind) throw new KernelError('replace', object, 'EINVAL', 'Invalid qdisc name')
      if (spec.kind === 'htb')
        throw new KernelError('replace', object, 'EINVAL', 'Change operation not supported by specified qdisc')
    } else if (spec.parent === ROOT) this.flush(spec.ifindex)
    this.#qdiscs.set(key(spec.ifindex, spec.parent), { ...spec })
  }

  delete({ ifindex, parent }: { ifindex: number; parent: number }): void {
    this.#requireDevice('delete', ifindex)
    if (!this.#qdiscs.delete(key(ifindex, parent)))
      throw new KernelError('delete', `qdisc of device ${ifindex}`, 'ENOENT', 'Cannot find specified qdisc')
    if (parent === ROOT) this.flush(ifindex)
  }

  classes(ifindex: number): Omit<HtbClass, 'burst'>[] {
    return [...this.#classes.values()].filter(each => each.ifindex === ifindex).map(({ burst, ...rest }) => rest)
  }

  replaceClass(htbClass: HtbClass): void {
    const { ifindex, handle, parent } = htbClass
    this.#requireDevice('replace', ifindex)
    const qdisc = this.#qdiscs.get(key(ifindex, ROOT))
    const object = `class ${handle.toString(16)} of device ${ifindex}`
    if (qdisc?.kind !== 'htb' || handle >>> 16 !== qdisc.handle >>> 16)
      throw new KernelError('replace', object, 'ENOENT', 'Specified qdisc not found')
    if (parent !== qdisc.handle && !this.#classes.has(key(ifindex, parent)))
      throw new KernelError('replace', object, 'EINVAL')
    if (htbClass.rate < 1 || htbClass.ceil < 1) throw new KernelError('replace', object, 'EINVAL')
    this.#classes.set(key(ifindex, handle), { ...htbClass })
  }

  /** The device is gone, or its root is. */
  flush(ifindex: number): void {
    for (const [name, each] of this.#qdiscs) if (each.ifindex === ifindex) this.#qdiscs.delete(name)
    for (const [name, each] of this.#classes) if (each.ifindex === ifindex) this.#classes.delete(name)
  }
}

function key(ifindex: number, place: number): string {
  return `${ifindex} ${place}`
}
