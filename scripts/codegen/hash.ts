/** The layout hash: what tells an agent that pinned maps were made by another build. */
import { createHash } from 'node:crypto'
import { type Abi, type FieldType, sizeOf } from './layout.ts'

/**
 * First eight bytes (big-endian) of SHA-256 over a text of every name, offset, size, type and enum value. Sorted, so that moving a declaration
 * within abi.h changes nothing.
 */
export function abiHash(abi: Abi): bigint {
  return createHash('sha256').update(canonicalText(abi)).digest().readBigUInt64BE()
}

export function canonicalText(abi: Abi): string {
  const structs = abi.structs.map(({ name, size, fields }) =>
    [
      `struct ${name} ${size}`,
      ...fields.map(field => `  ${field.offset} ${sizeOf(field.type)} ${typeName(field.type)} ${field.name}`),
    ].join('\n'),
  )
  const enums = abi.enums.map(({ name, values }) =>
    [`enum ${name}`, ...values.map(({ name, value }) => `  ${value} ${name}`)].join('\n'),
  )
  return [...structs, ...enums].sort().join('\n')
}

function typeName(type: FieldType): string {
  if (type.kind === 'bytes') return 'u8[]'
  if (type.kind === 'u16s') return 'u16[]'
  if (type.kind === 'u32s') return 'u32[]'
  if (type.kind === 'structs') return `${type.of}[]`
  if (type.kind === 'u64s') return 'u64[]'
  return `${type.bigEndian ? 'be' : 'u'}${type.bits}`
}
