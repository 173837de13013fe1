/** What of an ELF64 little-endian relocatable file (elf(5)) tells who calls whom. */

export interface Section {
  readonly name: string
  readonly type: number
  readonly flags: number
  readonly link: number
  readonly info: number
  readonly data: DataView
}

export interface ElfSymbol {
  readonly name: string
  readonly type: number
  readonly section: number
  readonly value: number
  readonly size: number
}

export interface Relocation {
  readonly offset: number
  readonly symbol: number
}

export const STT_FUNC = 2
export const SHF_EXECINSTR = 4
const SHT_SYMTAB = 2
const SHT_REL = 9

export function readSections(file: Uint8Array): Section[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const [first, size, count, names] = [
    Number(view.getBigUint64(40, true)),
    view.getUint16(58, true),
    view.getUint16(60, true),
    view.getUint16(62, true),
  ]
  const headers = Array.from(
    { length: count },
    (_, index) => new DataView(view.buffer, view.byteOffset + first + index * size, size),
  )
  const dataOf = (header: DataView) => {
    const length = header.getUint32(4, true) === 8 /* SHT_NOBITS */ ? 0 : Number(header.getBigUint64(32, true))
    return new DataView(view.buffer, view.byteOffset + Number(header.getBigUint64(24, true)), length)
  }
  const strings = headers[names]
  if (!strings) throw new Error('no section names')
  return headers.map(header => ({
    name: stringAt(dataOf(strings), header.getUint32(0, true)),
    type: header.getUint32(4, true),
    flags: Number(header.getBigUint64(8, true)),
    link: header.getUint32(40, true),
    info: header.getUint32(44, true),
    data: dataOf(header),
  }))
}

export function readSymbols(sections: readonly Section[]): ElfSymbol[] {
  const table = sections.find(section => section.type === SHT_SYMTAB)
  const strings = table && sections[table.link]?.data
  if (!table || !strings) throw new Error('no symbol table')
  return entries(table.data, 24).map(symbol => ({
    name: stringAt(strings, symbol.getUint32(0, true)),
    type: symbol.getUint8(4) & 0xf,
    section: symbol.getUint16(6, true),
    value: Number(symbol.getBigUint64(8, true)),
    size: Number(symbol.getBigUint64(16, true)),
  }))
}

/** Of the section of this number. */
export function readRelocations(sections: readonly Section[], index: number): Relocation[] {
  return sections
    .filter(section => section.type === SHT_REL && section.info === index)
    .flatMap(section => entries(section.data, 16))
    .map(entry => ({ offset: Number(entry.getBigUint64(0, true)), symbol: entry.getUint32(12, true) }))
}

function entries(data: DataView, size: number): DataView[] {
  return Array.from(
    { length: data.byteLength / size },
    (_, index) => new DataView(data.buffer, data.byteOffset + index * size, size),
  )
}

function stringAt(strings: DataView, offset: number): string {
  let end = offset
  while (strings.getUint8(end)) end++
  return Buffer.from(strings.buffer, strings.byteOffset + offset, end - offset).toString()
}
