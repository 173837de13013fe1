/**
 * Tables to look up in, as records of changes (agent/kernel/fib/route.ts), each prefix once, in random order.
 *
 * The full table follows the IPv4 table of the Internet: lengths as in the BGP reports of 2024 (bgp.potaroo.net: 60 % of length 24, next 22 and 23),
 * and its clustering. Half of the prefixes continue a run of neighbours of equal length (deaggregation), the others start somewhere in one of
 * 40,000 /16s that are used very unequally (Zipf); of a run nine in ten keep the next hop. A table of one's own can be given as a file.
 */
import { readFileSync } from 'node:fs'
import { ROUTE_WORDS, writeRoute } from '../../../agent/kernel/fib/route.ts'
import { canonicalPrefix } from '../../../schema/address.ts'
import { BenchError } from '../error.ts'
import type { Random } from '../random.ts'

/** Prefixes of length 8 to 32 in 100,000. */
const IPV4_LENGTHS = [
  2, 1, 4, 11, 31, 63, 127, 215, 1430, 870, 1470, 2650, 4640, 5280, 11600, 10200, 61206, 30, 30, 20, 20, 20, 20, 10, 50,
]
const SITES = 40_000
const NEXTHOPS = 1000

/** Word 0 is the most significant; words behind the length are 0. */
export type Words = [number, number, number, number]

export class TableBuilder {
  readonly #records: number[] = []
  readonly #known = new Set<string>()

