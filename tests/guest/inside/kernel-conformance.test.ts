/** The kernel port on the guest's kernel, which has ESP. */
import { kernelConformance } from '../../../agent/kernel/conformance.ts'
import { linuxMachine } from '../../net/kernel-machine.ts'

// KNOWN DEFECT, not understood: where dataplanes are opened one after the other in one process, the FIB's worker dies on this emulated machine by
// SIGSEGV (reads at 0x100 to 0x124, also without V8's optimisers) in every second run. The same rows hold on the host's kernel (tests/net).
kernelConformance('Linux with ESP', true, linuxMachine, { fib: true })
