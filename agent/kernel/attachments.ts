/**
 * Pinned tcx links, one file `<hook>-<ifindex>` each. A link whose device is gone stays pinned, with ifindex 0, and a new device may
 * get the old number: so the name alone proves nothing, and the kernel is asked.
 */
import { readdirSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { openPinned, pinObject } from './bpf-object.ts'
import { KernelError } from './error.ts'
import * as libbpf from './libbpf.ts'
import { closeFd } from './native.ts'
import type { Hook } from './port.ts'
import { hookPrograms, hooks } from './programs.ts'

export interface Attachment {
  hook: Hook
  ifindex: number
}

export class Attachments {
  readonly #folder: string

  /** @param folder on a bpffs, existing */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** Puts a program on a device, or in the place of the one that is there: between two packets, none is lost. */
  attach({ hook, ifindex }: Attachment, program: number): void {
    const path = this.#path({ hook, ifindex })
    const object = `${hook} of device ${ifindex}`
    const pinned = this.#openLive({ hook, ifindex })
    if (pinned !== undefined) {
      usingFd(pinned, fd => libbpf.checkResult(libbpf.linkUpdate(fd, program, null), 'update', object))
      return
    }
    removePin(path)
    const { attachType, flags } = hookPrograms[hook]
    const link = libbpf.checkResult(libbpf.linkCreate(program, ifindex, attachType, flags), 'attach', object)
    usingFd(link, fd => pinObject(fd, path))
  }

  /** @throws KernelError ENOENT */
  detach({ hook, ifindex }: Attachment): void {
    const pinned = this.#openLive({ hook, ifindex })
    if (pinned === undefined) throw new KernelError('detach', `${hook} of device ${ifindex}`, 'ENOENT')
    this.#remove(`${hook}-${ifindex}`, pinned)
  }

  /** Those whose devices are there. */
  list(): Attachment[] {
    return this.#names().flatMap(name => {
      const attachment = parseName(name)
      const pinned = attachment && this.#openLive(attachment)
      if (pinned !== undefined) closeFd(pinned)
      return attachment && pinned !== undefined ? [attachment] : []
    })
  }

  /** Gives every attachment its program of `programs`; removes what has none, or no device any more. */
  updateAll(programs: ReadonlyMap<Hook, number>): void {
    for (const name of this.#names()) {
      const attachment = parseName(name)
      const program = attachment && programs.get(attachment.hook)
      const pinned = attachment && this.#openLive(attachment)
      if (attachment && program !== undefined && pinned !== undefined) {
        closeFd(pinned)
        this.attach(attachment, program)
      } else this.#remove(name, pinned)
    }
  }

  removeAll(): void {
    for (const name of this.#names()) this.#remove(name, openLink(join(this.#folder, name)))
  }

  /** Nothing else than links is expected here; what is there all the same goes when its pin is removed. */
  #names(): string[] {
    return readdirSync(this.#folder)
  }

  /** Descriptor of the pinned link when it is still on that device. */
  #openLive(attachment: Attachment): number | undefined {
    const fd = openLink(this.#path(attachment))
    if (fd === undefined || linkedDevice(fd) === attachment.ifindex) return fd
    closeFd(fd)
    return undefined
  }

  #remove(name: string, link: number | undefined): void {
    // The kernel frees an unpinned link some time later; detaching takes effect at once. ENOLINK: the device is gone.
    if (link !== undefined) usingFd(link, fd => libbpf.linkDetach(fd))
    removePin(join(this.#folder, name))
  }

  #path({ hook, ifindex }: Attachment): string {
    return join(this.#folder, `${hook}-${ifindex}`)
  }
}

/** undefined when there is no pin, or one that is no link */
function openLink(path: string): number | undefined {
  try {
    const fd = openPinned(path)
    if (fd === undefined || LINK_TYPES.includes(linkType(fd))) return fd
    closeFd(fd)
    return undefined
  } catch (error) {
    if (error instanceof KernelError) return undefined
    throw error
  }
}

const [BPF_LINK_TYPE_XDP, BPF_LINK_TYPE_TCX] = [6, 11]
const LINK_TYPES = [BPF_LINK_TYPE_XDP, BPF_LINK_TYPE_TCX]

// struct bpf_link_info in linux/bpf.h: type at 0, xdp.ifindex and tcx.ifindex at 16.
function linkType(fd: number): number {
  return libbpf.infoOf(fd, 48, 'link').getUint32(0, true)
}

function linkedDevice(fd: number): number {
  return libbpf.infoOf(fd, 48, 'link').getUint32(16, true)
}

function parseName(name: string): Attachment | undefined {
  // `wan-egress-3` is not `wan`: the hook is all before the last dash.
  const [, before, number] = /^(.+)-(\d+)$/.exec(name) ?? []
  const hook = hooks.find(candidate => candidate === before)
  return hook && Number(number) > 0 ? { hook, ifindex: Number(number) } : undefined
}

function usingFd(fd: number, action: (fd: number) => void): void {
  try {
    action(fd)
  } finally {
    closeFd(fd)
  }
}

/** Removes a pin if it is there. */
export function removePin(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
}
