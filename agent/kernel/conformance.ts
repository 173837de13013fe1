/**
 * What every kernel port does, as tests: run on the fake in the unit tier, on Linux in a namespace of its own, and in the guest, where ESP is.
 * A difference between the fake and Linux is a bug of the fake.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { dataplaneConformance } from './conformance/dataplane.ts'
import { networkConformance } from './conformance/network.ts'
import { queueConformance } from './conformance/queues.ts'
import { routeConformance } from './conformance/routes.ts'
import { xfrmConformance } from './conformance/xfrm.ts'
import { KernelError } from './error.ts'
import type { KernelPort, Link } from './port.ts'

/** One machine without devices but lo; made anew for each test. */
export interface Machine {
  readonly kernel: KernelPort
  /** A folder for pins that does not exist yet. */
  readonly bpffs: string
  /** The agent ends without cleaning up; `kernel` is that of its successor from now on. */
  restart(): void
  /** Takes the machine away, whatever state it is in. */
  end(): void
}

export type MachineUnderTest = () => Machine

/** @param esp can this machine do ESP? */
export function kernelConformance(name: string, esp: boolean, make: () => Machine): void {
  describe(name, () => {
    let machine: Machine
    beforeEach(() => {
      machine = make()
    })
    afterEach(() => machine.end())
    const current: MachineUnderTest = () => machine

    it('tells what the machine can do', async () => {
      const { kernel } = current()
      const before = await kernel.network.links()
      const capabilities = await kernel.capabilities()
      expect(capabilities).toMatchObject({ esp, problems: [] })
      expect(capabilities.kernel).toMatch(/^\d+\.\d+/)
      expect(typeof capabilities.espReason).toBe(esp ? 'undefined' : 'string')
      // Probing leaves nothing behind.
      expect(await kernel.network.links()).toEqual(before)
      if (esp) expect(await kernel.xfrm.associations()).toEqual([])
    })

    it('has a clock that does not go back', () => {
      const { kernel } = current()
      const first = kernel.monotonic()
      expect(kernel.monotonic()).toBeGreaterThanOrEqual(first)
    })

    networkConformance(current)
    queueConformance(current)
    routeConformance(current)
    dataplaneConformance(current)
    xfrmConformance(current, esp)
  })
}

/** Expects a KernelError of this code. */
export async function expectCode(action: Promise<unknown> | (() => unknown), code: string): Promise<void> {
  let caught: unknown
  try {
    await (typeof action === 'function' ? action() : action)
  } catch (error) {
    caught = error
  }
  expect(caught).toBeInstanceOf(KernelError)
  expect(caught).toMatchObject({ code })
}

/** A veth pair, both ends up. */
export async function cable({ kernel: { network } }: Machine, name: string, peer: string): Promise<[Link, Link]> {
  const link = await network.createLink({ kind: 'veth', name, peer, mtu: 1400 })
  const other = (await network.links()).find(candidate => candidate.name === peer)
  if (!other) throw new Error(`no peer ${peer}`)
  await network.setLink(link.ifindex, { up: true })
  await network.setLink(other.ifindex, { up: true })
  return [link, other]
}
