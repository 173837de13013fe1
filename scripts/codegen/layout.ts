/** BTF -> the layouts that TypeScript gets. Everything a reader of the generated code could trip over is refused here. */
import type { BtfType, OtherType } from './btf.ts'

export type FieldType =
  | { kind: 'number'; bits: 8 | 16 | 32 | 64; bigEndian: boolean }
  | { kind: 'bytes'; length: number }
  | { kind: 'u16s'; length: number }
  | { kind: 'u32s'; length: number }
  | { kind: 'u64s'; length: number }
  | { kind: 'structs'; length: number; of: string; size: number }

export interface Field {
  name: string
  /** Bytes. */
  offset: number
  type: FieldType
}

export interface StructLayout {
  name: string
  /** Bytes. */
  size: number
  fields: Field[]
}

export interface EnumLayout {
  name: string
  values: { name: string; value: number }[]
}

export interface Abi {
  structs: StructLayout[]
  enums: EnumLayout[]
}

type Types = ReadonlyMap<number, BtfType | OtherType>

/** Every named struct and enum, in file order. @throws Error that names the struct and member which break the rules of abi.h */
export function layoutOf(types: Types): Abi {
  const structs: StructLayout[] = []
  const enums: EnumLayout[] = []
  for (const type of types.values()) {
    if (isKind(type, 'STRUCT')) structs.push(structLayout(types, type))
    if (isKind(type, 'ENUM')) {
      if (type.name === '(anon)') throw new Error('an enum has no name')
      enums.push({ name: type.name, values: type.values.map(({ name, val }) => ({ name, value: val })) })
    }
  }
  return { structs, enums }
}

type Kind = BtfType['kind']

function isKind<K extends Kind>(type: BtfType | OtherType | undefined, kind: K): type is Extract<BtfType, { kind: K }> {
  return type?.kind === kind
}

function structLayout(types: Types, struct: Extract<BtfType, { kind: 'STRUCT' }>): StructLayout {
  const at = `struct ${struct.name}`
  if (struct.name === '(anon)') throw new Error('a struct has no name')
  let end = 0
  const fields = struct.members.map((member): Field => {
    const where = `${at}.${member.name}`
    if (member.name === '(anon)') throw new Error(`${at} has an anonymous member`)
    if (member.bitfield_size !== 0) throw new Error(`${where} is a bitfield`)
    const offset = member.bits_offset / 8
    const type = fieldType(types, member.type_id, where)
    if (offset !== end) throw new Error(`${where} starts at ${offset}, not at ${end}: make the padding a member`)
    end = offset + sizeOf(type)
    return { name: member.name, offset, type }
  })
  if (end !== struct.size) throw new Error(`${at} ends at ${end}, not at ${struct.size}: make the padding a member`)
  return { name: struct.name, size: struct.size, fields }
}

function fieldType(types: Types, id: number, where: string): FieldType {
  const type = types.get(id)
  if (isKind(type, 'ARRAY')) {
    const struct = types.get(type.type_id)
    if (isKind(struct, 'STRUCT')) return { kind: 'structs', length: type.nr_elems, of: struct.name, size: struct.size }
    const element = fieldType(types, type.type_id, where)
    if (element.kind === 'number' && !element.bigEndian) {
      if (element.bits === 8) return { kind: 'bytes', length: type.nr_elems }
      if (element.bits === 16) return { kind: 'u16s', length: type.nr_elems }
      if (element.bits === 32) return { kind: 'u32s', length: type.nr_elems }
      if (element.bits === 64) return { kind: 'u64s', length: type.nr_elems }
    }
    throw new Error(`${where} is an array of something else than structs and unsigned numbers in host order`)
  }
  let bigEndian = false
  let base: BtfType | OtherType | undefined = type
  while (isKind(base, 'TYPEDEF')) {
    bigEndian ||= /^__be(16|32|64)$/.test(base.name)
    base = types.get(base.type_id)
  }
  if (!isKind(base, 'INT')) throw new Error(`${where} has a type that the ABI does not know: ${base?.kind}`)
  if (base.encoding !== '(none)') throw new Error(`${where} is not unsigned: ${base.name}`)
  const bits = base.size * 8
  if (bits !== 8 && bits !== 16 && bits !== 32 && bits !== 64) throw new Error(`${where} has ${bits} bits`)
  return { kind: 'number', bits, bigEndian }
}

export function sizeOf(type: FieldType): number {
  if (type.kind === 'number') return type.bits / 8
  if (type.kind === 'structs') return type.length * type.size
  return type.length * { bytes: 1, u16s: 2, u32s: 4, u64s: 8 }[type.kind]
}
