/**
 * Which routes share addresses with a prefix, found without a look at all of them. Prefixes of one length never overlap unless they are equal, so there
 * is one level per length in use: it lists the longer prefixes below each prefix of that length. A route stands once in every level above it; tables
 * have few lengths. The first prefix of a length costs a pass over all, each further one a look-up per level.
 */
import { formatPrefix, networkBytes, type Prefix } from '../../schema/address.ts'

interface Entry {
  text: string
  prefix: Prefix
}

interface Level {
  length: number
  /** Prefix of this level -> longer prefixes in it. */
  below: Map<string, Set<string>>
}

export class OverlapIndex {
  readonly #entries = new Map<string, Entry>()
  readonly #levels = { 4: new Map<number, Level>(), 6: new Map<number, Level>() }

  /** @param text the prefix as `formatPrefix` writes it */
  add(text: string, prefix: Prefix): void {
    const entry = { text, prefix }
    this.#level(prefix)
    this.#entries.set(text, entry)
    for (const level of this.#levels[prefix.family].values()) put(level, entry)
  }

  remove(text: string): void {
    const entry = this.#entries.get(text)
    if (!entry) return
    this.#entries.delete(text)
    for (const level of this.#levels[entry.prefix.family].values()) {
      if (level.length >= entry.prefix.length) continue
      const above = cut(entry.prefix, level.length)
      const below = level.below.get(above)
      below?.delete(text)
      if (below?.size === 0) level.below.delete(above)
    }
  }

  /** Prefixes that contain this one or lie in it, itself left out. */
  *overlapping(prefix: Prefix): Iterable<string> {
    for (const { length } of this.#levels[prefix.family].values()) {
      if (length >= prefix.length) continue
      const above = cut(prefix, length)
      if (this.#entries.has(above)) yield above
    }
    yield* this.#level(prefix).below.get(cut(prefix, prefix.length)) ?? []
  }

  #level({ family, length }: Prefix): Level {
    const levels = this.#levels[family]
    const known = levels.get(length)
    if (known) return known
    const level: Level = { length, below: new Map() }
    for (const entry of this.#entries.values()) if (entry.prefix.family === family) put(level, entry)
    levels.set(length, level)
    return level
  }
}

function put(level: Level, { text, prefix }: Entry): void {
  if (level.length >= prefix.length) return
  const above = cut(prefix, level.length)
  const below = level.below.get(above)
  if (below) below.add(text)
  else level.below.set(above, new Set([text]))
}

function cut(prefix: Prefix, length: number): string {
  const shorter = { ...prefix, length }
  return formatPrefix({ ...shorter, bytes: networkBytes(shorter) })
}
