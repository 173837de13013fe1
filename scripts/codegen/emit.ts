/** Layouts -> the text of schema/abi.gen.ts. */
import { abiHash } from './hash.ts'
import type { Abi, EnumLayout, Field, StructLayout } from './layout.ts'

const CODEC_IMPORTS = [
  'type Codec',
  ...['putBytes', 'putStructs', 'putU16s', 'putU32s', 'putU64s'],
  ...['takeBytes', 'takeStructs', 'takeU16s', 'takeU32s', 'takeU64s', 'viewOf'],
]

export function emitAbi(abi: Abi): string {
  const constants = abi.enums.filter(({ name }) => name === 'abi_constant')
  const enums = abi.enums.filter(({ name }) => name !== 'abi_constant')
  return [
    '// Generated from bpf/abi.h and bpf/wire.h by `npm run codegen`. Do not edit.',
    `import {${CODEC_IMPORTS.join(', ')}} from './codec.ts'\n`,
    '/** Hash over all layouts, names and values below: equal exactly when maps mean the same. */',
    `export const ABI_HASH = 0x${abiHash(abi).toString(16).padStart(16, '0')}n\n`,
    ...constants.flatMap(({ values }) => values.map(({ name, value }) => `export const ${name} = ${value}`)),
    '',
    ...enums.map(emitEnum),
    ...abi.structs.map(emitStruct),
  ].join('\n')
}

function emitEnum({ name, values }: EnumLayout): string {
  // `enum drop_reason` ends with DROP_REASONS: how many there are, not one of them.
  const countName = `${name.toUpperCase()}S`
  const count = values.find(value => value.name === countName)
  const members = values.filter(value => value !== count)
  const prefix = commonPrefix(members.map(member => member.name))
  // Of two names for one value (MP_FIRST_HANDSHAKE, MP_INIT) the later is shown.
  const names = new Map(members.map(member => [member.value, kebab(member.name.slice(prefix.length))]))
  return [
    `/** enum ${name} */`,
    `export const ${camel(name)} = {`,
    ...members.map(member => `  ${member.name}: ${member.value},`),
    '} as const',
    ...(count ? [`export const ${count.name} = ${count.value}`] : []),
    `/** Value -> name without its prefix. */`,
    `export const ${camel(name)}Names: Readonly<Record<number, string>> = {`,
    ...[...names].map(([value, text]) => `  ${value}: '${text}',`),
    '}\n',
  ].join('\n')
}

function emitStruct(struct: StructLayout): string {
  const type = pascal(struct.name)
  return [
    `/** struct ${struct.name}, ${struct.size} bytes */`,
    `export interface ${type} {`,
    ...struct.fields.map(field => `  ${camel(field.name)}: ${fieldTypeScript(field)}`),
    '}\n',
    `export const ${camel(struct.name)}Codec: Codec<${type}> = {`,
    `  size: ${struct.size},`,
    '  encode: value => {',
    `    const bytes = new Uint8Array(${struct.size})`,
    '    const view = viewOf(bytes)',
    ...struct.fields.map(field => `    ${encodeField(field)}`),
    '    return bytes',
    '  },',
    '  decode: bytes => {',
    '    const view = viewOf(bytes)',
    '    return {',
    ...struct.fields.map(field => `      ${camel(field.name)}: ${decodeField(field)},`),
    '    }',
    '  },',
    '}\n',
  ].join('\n')
}

function fieldTypeScript({ type }: Field): string {
  if (type.kind === 'bytes') return 'Uint8Array'
  if (type.kind === 'structs') return `${pascal(type.of)}[]`
  if (type.kind === 'u16s' || type.kind === 'u32s') return 'number[]'
  if (type.kind === 'u64s') return 'bigint[]'
  return type.bits === 64 ? 'bigint' : 'number'
}

function encodeField({ name, offset, type }: Field): string {
  const value = `value.${camel(name)}`
  if (type.kind === 'bytes') return `putBytes(bytes, ${offset}, ${type.length}, ${value})`
  if (type.kind === 'u16s') return `putU16s(view, ${offset}, ${type.length}, ${value})`
  if (type.kind === 'u32s') return `putU32s(view, ${offset}, ${type.length}, ${value})`
  if (type.kind === 'structs') return `putStructs(bytes, ${offset}, ${type.length}, ${camel(type.of)}Codec, ${value})`
  if (type.kind === 'u64s') return `putU64s(view, ${offset}, ${type.length}, ${value})`
  return `view.set${accessor(type.bits)}(${offset}, ${value}${byteOrder(type)})`
}

function decodeField({ offset, type }: Field): string {
  if (type.kind === 'bytes') return `takeBytes(view, ${offset}, ${type.length})`
  if (type.kind === 'u16s') return `takeU16s(view, ${offset}, ${type.length})`
  if (type.kind === 'u32s') return `takeU32s(view, ${offset}, ${type.length})`
  if (type.kind === 'structs') return `takeStructs(bytes, ${offset}, ${type.length}, ${camel(type.of)}Codec)`
  if (type.kind === 'u64s') return `takeU64s(view, ${offset}, ${type.length})`
  return `view.get${accessor(type.bits)}(${offset}${byteOrder(type)})`
}

function accessor(bits: number): string {
  return bits === 64 ? 'BigUint64' : `Uint${bits}`
}

function byteOrder(type: { bits: number; bigEndian: boolean }): string {
  return type.bits === 8 || type.bigEndian ? '' : ', true'
}

/** The longest prefix of all names that ends with an underscore. */
export function commonPrefix(names: readonly string[]): string {
  const [first = ''] = names
  for (let end = first.lastIndexOf('_') + 1; end > 0; end = first.lastIndexOf('_', end - 2) + 1) {
    const prefix = first.slice(0, end)
    if (names.every(name => name.startsWith(prefix))) return prefix
  }
  return ''
}

function kebab(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}

function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

function pascal(name: string): string {
  return camel(`_${name}`)
}
