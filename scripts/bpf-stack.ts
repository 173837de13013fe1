/**
 * Prints the deepest BPF stack of every program, and the calls that lead there. Exit code 1 when one leaves less than SPARE bytes.
 *   node scripts/bpf-stack.ts [--folder <object files>]
 * From the object files alone, so that programs that this kernel cannot load are told of too, and before the one more spilled register that no kernel takes.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { findObjectFolder } from '../agent/kernel/programs.ts'
import { type BpfFunction, deepest, readFunctions } from './bpf-stack/chain.ts'

/** MAX_BPF_STACK in linux/filter.h: of a program and all that it calls. */
const STACK = 512
const SPARE = 32

const { values: options } = parseArgs({ options: { folder: { type: 'string' } } })
const folder = options.folder ?? findObjectFolder()

for (const file of readdirSync(folder).filter(name => name.endsWith('.bpf.o'))) {
  for (const program of readFunctions(readFileSync(join(folder, file))).filter(found => found.isProgram)) tell(program)
}

function tell(program: BpfFunction): void {
  const { bytes, frames } = deepest(program)
  const chain = frames.map(({ name, frame }) => `${name} ${frame}`).join(', ')
  const tight = bytes > STACK - SPARE
  console.log(`${program.name.padEnd(16)}${String(bytes).padStart(4)} of ${STACK} bytes of stack: ${chain}`)
  if (!tight) return
  console.error(`${program.name}: leaves less than ${SPARE} bytes of stack`)
  process.exitCode = 1
}
