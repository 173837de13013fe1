import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { deepest, readFunctions } from './chain.ts'

/** Frames of 80, 48 and 112 bytes; the callback's counts, a function of the kernel's does not, and the shallow call changes nothing. */
const SOURCE = `
#define SEC(name) __attribute__((section(name), used))
#define FRAME(bytes) char frame[bytes]; asm volatile("" : : "r"(frame) : "memory")
#define NOINLINE __attribute__((noinline))

static long (*bpf_loop)(unsigned count, void *callback, void *context, unsigned long long flags) = (void *)181;
extern int of_the_kernel(void *context) SEC(".ksyms");

static NOINLINE long callback(unsigned index, void *context) { FRAME(112); return frame[index & 1]; }
NOINLINE int shallow(void *context) { FRAME(16); return frame[0]; }
NOINLINE int middle(void *context) { FRAME(48); return bpf_loop(3, callback, (void *)frame, 0) + frame[0]; }
SEC("tc") int program(void *context) { FRAME(80); return shallow(context) + middle(context) + of_the_kernel(context) + frame[0]; }
`

function compile(source: string): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'bpf-stack-'))
  try {
    const [from, to] = [join(folder, 'a.c'), join(folder, 'a.o')]
    writeFileSync(from, source)
    execFileSync('clang', ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-c', from, '-o', to])
    return readFileSync(to)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('the deepest chain of calls, callbacks included', () => {
  const program = readFunctions(compile(SOURCE)).find(found => found.isProgram)
  if (!program) throw new Error('no program')
  const { bytes, frames } = deepest(program)
  expect(frames.map(({ name, frame }) => [name, frame])).toEqual([
    ['program', 80],
    ['middle', 48],
    ['callback', 112],
  ])
  expect(bytes).toBe(240)
})
