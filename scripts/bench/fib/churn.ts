/** Random changes and questions that look for trouble: prefixes that nest, touch and repeat, and addresses at their edges. */
import { ABI_MAX_NEXTHOPS } from '../../../schema/abi.gen.ts'
import type { Random } from '../random.ts'
import type { Question } from './probe.ts'
import { mask, type Words } from './tables.ts'

export interface ChurnRoute extends Question {
  words: Words
  length: number
  nexthop: number
}

/** One change in four removes. @param vrfs VRFs 1 to `vrfs` */
export function randomRoute(random: Random, vrfs: number): ChurnRoute {
  const family = random.below(3) === 0 ? 6 : 4
  const words: Words = [0, 0, 0, 0]
  let length: number
  if (family === 4) {
    length = random.below(33)
    words[0] = random.below(4) === 0 ? random.u32() : 0x0a000000 | (random.below(4) << 16) | random.below(2 ** 16)
  } else {
    length = [random.below(129), 32, 48, 64, 128][random.below(5)] as number
    words[0] = random.below(6) === 0 ? random.u32() : 0x20010db8 + random.below(3)
    words[1] = random.below(4) === 0 ? random.u32() : (random.below(16) << 16) | random.below(4)
    words[2] = random.below(2) === 0 ? random.u32() : 0
    words[3] = random.below(2) === 0 ? random.u32() : 1
  }
  for (let word = 0; word < 4; word++) words[word] = mask(words[word] as number, length - word * 32)
  const nexthop = random.below(4) === 0 ? 0 : random.below(50) === 0 ? ABI_MAX_NEXTHOPS - 1 : 1 + random.below(40)
  return { vrf: 1 + random.below(vrfs), family, words, length, nexthop }
}

export function recordsOf(routes: readonly ChurnRoute[]): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(
    routes.flatMap(({ vrf, family, words, length, nexthop }) => [
      vrf,
      ((family << 24) | (length << 16) | nexthop) >>> 0,
      words[1],
      words[0],
      words[3],
      words[2],
    ]),
  )
}

/** An address at or in the prefix: its first, its last, the ones just outside, any inside, or any at all. */
export function questionNear(random: Random, { vrf, family, words, length }: ChurnRoute): Question {
  const first = words.reduce((sum, word) => (sum << 32n) | BigInt(word), 0n)
  const bits = family === 4 ? 32 : 128
  const last = first | ((1n << BigInt(128 - length)) - 1n)
  const step = 1n << BigInt(128 - bits)
  const any = () => Array.from({ length: 4 }, () => random.u32()).reduce((sum, word) => (sum << 32n) | BigInt(word), 0n)
  const address = [
    () => first,
    () => last,
    () => first - step,
    () => last + step,
    () => first | (any() & (last - first)),
    () => any(),
  ][random.below(6)]?.() as bigint
  const word = (index: number) => Number((address >> BigInt(96 - index * 32)) & 0xffffffffn)
  return { vrf, family, words: family === 4 ? [word(0), 0, 0, 0] : [word(0), word(1), word(2), word(3)] }
}
