/**
 * Loads every program on the running kernel and prints what the verifier made of it. Exit code 1 when one is refused.
 *   node scripts/bpf-load.ts [--no-esp] [--folder <object files>]
 * --no-esp leaves out the programs that need the kfuncs of module xfrm_interface.
 */
import { parseArgs } from 'node:util'
import { programInfo } from '../agent/kernel/bpf-object.ts'
import { KernelError } from '../agent/kernel/error.ts'
import { findObjectFolder, hookPrograms, hooksFor, loadPrograms, objectFiles } from '../agent/kernel/programs.ts'

const { values: options } = parseArgs({ options: { 'no-esp': { type: 'boolean' }, folder: { type: 'string' } } })
const folder = options.folder ?? findObjectFolder()
const wanted = hooksFor(!options['no-esp'])

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
