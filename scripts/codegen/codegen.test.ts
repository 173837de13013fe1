/** C source -> clang -> BTF -> layout: the real compiler and bpftool, small headers. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventCodec, type MpHdr, mpHdrCodec, pathStateCodec } from '../../schema/abi.gen.ts'
import { readBtf } from './btf.ts'
import { commonPrefix, emitAbi } from './emit.ts'
import { abiHash } from './hash.ts'
import { type Abi, layoutOf } from './layout.ts'

const root = join(import.meta.dirname, '../..')
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'branchline-codegen-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function layout(declarations: string): Abi {
  const object = join(folder, 'test.o')
  const include = `-I/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`
  execFileSync('clang', ['-target', 'bpf', '-g', '-O2', include, '-x', 'c', '-c', '-o', object, '-'], {
    input: `#include <linux/types.h>\n${declarations}`,
  })
  return layoutOf(readBtf(object))
}

describe('layoutOf', () => {
  it('reads offsets, sizes, byte order and arrays', () => {
    expect(layout('struct s { __be32 a; __u16 b; __u8 c[2]; __u64 d[3]; } *x; enum e { E_A, E_B = 7 } y;')).toEqual({
      structs: [
        {
          name: 's',
          size: 32,
          fields: [
            { name: 'a', offset: 0, type: { kind: 'number', bits: 32, bigEndian: true } },
            { name: 'b', offset: 4, type: { kind: 'number', bits: 16, bigEndian: false } },
            { name: 'c', offset: 6, type: { kind: 'bytes', length: 2 } },
            { name: 'd', offset: 8, type: { kind: 'u64s', length: 3 } },
          ],
        },
      ],
      enums: [
        {
          name: 'e',
          values: [
            { name: 'E_A', value: 0 },
            { name: 'E_B', value: 7 },
          ],
        },
      ],
    })
  })

  it.each([
    ['struct s { __u8 a; __u32 b; } *x;', 'struct s.b starts at 4, not at 1: make the padding a member'],
    ['struct s { __u32 a; __u8 b; } *x;', 'struct s ends at 5, not at 8: make the padding a member'],
    ['struct s { __u32 a : 4; __u32 b : 28; } *x;', 'struct s.a is a bitfield'],
    ['struct s { union { __u32 a; __be32 b; }; } *x;', 'struct s has an anonymous member'],
    ['struct s { union { __u32 a; __be32 b; } u; } *x;', 'struct s.u has a type that the ABI does not know: UNION'],
    ['struct s { void *p; } *x;', 'struct s.p has a type that the ABI does not know: PTR'],
    ['struct s { int a; } *x;', 'struct s.a is not unsigned: int'],
    [
      'struct s { __be32 a[4]; } *x;',
      'struct s.a is an array of something else than structs and unsigned numbers in host order',
    ],
    ['enum { A } x;', 'an enum has no name'],
    ['struct { __u32 a; } *x;', 'a struct has no name'],
  ])('refuses %s', (source, message) => {
    expect(() => layout(source)).toThrow(message)
  })
})

describe('abiHash', () => {
  const base = 'struct s { __u32 a; __u32 b; } *x; enum e { E_A } y;'

  it('does not change when declarations move', () => {
    expect(abiHash(layout('enum e { E_A } y; struct s { __u32 a; __u32 b; } *x;'))).toBe(abiHash(layout(base)))
  })

  it.each([
    'struct s { __u32 b; __u32 a; } *x; enum e { E_A } y;',
    'struct s { __u32 a; __be32 b; } *x; enum e { E_A } y;',
    'struct s { __u32 a; __u32 c; } *x; enum e { E_A } y;',
    'struct s { __u32 a; __u32 b; __u64 c; } *x; enum e { E_A } y;',
    'struct t { __u32 a; __u32 b; } *x; enum e { E_A } y;',
    'struct s { __u32 a; __u32 b; } *x; enum e { E_A = 1 } y;',
    'struct s { __u32 a; __u32 b; } *x; enum e { E_A, E_B } y;',
  ])('changes with %s', source => {
    expect(abiHash(layout(source))).not.toBe(abiHash(layout(base)))
  })
})

describe('the generated codecs', () => {
  it('are those of abi.h as it is now', () => {
    execFileSync('make', ['-s', '-C', join(root, 'bpf'), 'out/abi.btf.o'])
    const text = emitAbi(layoutOf(readBtf(join(root, 'bpf/out/abi.btf.o'))))
    expect(readFileSync(join(root, 'schema/abi.gen.ts'), 'utf8')).toBe(text)
  })

  it('write the MP header as wire.h draws it', () => {
    const header: MpHdr = {
      versionType: 0x11,
      path: 2,
      qos: 3,
      fec: 4,
      session: 0x05060708,
      sequence: 0x090a0b0c,
      servicePath: 0x0d0e0f10,
      number: 0x1112131415161718n,
      timestampUs: 0x191a1b1c,
      policyVersion: 0x1d1e1f20,
      tag: 0x2122232425262728n,
    }
    const bytes = mpHdrCodec.encode(header)
    expect(bytes).toEqual(Uint8Array.from({ length: 40 }, (_, index) => (index === 0 ? 0x11 : index + 1)))
    expect(mpHdrCodec.decode(bytes)).toEqual(header)
  })

  it('round-trip arrays and numbers of every width, from a view into a larger buffer', () => {
    for (const codec of [eventCodec, pathStateCodec]) {
      const bytes = Uint8Array.from({ length: codec.size }, (_, index) => (index * 7) & 0xff)
      const padded = new Uint8Array([1, 2, 3, ...bytes, 4]).subarray(3, 3 + codec.size)
      expect(
        codec === eventCodec
          ? eventCodec.encode(eventCodec.decode(padded))
          : pathStateCodec.encode(pathStateCodec.decode(padded)),
      ).toEqual(bytes)
    }
  })

  it('copy byte arrays and refuse wrong lengths', () => {
    const bytes = new Uint8Array(eventCodec.size)
    const event = eventCodec.decode(bytes)
    bytes.fill(255)
    expect(event.src).toEqual(new Uint8Array(16))
    expect(() => eventCodec.encode({ ...event, src: new Uint8Array(4) })).toThrow(RangeError)
    expect(() => eventCodec.decode(bytes.subarray(1))).toThrow(RangeError)
  })
})

it('finds the prefix that all names of an enum share', () => {
  expect(commonPrefix(['MP_PATH_A', 'MP_PATH_B'])).toBe('MP_PATH_')
  expect(commonPrefix(['MP_PATH', 'MP_TAG'])).toBe('MP_')
  expect(commonPrefix(['A', 'B'])).toBe('')
})
