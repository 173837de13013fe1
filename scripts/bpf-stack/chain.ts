/** The BPF stack that a program needs: the frames of its deepest chain of calls, as the verifier adds them up (check_max_stack_depth). */
import {
  type ElfSymbol,
  readRelocations,
  readSections,
  readSymbols,
  type Section,
  SHF_EXECINSTR,
  STT_FUNC,
} from './elf.ts'

export interface BpfFunction {
  readonly name: string
  /** In a section of its own, for a hook; others are in .text. */
  readonly isProgram: boolean
  /** Bytes, in the units that the verifier counts for a JIT. */
  readonly frame: number
  readonly calls: readonly BpfFunction[]
}

export interface Chain {
  readonly bytes: number
  readonly frames: readonly BpfFunction[]
}

/** The chain of calls from a function on that needs the most stack. BPF has no recursion. */
export function deepest(from: BpfFunction, known = new Map<BpfFunction, Chain>()): Chain {
  const before = known.get(from)
  if (before) return before
  const below = from.calls.map(callee => deepest(callee, known))
  const most = below.reduce((a, b) => (b.bytes > a.bytes ? b : a), { bytes: 0, frames: [] })
  const chain = { bytes: from.frame + most.bytes, frames: [from, ...most.frames] }
  known.set(from, chain)
  return chain
}

/** All functions of an object file. */
export function readFunctions(file: Uint8Array): BpfFunction[] {
  const sections = readSections(file)
  const symbols = readSymbols(sections)
  const found = symbols
    .filter(symbol => symbol.type === STT_FUNC)
    .map(symbol => ({ symbol, calls: [] as BpfFunction[], code: codeOf(sections, symbol) }))
    .map(({ symbol, calls, code }) => ({
      symbol,
      code,
      calls,
      entry: { name: symbol.name, isProgram: sections[symbol.section]?.name !== '.text', frame: frameOf(code), calls },
    }))
  for (const { symbol, code, calls } of found) {
    for (const { section, offset } of targetsOf(sections, symbols, symbol, code)) {
      const callee = found.find(other => other.symbol.section === section && other.symbol.value === offset)
      if (!callee) throw new Error(`${symbol.name} calls what is no function`)
      calls.push(callee.entry)
    }
  }
  return found.map(({ entry }) => entry)
}

/** An instruction of linux/bpf.h. */
interface Instruction {
  readonly code: number
  readonly dst: number
  readonly src: number
  readonly offset: number
  readonly imm: number
}

const BYTES = 8
const FRAME_POINTER = 10
const LD_IMM64 = 0x18
const CALL = 0x85
const PSEUDO_CALL = 1
const MOV64_REGISTER = 0xbf
const ADD64_CONSTANT = 0x07

function codeOf(sections: readonly Section[], { section, value, size }: ElfSymbol): Instruction[] {
  const data = sections[section]?.data
  if (!data) return []
  return Array.from({ length: size / BYTES }, (_, index) => {
    const at = value + index * BYTES
    const registers = data.getUint8(at + 1)
    return {
      code: data.getUint8(at),
      dst: registers & 0xf,
      src: registers >> 4,
      offset: data.getInt16(at + 2, true),
      imm: data.getInt32(at + 4, true),
    }
  })
}

/** Deepest byte that is read, written or pointed to, in units of 16. */
function frameOf(code: readonly Instruction[]): number {
  const copies = new Set<number>()
  let lowest = 0
  for (const { code: operation, dst, src, offset, imm } of code) {
    const kind = operation & 7
    const base = kind === 1 ? src : kind === 2 || kind === 3 ? dst : -1
    if (base === FRAME_POINTER) lowest = Math.min(lowest, offset)
    // A pointer into the frame: a copy of r10, then the distance.
    if (operation === MOV64_REGISTER && src === FRAME_POINTER) copies.add(dst)
    else if (operation === ADD64_CONSTANT && copies.delete(dst)) lowest = Math.min(lowest, imm)
  }
  return Math.ceil(-lowest / 16) * 16
}

/** What is called, and what is handed to a helper as a callback. */
function targetsOf(
  sections: readonly Section[],
  symbols: readonly ElfSymbol[],
  from: ElfSymbol,
  code: readonly Instruction[],
) {
  const relocated = new Map(
    readRelocations(sections, from.section).map(({ offset, symbol }) => [offset, symbols[symbol]]),
  )
  return code.flatMap(({ code: operation, src, imm }, index) => {
    const at = from.value + index * BYTES
    const symbol = relocated.get(at)
    // A function of the kernel, which has its own stack.
    if (symbol?.section === 0) return []
    if (operation === CALL && src === PSEUDO_CALL)
      return [{ section: symbol?.section ?? from.section, offset: (symbol?.value ?? at) + (imm + 1) * BYTES }]
    const isCode = symbol && (sections[symbol.section]?.flags ?? 0) & SHF_EXECINSTR
    return operation === LD_IMM64 && isCode ? [{ section: symbol.section, offset: symbol.value + imm }] : []
  })
}
