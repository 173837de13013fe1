import { randomInt } from 'node:crypto'
import { expect, test } from 'vitest'
import { formatPrefix, networkBytes, type Prefix, prefixesOverlap } from '../../schema/address.ts'
import { OwnedPrefixes, PrefixStore } from './owned-prefixes.ts'

const seed = Number(process.env.FUZZ_SEED ?? randomInt(2 ** 31))
console.log(`seed ${seed} (repeat with FUZZ_SEED=${seed})`)

/** mulberry32: the same prefixes for the same seed. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

const wordsOf = ({ bytes }: Prefix) => {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return Uint32Array.from({ length: bytes.length / 4 }, (_, word) => view.getUint32(4 * word))
}

/** Few bits at the start, in the middle and at the end of an address vary, so that many prefixes overlap. */
function draw(family: 4 | 6, random: (below: number) => number): Prefix {
  const bytes = new Uint8Array(family === 4 ? 4 : 16)
  for (const at of [0, bytes.length / 2, bytes.length - 1]) bytes[at] = random(4) * 0x41
  const prefix: Prefix = { family, bytes, length: random(8 * bytes.length + 1) }
  return { ...prefix, bytes: networkBytes(prefix) }
}

test.each([4, 6] as const)('IPv%i: the same answers as a list of all prefixes, while they come and go', family => {
  const random = numbers(seed)
  const store = new PrefixStore(family)
  const trie = new OwnedPrefixes(store)
  const present = new Map<string, { prefix: Prefix; owner: number }>()
  const textOf = (node: number) => {
    const bytes = new Uint8Array(family === 4 ? 4 : 16)
    const view = new DataView(bytes.buffer)
    for (let word = 0; word < store.words; word++)
      view.setUint32(4 * word, store.address[node * store.words + word] ?? 0)
    return formatPrefix({ family, bytes, length: store.length[node] ?? 0 })
  }
  let conflicts = 0
  for (let step = 0; step < 6000; step++) {
    const prefix = draw(family, random)
    const [words, text, owner] = [wordsOf(prefix), formatPrefix(prefix), 1 + random(3)]
    const others = [...present].filter(([, entry]) => entry.owner !== owner && prefixesOverlap(entry.prefix, prefix))
    const conflict = trie.conflict(words, prefix.length, owner)
    expect(conflict !== 0, `step ${step}: ${text}`).toBe(others.length > 0)
    if (conflict !== 0) {
      conflicts += 1
      expect(others.map(([other]) => other)).toContain(textOf(conflict))
    }
    const known = present.get(text)
    const node = trie.find(words, prefix.length)
    expect(node === 0 ? undefined : store.owner[node], `step ${step}: ${text}`).toBe(known?.owner)
    // Grows and shrinks by turns.
    const shrinks = step % 2000 > 1500
    if (known) {
      trie.remove(node)
      present.delete(text)
    } else if (!shrinks && random(4) > 0) {
      trie.add(words, prefix.length, owner)
      present.set(text, { prefix, owner })
    }
    if (step % 200 !== 0) continue
    const inOrder: string[] = []
    for (let at = trie.following(); at !== 0; ) {
      inOrder.push(textOf(at))
      at = trie.following(store.address.slice(at * store.words, (at + 1) * store.words), store.length[at])
    }
    const sorted = [...present.values()]
      .map(entry => entry.prefix)
      .toSorted((a, b) => Buffer.compare(a.bytes, b.bytes) || a.length - b.length)
    expect(inOrder, `step ${step}`).toEqual(sorted.map(formatPrefix))
    for (const one of [1, 2, 3]) {
      const own = [...present].filter(([, entry]) => entry.owner === one).map(([other]) => other)
      expect(Array.from(trie.ownedBy(one), textOf).toSorted(), `step ${step}`).toEqual(own.toSorted())
    }
    // A place that holds no route has a successor, too.
    const behind = sorted.find(
      other =>
        Buffer.compare(other.bytes, prefix.bytes) > 0 ||
        (Buffer.compare(other.bytes, prefix.bytes) === 0 && other.length > prefix.length),
    )
    const next = trie.following(words, prefix.length)
    expect(next === 0 ? undefined : textOf(next), `step ${step}: behind ${text}`).toBe(behind && formatPrefix(behind))
  }
  expect(conflicts).toBeGreaterThan(1000)
})
