/** The kernel port on this kernel. Where it has no ESP, the guest runs the same with it (tests/guest/inside). */
import { kernelConformance } from '../../agent/kernel/conformance.ts'
import { openLinuxKernel } from '../../agent/kernel/linux.ts'
import { linuxMachine } from './kernel-machine.ts'

const kernel = openLinuxKernel()
const { esp } = await kernel.capabilities()
kernel.close()

kernelConformance(`Linux ${esp ? 'with' : 'without'} ESP`, esp, linuxMachine)
