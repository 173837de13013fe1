/** The kernel port on Linux. */
import { probeCapabilities } from './capabilities.ts'
import { openDataplane } from './dataplane.ts'
import { monotonicNs } from './native.ts'
import { LinuxNetwork } from './network.ts'
import type { KernelPort } from './port.ts'
import { findObjectFolder } from './programs.ts'
import { LinuxXfrm } from './xfrm.ts'

export interface LinuxKernelOptions {
  /** Folder of the BPF object files; default: bpf/out of the source tree, or bpf beside the bundle. */
  objects?: string
}

/** Works on the network namespace that the process is in. `close` leaves pinned objects and kernel state alone. */
export function openLinuxKernel(options: LinuxKernelOptions = {}): KernelPort {
  const network = new LinuxNetwork()
  const xfrm = new LinuxXfrm()
  return {
    network,
    xfrm,
    capabilities: () => probeCapabilities(network, xfrm),
    openDataplane: async dataplane => openDataplane({ ...dataplane, objects: options.objects ?? findObjectFolder() }),
    monotonic: monotonicNs,
    close: () => {
      network.close()
      xfrm.close()
    },
  }
}
