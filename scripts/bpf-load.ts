/**
 * Loads every program on the running kernel and prints what the verifier made of it. Exit code 1 when one is refused.
 *   node scripts/bpf-load.ts [--esp] [--folder <object files>]
 * ipsec.bpf.o needs the kfuncs of xfrm_interface (bpf/ipsec.bpf.c): a kernel that cannot have them is told of, and fails with --esp.
 */
import { parseArgs } from 'node:util'
import { programInfo } from '../agent/kernel/bpf-object.ts'
import { KernelError } from '../agent/kernel/error.ts'
import { openLinuxKernel } from '../agent/kernel/linux.ts'
import { findObjectFolder, hookPrograms, hooksFor, loadPrograms, objectFiles } from '../agent/kernel/programs.ts'

const { values: options } = parseArgs({ options: { esp: { type: 'boolean' }, folder: { type: 'string' } } })
const folder = options.folder ?? findObjectFolder()
const kernel = openLinuxKernel()
const { esp, espReason, kernel: release } = await kernel.capabilities()
kernel.close()
const wanted = hooksFor(esp || options.esp === true)
console.log(`Linux ${release}`)
if (!esp) console.log(`ipsec-egress, ipsec-ingress: not for this kernel: ${espReason}`)

// Object by object, so that one refused program does not hide the others.
for (const file of objectFiles(wanted)) {
  try {
    const loaded = loadPrograms(
      folder,
      wanted.filter(hook => hookPrograms[hook].object === file),
    )
    for (const [hook, fd] of loaded.programs) {
      const { verified, jitedBytes } = programInfo(fd)
      console.log(
        `${hook.padEnd(14)} ${String(verified).padStart(8)} instructions verified ${String(jitedBytes).padStart(7)} bytes`,
      )
    }
    console.log(`${file.padEnd(14)} ${loaded.loadMs.toFixed(0).padStart(8)} ms`)
    loaded.close()
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    console.error(error.message)
    process.exitCode = 1
  }
}
