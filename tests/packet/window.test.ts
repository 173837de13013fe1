/** The replay window of a path, through wan_ingress. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import * as build from './build.ts'
import { ip } from './build.ts'
import { mp, outer } from './mp.ts'
import { NODE, PEER, Rig, SID, WAN } from './rig.ts'

const rig = new Rig()
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const arrives = (outside: 4 | 6, payload: build.Bytes, fields: { number: bigint }) =>
  outer(
    { src: WAN[outside].remote, dst: WAN[outside].local },
    mp({ session: SID, path: outside === 4 ? 0 : 1, ...fields }, payload),
  )

describe('the replay window', () => {
  const payload = ip({ src: PEER, dst: NODE }, build.esp())
  const send = (number: bigint) => rig.run('wan', arrives(4, payload, { number }))
  const verdicts = (...numbers: bigint[]) => numbers.map(number => Object.keys(send(number).drops)[0] ?? 'accepted')

  it('accepts every order once', () => {
    expect(verdicts(5n, 3n, 4n, 1n, 2n, 0n)).toEqual(Array.from({ length: 6 }, () => 'accepted'))
    expect(verdicts(0n, 1n, 2n, 3n, 4n, 5n)).toEqual(Array.from({ length: 6 }, () => 'mp-replay'))
  })

  it('reaches back 63 words behind that of the newest number', () => {
    expect(verdicts(5000n, 93n * 32n, 93n * 32n - 1n)).toEqual(['accepted', 'accepted', 'mp-too-old'])
    expect(rig.maps.pathState.get(SID)?.rxHighest).toBe(5000n)
  })

  it('refuses an epoch that its word has left, whatever rx_highest says', () => {
    rig.setState(SID, { window: Array.from({ length: 64 }, () => 3n << 32n), rxHighest: 0n })
    expect(verdicts(2048n * 3n - 1n, 2048n * 3n)).toEqual(['mp-too-old', 'accepted'])
  })

  it('ends where an epoch would not fit: 2^43', () => {
    expect(verdicts((1n << 43n) - 1n, 1n << 43n, (1n << 64n) - 1n)).toEqual(['accepted', 'mp-replay', 'mp-replay'])
  })

  it('is each path’s own', () => {
    expect(send(7n).drops).toEqual({})
    expect(rig.run('wan', arrives(6, payload, { number: 7n })).drops).toEqual({})
  })
})
