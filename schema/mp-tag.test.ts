import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mpHdrCodec } from './abi.gen.ts'
import { plainTagState } from './mp-tag.ts'
import { siphash24, siphashKeyWords, siphashState } from './siphash.ts'

const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
console.log(`fast-check seed ${seed} (repeat with FUZZ_SEED=${seed})`)

describe('plainTagState', () => {
  it('is where every plain DATA packet of the path begins, and none else', () => {
    const u32 = () => fc.integer({ min: 0, max: 2 ** 32 - 1 })
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        u32(),
        fc.nat(15),
        u32(),
        (bytes, session, path, rest) => {
          const key = siphashKeyWords(bytes)
          const header = (change: object) =>
            mpHdrCodec.encode({
              versionType: 0x11,
              path,
              qos: 0,
              fec: 0,
              session,
              sequence: 0,
              servicePath: 0,
              number: BigInt(rest),
              timestampUs: rest,
              policyVersion: rest,
              tag: 0n,
              ...change,
            })
          const begins = (change: object) => siphashState(key, header(change).subarray(0, 16))
          const plain = plainTagState(key, session, path)
          expect(begins({})).toEqual(plain)
          for (const change of [{ versionType: 0x12 }, { qos: 1 }, { fec: 1 }, { sequence: 1 }, { servicePath: 1 }])
            expect(begins(change)).not.toEqual(plain)
        },
      ),
      { seed, numRuns: 50 },
    )
  })
})

describe('siphashState', () => {
  it('at the end of a padded message is the hash but for its last rounds', () => {
    const key = Uint8Array.from({ length: 16 }, (_, index) => index)
    const whole = new Uint8Array(16)
    whole[15] = 8
    expect(siphashState(siphashKeyWords(key), whole)).not.toEqual(
      siphashState(siphashKeyWords(key), new Uint8Array(16)),
    )
    expect(siphash24(key, whole.subarray(0, 8))).toBe(siphash24(key, new Uint8Array(8)))
  })

  it('refuses what is no whole words', () => {
    expect(() => siphashState([0n, 0n], new Uint8Array(12))).toThrow(RangeError)
  })
})
