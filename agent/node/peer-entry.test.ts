import { describe, expect, it } from 'vitest'
import { ABI_PEER_F_ESP, spread, trafficClass } from '../../schema/abi.gen.ts'
import { clearMtu, LEAST_MTU, secureMtu } from '../mp/mtu.ts'
import { peerEntry } from './peer-entry.ts'

const SID = 0x1230
const TERMS = { policyVersion: 7, steering: undefined, mtu: 9000 }
const path = (id: number, family: number, mtu = 1500, carries?: number) => ({ path: id, family, mtu, carries })

describe('what the programs know of a peer', () => {
  it.each([
    ['IPv4 outside', [path(0, 4)], 1, 0, clearMtu(1500, 4), secureMtu(1500, 4)],
    ['the larger headers of IPv6 outside', [path(0, 4), path(3, 6)], 0b1001, 0, clearMtu(1500, 6), secureMtu(1500, 6)],
    ['what a path was found to carry', [path(2, 4, 1500, 1400)], 0b100, 2, clearMtu(1400, 4), secureMtu(1400, 4)],
    ['a path of no use', [path(1, 6, 1500, 0)], 0b10, 1, clearMtu(LEAST_MTU[6], 6), secureMtu(LEAST_MTU[6], 6)],
  ])('%s', (_name, paths, pathMask, pathBest, mtuClear, mtuSecure) => {
    const entry = peerEntry({ sid: SID, esp: true }, paths, TERMS)
    expect(entry).toMatchObject({ sid: SID, pathMask, pathBest, mtuClear, mtuSecure, flags: ABI_PEER_F_ESP })
    expect(entry.steering).toHaveLength(trafficClass.CLASSES)
    for (const word of entry.steering) expect(word).toMatchObject({ best: pathBest, mask: pathMask })
  })

  it('names no path that is not there, whatever the steering asks', () => {
    const word = { mode: spread.SPREAD_TWICE, best: 5, second: 1, fec: 0, mask: 0b100010, playoutMs: 0 }
    const entry = peerEntry({ sid: SID, esp: false }, [path(0, 4), path(1, 4)], {
      ...TERMS,
      steering: [word, word, word, word],
    })
    expect(entry).toMatchObject({ pathMask: 0b11, pathBest: 0, flags: 0 })
    expect(entry.steering[0]).toMatchObject({ best: 0, second: 1, mask: 0b10 })
  })

  it('of a peer without a path: no bit, and the device alone tells sizes', () => {
    expect(peerEntry({ sid: SID, esp: false }, [], TERMS)).toMatchObject({ pathMask: 0, pathBest: 0, mtuClear: 9000 })
  })
})
