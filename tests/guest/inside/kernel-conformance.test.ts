/** The kernel port on the guest's kernel, which has ESP. */
import { kernelConformance } from '../../../agent/kernel/conformance.ts'
import { linuxMachine } from '../../net/kernel-machine.ts'

kernelConformance('Linux with ESP', true, linuxMachine)
