/** This kernel as a conformance machine: a fresh namespace and a fresh bpffs folder for each test. */
import { existsSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Machine } from '../../agent/kernel/conformance.ts'
import { openLinuxKernel } from '../../agent/kernel/linux.ts'
import type { Dataplane, KernelPort } from '../../agent/kernel/port.ts'
import { enterFreshNamespace } from './namespace.ts'

let count = 0

export function linuxMachine(): Machine {
  const namespace = enterFreshNamespace()
  const bpffs = `/sys/fs/bpf/branchline-test-${process.pid}-${count++}`
  const dataplanes: Dataplane[] = []
  const open = (): KernelPort => {
    const port = openLinuxKernel()
    const { openDataplane: openOne } = port
    const openDataplane: KernelPort['openDataplane'] = async options => {
      const dataplane = await openOne(options)
      dataplanes.push(dataplane)
      return dataplane
    }
    return Object.assign(port, { openDataplane })
  }
  let kernel = open()
  return {
    get kernel(): KernelPort {
      return kernel
    },
    bpffs,
    restart: () => {
      // The dataplane that the ended agent had open stays open: its descriptors change nothing about what is pinned.
      kernel.close()
      kernel = open()
    },
    end: () => {
      // Open descriptors would keep the maps of every test, 200 MB each.
      for (const dataplane of dataplanes) dataplane.close()
      kernel.close()
      removePins(bpffs)
      namespace.leave()
    },
  }
}

/** bpffs knows no recursive removal with stat, which rmSync does. */
function removePins(folder: string): void {
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) removePins(path)
    else unlinkSync(path)
  }
  rmdirSync(folder)
}