  /** @returns false when the prefix is there already */
  add(vrf: number, family: 4 | 6, words: Words, length: number, nexthop: number): boolean {
    const key = `${vrf} ${length} ${words}`
    if (this.#known.has(key)) return false
    this.#known.add(key)
    this.#records.push(vrf, ((family << 24) | (length << 16) | nexthop) >>> 0, words[1], words[0], words[3], words[2])
    return true
  }

  get size(): number {
    return this.#known.size
  }

  build(random: Random): Uint32Array<ArrayBuffer> {
    return shuffled(Uint32Array.from(this.#records), random)
  }
}

export function shuffled(records: Uint32Array<ArrayBuffer>, random: Random): Uint32Array<ArrayBuffer> {
  const order = random.shuffle(Array.from({ length: records.length / ROUTE_WORDS }, (_, index) => index))
  const out = new Uint32Array(records.length)
  for (const [to, from] of order.entries())
    out.set(records.subarray(from * ROUTE_WORDS, (from + 1) * ROUTE_WORDS), to * ROUTE_WORDS)
  return out
}

/** @param vrf all routes are of this VRF */
export function fullTable(random: Random, size: number, vrf: number): Uint32Array<ArrayBuffer> {
  const table = new TableBuilder()
  const draw = weighted(IPV4_LENGTHS, random)
  const sites = Array.from({ length: SITES }, () => unicast(random) & 0xffff0000)
  let [address, length, nexthop, run] = [0, 24, 1, false]
  while (table.size < size) {
    if (run) address += 2 ** (32 - length)
    else {
      length = 8 + draw()
      const site = sites[Math.floor(SITES * (random.u32() / 2 ** 32) ** 1.5)] as number
      const start = length <= 16 ? unicast(random) : (site | random.below(2 ** 16)) >>> 0
      address = mask(start, length)
    }
    if (!run || random.below(10) === 0) nexthop = 1 + random.below(NEXTHOPS)
    if (address < 224 * 2 ** 24) table.add(vrf, 4, [address, 0, 0, 0], length, nexthop)
    run = length > 16 && address < 223 * 2 ** 24 && random.below(2) === 0
  }
  return table.build(random)
}

/** Random prefixes of 12 to 32 bits, every length as often. */
export function randomTable(random: Random, size: number, vrf: number): Uint32Array<ArrayBuffer> {
  const table = new TableBuilder()
  while (table.size < size) {
    const length = 12 + random.below(21)
    table.add(vrf, 4, [mask(random.u32(), length), 0, 0, 0], length, 1 + random.below(NEXTHOPS))
  }
  return table.build(random)
}

/** VRFs 1 to `vrfs` of enterprises: sites of 10.0.0.0/8 with subnets of 22 to 28 bits, some hosts, and a few prefixes of 192.168.0.0/16. */
export function enterpriseTables(random: Random, vrfs: number, size: number): Uint32Array<ArrayBuffer> {
  const table = new TableBuilder()
  for (let vrf = 1; vrf <= vrfs; vrf++) {
    for (let count = 0; count < size; ) {
      const kind = random.below(20)
      const length = kind === 0 ? 32 : kind === 1 ? 16 : 22 + random.below(7)
      const start = kind === 2 ? 0xc0a80000 | random.below(2 ** 16) : 0x0a000000 | random.below(2 ** 24)
      if (table.add(vrf, 4, [mask(start >>> 0, length), 0, 0, 0], length, 1 + random.below(NEXTHOPS))) count++
    }
  }
  return table.build(random)
}

/** Prefixes of 20 to 128 bits in 1,000, from the BGP reports of 2024: half of length 48. */
const IPV6_LENGTHS: readonly (readonly [number, number])[] = [
  [20, 2],
  [24, 5],
  [28, 10],
  [29, 35],
  [30, 10],
  [32, 125],
  [33, 20],
  [36, 35],
  [38, 10],
  [40, 95],
  [42, 15],
  [44, 120],
  [46, 25],
  [47, 15],
  [48, 470],
  [56, 4],
  [64, 3],
  [128, 1],
]

/** Allocations of 20,000 networks below 2000::/3, used very unequally. */
export function ipv6Table(random: Random, size: number, vrf: number): Uint32Array<ArrayBuffer> {
  const table = new TableBuilder()
  const draw = weighted(
    IPV6_LENGTHS.map(([, weight]) => weight),
    random,
  )
  const registries = [0x2001, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00]
  const networks = Array.from(
    { length: 20_000 },
    () => (((registries[random.below(6)] as number) + random.below(16)) << 16) | random.below(2 ** 16),
  )
  while (table.size < size) {
    const [length] = IPV6_LENGTHS[draw()] as readonly [number, number]
    const network = networks[zipf(random, networks.length)] as number
    const words: Words = [network >>> 0, random.u32(), random.u32(), random.u32()]
    for (let word = 0; word < 4; word++) words[word] = mask(words[word] as number, Math.max(0, length - word * 32))
    table.add(vrf, 6, words, length, 1 + random.below(NEXTHOPS))
  }
  return table.build(random)
}

/** A line each: prefix, and optionally a next hop's number or any word that stands for one. @throws BenchError for a line that is no prefix */
export function tableFromFile(path: string, random: Random, vrf: number): Uint32Array<ArrayBuffer> {
  const nexthops = new Map<string, number>()
  const prefixes = new Map<string, number>()
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const [text = '', via = ''] = line.trim().split(/\s+/)
    if (text === '' || text.startsWith('#')) continue
    const prefix = canonicalPrefix(text)
    if (!prefix) throw new BenchError(`${path}: not a prefix: ${text}`)
    if (!nexthops.has(via)) nexthops.set(via, 1 + (nexthops.size % NEXTHOPS))
    prefixes.set(prefix, nexthops.get(via) ?? 1)
  }
  const records = new Uint32Array(prefixes.size * ROUTE_WORDS)
  let record = 0
  for (const [prefix, nexthop] of prefixes) {
    const [address = '', length] = prefix.split('/')
    writeRoute(records, record++, { vrf, address, prefixLength: Number(length) }, nexthop)
  }
  return shuffled(records, random)
}

/** The first `bits` bits; none for 0 and all from 32 on. */
export function mask(word: number, bits: number): number {
  if (bits <= 0) return 0
  return bits >= 32 ? word >>> 0 : (word & (0xffffffff << (32 - bits))) >>> 0
}

/** 1.0.0.0 to 223.255.255.255. */
export function unicast(random: Random): number {
  return (1 + random.below(223)) * 2 ** 24 + random.below(2 ** 24)
}

function weighted(weights: readonly number[], random: Random): () => number {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return () => {
    let left = random.below(total)
    return weights.findIndex(weight => {
      left -= weight
      return left < 0
    })
  }
}

/** 0 to below `limit`; the nth about 1 / n as often as the first. */
function zipf(random: Random, limit: number): number {
  return Math.min(limit - 1, Math.floor(limit ** (random.u32() / 2 ** 32)) - 1 + random.below(Math.ceil(limit / 64)))
}
