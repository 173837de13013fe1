/** A connection through a chain of two functions and back, packet by packet. World: chain-world.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { ABI_RULE_F_REVERSE, ABI_RULE_F_SHADOW, balance } from '../../schema/abi.gen.ts'
import { ACK, ethernet, filler, icmp, ip, mssOption, SYN, tcp, udp } from './build.ts'
import { type Arm, ChainRig, into, mapped } from './chain-world.ts'
import { behind, FAMILIES, host, icmpError, icmpFrame } from './hosts.ts'
import { carried, ipOf } from './mp.ts'
import { expectOutcome, REDIRECT, SHOT, SID } from './rig.ts'

const rig = new ChainRig()
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

/** Counters of a connection's first packet in each place. */
const FIRST = { 'lan-in': 1, 'flow-new': 2, steered: 1, 'to-service': 1 }
const ONWARD = { 'from-service': 1, 'flow-new': 2, 'to-service': 1 }
const LAST = { 'from-service': 1, 'flow-new': 2, 'to-peer-clear': 1, 'mp-out': 1 }
/** The answers to the former connection are entered still. */
const ONWARD_AGAIN = { 'from-service': 1, 'flow-new': 1, 'to-service': 1 }
const KNOWN = { 'flow-hit': 1, 'to-service': 1 }

describe.each(FAMILIES)('IPv%i', family => {
  const there = { src: host(family), dst: behind(family, 2) }
  const back = { src: there.dst, dst: there.src }
  const question = ip(there, tcp({ flags: SYN }))
  const reply = ip(back, tcp({ sport: 443, dport: 40000, flags: SYN | ACK }))
  const lan = (packet = question) => rig.run('lan', ethernet(packet))
  /** The VRF leads answers to the host on the LAN. */
  const expectAt = (out: ReturnType<typeof lan>, adapter: number, arm: Arm, packet: Uint8Array, counters: object) =>
    expectOutcome(out, {
      verdict: REDIRECT,
      packet: into(adapter, arm, packet),
      mark: 0,
      counters: counters as Record<string, number>,
    })

  it('goes through both functions, and its answers back through the same instances', () => {
    expectAt(lan(), 11, 'inside', question, FIRST)
    expectAt(rig.out(11, 'outside', question), 21, 'inside', question, ONWARD)
    const left = rig.out(21, 'outside', question)
    expectOutcome(left, { verdict: REDIRECT, mark: SID, counters: LAST })
    expect(ipOf(left.packet)).toEqual(
      carried(left.packet, SID, ip({ ...there, ttl: 63 }, tcp({ flags: SYN })), { number: 1n }),
    )

    expectAt(lan(reply), 21, 'outside', reply, { 'lan-in': 1, ...KNOWN })
    expectAt(rig.out(21, 'inside', reply), 11, 'outside', reply, { 'from-service': 1, ...KNOWN })
    const home = rig.out(11, 'inside', reply)
    expectOutcome(home, { verdict: REDIRECT, counters: { 'from-service': 1, 'lan-out': 1 } })
    expect(ipOf(home.packet)).toEqual(ip({ ...back, ttl: 63 }, tcp({ sport: 443, dport: 40000, flags: SYN | ACK })))

    const data = ip(there, tcp())
    expectAt(lan(data), 11, 'inside', data, { 'lan-in': 1, ...KNOWN })
    expectAt(rig.out(11, 'outside', data), 21, 'inside', data, { 'from-service': 1, ...KNOWN })
    expectOutcome(rig.out(21, 'outside', data), {
      verdict: REDIRECT,
      counters: { 'from-service': 1, 'flow-hit': 1, 'to-peer-clear': 1, 'mp-out': 1 },
    })
    expectOutcome(rig.out(11, 'inside', reply), {
      verdict: REDIRECT,
      counters: { 'from-service': 1, 'flow-hit': 1, 'lan-out': 1 },
    })
    expect(rig.connections(11)).toEqual([1, 1])
    expect(rig.connections(12)).toEqual([0, 0])
    expect(rig.connections(21)).toEqual([1, 1])
    expect(rig.maps.chain.ruleHits(0)).toBe(1n)
    expect(rig.maps.chain.adapterTraffic(21)).toMatchObject({ toPackets: 3n, fromPackets: 3n })
  })

  it('follows what an instance makes of addresses and ports', () => {
    const inner = ip(there, udp(5000, 443))
    expectAt(lan(inner), 11, 'inside', inner, FIRST)
    // Translates: another source, another port.
    const outer = { src: behind(family, 6), dst: there.dst }
    const translated = ip(outer, udp(61000, 443))
    expectAt(rig.out(11, 'outside', translated), 21, 'inside', translated, ONWARD)
    expectOutcome(rig.out(21, 'outside', translated), { verdict: REDIRECT, counters: LAST })
    const answer = ip({ src: outer.dst, dst: outer.src }, udp(443, 61000))
    expectAt(lan(answer), 21, 'outside', answer, { 'lan-in': 1, ...KNOWN })
    expectAt(rig.out(21, 'inside', answer), 11, 'outside', answer, { 'from-service': 1, ...KNOWN })
    const restored = ip(back, udp(443, 5000))
    const home = rig.out(11, 'inside', restored)
    expectOutcome(home, { verdict: REDIRECT, counters: { 'from-service': 1, 'lan-out': 1 } })
  })

  it('walks the chain from its end by a rule in reverse', () => {
    rig.setPolicy([{ flags: ABI_RULE_F_REVERSE }])
    expectAt(lan(), 21, 'outside', question, FIRST)
    expectAt(rig.out(21, 'inside', question), 11, 'outside', question, ONWARD)
    expectOutcome(rig.out(11, 'inside', question), { verdict: REDIRECT, counters: LAST })
    expectAt(lan(reply), 11, 'inside', reply, { 'lan-in': 1, ...KNOWN })
    expectAt(rig.out(11, 'outside', reply), 21, 'inside', reply, { 'from-service': 1, ...KNOWN })
    expectOutcome(rig.out(21, 'outside', reply), { verdict: REDIRECT, counters: { 'from-service': 1, 'lan-out': 1 } })
  })

  it.each([0, ABI_RULE_F_REVERSE])('through one arm, rule flags %i', flags => {
    for (const adapter of [11, 12, 21]) rig.setAdapter(adapter, { outsideIfindex: 1 })
    rig.setPolicy([{ flags }])
    const [first, second] = flags ? ([21, 11] as const) : ([11, 21] as const)
    const [enter, leave] = flags ? (['outside', 'inside'] as const) : (['inside', 'outside'] as const)
    expectAt(lan(), first, enter, question, FIRST)
    expectAt(rig.out(first, 'inside', question), second, enter, question, ONWARD)
    expectOutcome(rig.out(second, 'inside', question), { verdict: REDIRECT, counters: LAST })
    expectAt(lan(reply), second, leave, reply, { 'lan-in': 1, ...KNOWN })
    expectAt(rig.out(second, 'inside', reply), first, leave, reply, { 'from-service': 1, ...KNOWN })
    expectOutcome(rig.out(first, 'inside', reply), { verdict: REDIRECT, counters: { 'from-service': 1, 'lan-out': 1 } })
  })

  it('stays outside when no rule matches, and so do the answers', () => {
    rig.setPolicy([
      { dportFrom: 80, dportTo: 80 },
      { sportFrom: 443, sportTo: 443 },
    ])
    const plain = { 'lan-in': 1, 'flow-new': 1 }
    expectOutcome(lan(), { verdict: REDIRECT, counters: { ...plain, 'to-peer-clear': 1, 'mp-out': 1 } })
    // The second rule is for connections that begin so.
    expectOutcome(lan(reply), { verdict: REDIRECT, counters: { ...plain, 'lan-out': 1 } })
  })

  it('matches prefixes, protocol and ports to the bit', () => {
    const net = family === 4 ? 96 : 0
    const steers = (rule: object) => {
      rig.reset()
      rig.setPolicy([rule])
      return 'steered' in lan().counters
    }
    const [src, dst] = [mapped(there.src), mapped(there.dst)]
    for (const [rule, expected] of [
      [{}, true],
      [{ proto: 6 }, true],
      [{ proto: 17 }, false],
      [{ src, srcLength: 128 }, true],
      [{ src: mapped(there.dst), srcLength: 128 }, false],
      [{ dst, dstLength: net + 24 }, true],
      [{ dst: mapped(behind(family, 3)), dstLength: net + 24 }, false],
      [{ dst: mapped(behind(family, 3)), dstLength: net + 8 }, true],
      // Where the two differ in their last bit alone: 2 and 3.
      [{ dst: mapped(behind(family, 3)), dstLength: net + 15 }, true],
      [{ dst: mapped(behind(family, 3)), dstLength: net + 16 }, false],
      [{ sportFrom: 40000, sportTo: 40000 }, true],
      [{ sportFrom: 40001, sportTo: 65535 }, false],
      [{ dportFrom: 0, dportTo: 442 }, false],
      [{ application: 7 }, false],
      [{ chain: 0 }, false],
    ] as const)
      expect([rule, steers(rule)]).toEqual([rule, expected])
  })

  it('asks of protocols without ports only rules about all ports', () => {
    const ping = ip(there, icmp(family, family === 4 ? 8 : 128))
    rig.setPolicy([{ dportTo: 65534 }])
    expect(lan(ping).counters).not.toHaveProperty('steered')
    rig.reset()
    rig.setPolicy([{}])
    expectAt(lan(ping), 11, 'inside', ping, FIRST)
  })

  it('takes the first rule that matches; a shadow rule only counts', () => {
    rig.setPolicy([{ flags: ABI_RULE_F_SHADOW }, { proto: 17 }, { chain: 0 }, {}])
    const counters = { 'lan-in': 1, 'flow-new': 1, shadowed: 1, 'to-peer-clear': 1, 'mp-out': 1 }
    expectOutcome(lan(), { verdict: REDIRECT, counters })
    expect([0, 1, 2, 3].map(rule => rig.maps.chain.ruleHits(rule))).toEqual([1n, 0n, 1n, 0n])
  })

  it('finds the last of 1,024 rules', () => {
    rig.setPolicy([...Array.from({ length: 1023 }, () => ({ proto: 17 })), {}])
    expectAt(lan(), 11, 'inside', question, FIRST)
  })

  describe('shares connections', () => {
    const counts = (n: number) => {
      for (let port = 0; port < n; port++) lan(ip(there, tcp({ sport: 1024 + port, flags: SYN })))
      return [rig.connections(11)[0], rig.connections(12)[0]] as const
    }

    it('in turns, by slots', () => {
      rig.setPool(1, [11, 12, 11])
      expect(counts(30)).toEqual([20, 10])
    })

    it('to whom has the fewest', () => {
      rig.setPool(1, [11, 12], balance.BALANCE_LEAST)
      rig.maps.chain.instanceState.set(11, { connections: 20n, opened: 20n })
      expect(counts(30)).toEqual([25, 25])
    })

    it('by the flow, alike for both directions', () => {
      rig.setPool(1, [11, 12, 11, 12, 11, 12, 11, 12], balance.BALANCE_HASH)
      const [first, second] = counts(64)
      expect(first + second).toBe(64)
      expect(Math.min(first, second)).toBeGreaterThan(10)
      rig.setPolicy([{}])
      for (let port = 2000; port < 2032; port++) {
        const frame = lan(ip(there, tcp({ sport: port, dport: 9, flags: SYN }))).packet
        const reverse = lan(ip(back, tcp({ sport: 9, dport: port + 5000, flags: SYN }))).packet
        rig.flows.clear()
        const same = lan(ip(back, tcp({ sport: 9, dport: port, flags: SYN }))).packet
        expect(same.subarray(0, 14)).toEqual(frame.subarray(0, 14))
        expect(reverse.length).toBe(frame.length)
      }
    })
  })

  describe('without a usable instance', () => {
    const FAIL_OPEN = Uint8Array.of(1, 1, 0, 0, 0, 0, 0, 0)

    it.each([
      ['an empty pool', () => rig.setPool(1, [])],
      ['dead ones', () => [11, 12].map(adapter => rig.setAdapter(adapter, { flags: 1 }))],
      ['adapters of another chain', () => [11, 12].map(adapter => rig.setAdapter(adapter, { chain: 4 }))],
      ['adapters that are gone', () => [11, 12].map(adapter => rig.setAdapter(adapter, { kind: 0 }))],
    ])('(%s) drops and says so, or leaves the function out', (_name, spoil) => {
      spoil()
      expectOutcome(lan(), {
        verdict: REDIRECT,
        packet: icmpFrame(family, 'unreachable', there.src, question),
        drops: { 'no-instance': 1 },
        counters: { 'lan-in': 1, 'icmp-sent': 1 },
      })
      rig.setChain({ hopFlags: FAIL_OPEN })
      expectAt(lan(), 21, 'inside', question, { ...FIRST, 'hop-skipped': 1 })
    })

    it('of any function leaves the chain out', () => {
      rig.setChain({ hopFlags: FAIL_OPEN })
      rig.setPool(1, [])
      rig.setPool(2, [])
      const counters = { 'lan-in': 1, 'flow-new': 1, 'hop-skipped': 2, 'to-peer-clear': 1, 'mp-out': 1 }
      expectOutcome(lan(), { verdict: REDIRECT, counters })
    })
  })

  it.each([
    ['gone', () => rig.setChain({ vrf: 0 })],
    ['another tenant’s', () => rig.setChain({ vrf: 8 })],
  ])('drops what policy gives to a chain that is %s', (_name, spoil) => {
    spoil()
    expectOutcome(lan(), { verdict: SHOT, drops: { 'no-chain': 1 }, counters: { 'lan-in': 1 } })
  })

  it('never gives a flow to an instance of another tenant', () => {
    lan()
    rig.setAdapter(11, { vrfStage: 8 | (1 << 14) })
    expectOutcome(lan(), { verdict: SHOT, drops: { 'no-chain': 1 }, counters: { 'lan-in': 1, 'flow-hit': 1 } })
  })

  it('drops what comes from a device of no adapter', () => {
    rig.maps.chain.adapterPorts.delete(1)
    expectOutcome(rig.run('service', ethernet(question)), { verdict: SHOT, drops: { 'no-adapter': 1 }, counters: {} })
    expectOutcome(rig.out(63, 'outside', question), { verdict: SHOT, drops: { 'no-adapter': 1 }, counters: {} })
  })

  it('tells the sender what fits into the instance, and clamps the MSS to it', () => {
    rig.setAdapter(11, { mtu: 1400 })
    const large = ip(there, udp(7, 443, filler(1400)))
    expectOutcome(lan(large), {
      verdict: REDIRECT,
      packet: icmpFrame(family, 'too-big', there.src, large, 1400),
      drops: { 'too-big': 1 },
      counters: { 'lan-in': 1, 'flow-new': 2, steered: 1, 'icmp-sent': 1 },
    })
    const syn = (mss: number) => ip(there, tcp({ flags: SYN, options: mssOption(mss) }))
    const clamped = syn(1400 - 20 - (family === 4 ? 20 : 40))
    const fresh = { ...FIRST, 'mss-clamped': 1 }
    rig.setPool(1, [11])
    expectAt(lan(syn(1460)), 11, 'inside', clamped, fresh)
  })

  describe('when an instance dies', () => {
    const kill = (adapter: number) =>
      rig.maps.chain.adapters.set(adapter, { ...rig.maps.chain.adapters.get(adapter), flags: 1 } as never)
    const data = ip(there, tcp({ data: filler(100) }))
    const begin = () => {
      lan()
      rig.out(11, 'outside', question)
      rig.out(21, 'outside', question)
    }
    const reset = (ends: { src: string; dst: string }, sport: number, dport: number, seq: number, ack?: number) => {
      const segment = Buffer.alloc(20)
      segment.writeUInt16BE(sport, 0)
      segment.writeUInt16BE(dport, 2)
      segment.writeUInt32BE(seq, 4)
      segment.writeUInt32BE(ack ?? 0, 8)
      segment.writeUInt8(0x50, 12)
      segment.writeUInt8(ack === undefined ? 4 : 0x14, 13)
      return ip(ends, { protocol: 6, bytes: Uint8Array.from(segment), checksumAt: 16 })
    }

    it('resets its TCP connections, from either end', () => {
      begin()
      kill(11)
      expectOutcome(lan(data), {
        verdict: REDIRECT,
        packet: ethernet(reset(back, 443, 40000, 0x05060708), { dst: [2, 0, 0, 0, 0, 9], src: [0, 0, 0, 0, 0, 0] }),
        drops: { 'instance-lost': 1 },
        counters: { 'lan-in': 1, 'flow-hit': 1, 'reset-sent': 1 },
      })
      // Of what came out of the next one: back into that.
      expectOutcome(rig.out(21, 'inside', reply), {
        verdict: REDIRECT,
        packet: into(21, 'inside', reset(there, 40000, 443, 0x05060708)),
        drops: { 'instance-lost': 1 },
        counters: { 'from-service': 1, 'flow-hit': 1, 'to-service': 1, 'reset-sent': 1 },
      })
    })

    it('never answers a reset with another', () => {
      begin()
      kill(11)
      expectOutcome(lan(ip(there, tcp({ flags: 0x14 }))), {
        verdict: SHOT,
        drops: { 'instance-lost': 1 },
        counters: { 'lan-in': 1, 'flow-hit': 1 },
      })
    })

    it('gives a new connection of the same ends to another', () => {
      begin()
      kill(11)
      expectAt(lan(), 12, 'inside', question, { 'lan-in': 1, ...KNOWN })
      expectAt(rig.out(12, 'outside', question), 21, 'inside', question, ONWARD_AGAIN)
      expectAt(rig.out(21, 'inside', reply), 12, 'outside', reply, { 'from-service': 1, ...KNOWN })
      expect(rig.connections(11)).toEqual([0, 1])
      expect(rig.connections(12)).toEqual([1, 1])
      expect(rig.connections(21)).toEqual([1, 2])
    })

    it('tells senders of other protocols once, then takes them as new', () => {
      const packet = ip(there, udp(7, 443))
      lan(packet)
      kill(11)
      expectOutcome(lan(packet), {
        verdict: REDIRECT,
        packet: icmpFrame(family, 'unreachable', there.src, packet),
        drops: { 'instance-lost': 1 },
        counters: { 'lan-in': 1, 'flow-hit': 1, 'icmp-sent': 1 },
      })
      expectAt(lan(packet), 12, 'inside', packet, { 'lan-in': 1, ...KNOWN })
    })

    it('that keeps no state, another goes on, the same one both ways', () => {
      rig.setChain({ hopFlags: Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0) })
      begin()
      kill(11)
      expectAt(lan(data), 12, 'inside', data, { 'lan-in': 1, ...KNOWN })
      expectAt(rig.out(21, 'inside', reply), 12, 'outside', reply, { 'from-service': 1, ...KNOWN })
      expectAt(rig.out(12, 'outside', data), 21, 'inside', data, { 'from-service': 1, ...KNOWN })
      expect([rig.connections(11), rig.connections(12)]).toEqual([
        [0, 1],
        [1, 1],
      ])
    })

    it('and none is left, drops', () => {
      rig.setChain({ hopFlags: Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0) })
      begin()
      kill(11)
      kill(12)
      expect(lan(data)).toMatchObject({ drops: { 'no-instance': 1 } })
    })

    it('and is gone, drops what is left of its flows, and the sweep frees them', () => {
      begin()
      rig.setAdapter(11, { kind: 0 })
      expect(lan(data)).toMatchObject({ drops: { 'instance-lost': 1 } })
      rig.setNexthop(110, 0)
      rig.setNexthop(111, 0)
      expect(lan(data)).toMatchObject({ drops: { 'no-route': 1 } })
      rig.setNode({ routeEpoch: 2 })
      expect(lan(data)).toMatchObject({ drops: { 'instance-lost': 1 } })
      // The sweep frees both that led to it; the answers at its inside were for routes.
      expect(rig.flows.sweep(0, 256)).toEqual({ live: 4, freed: 2 })
    })
  })

  it('counts a connection until it ends', () => {
    lan()
    expect(rig.connections(11)).toEqual([1, 1])
    lan(ip(there, tcp({ flags: 0x11 })))
    expect(rig.connections(11)).toEqual([0, 1])
    lan(ip(there, tcp({ flags: 0x11 })))
    expect(rig.connections(11)).toEqual([0, 1])
  })

  it('counts a connection until the other end resets it', () => {
    lan()
    rig.out(11, 'outside', question)
    rig.out(21, 'outside', question)
    rig.out(11, 'inside', ip(back, tcp({ sport: 443, dport: 40000, flags: 0x14 })))
    expect(rig.connections(11)).toEqual([0, 1])
    expect(rig.connections(21)).toEqual([1, 1])
  })

  it('answers a packet that came out of an instance back into it', () => {
    lan()
    rig.setPool(2, [])
    expectOutcome(rig.out(11, 'outside', question), {
      verdict: REDIRECT,
      packet: into(
        11,
        'outside',
        icmpError(
          family,
          'unreachable',
          { src: family === 4 ? '100.64.0.2' : 'fd00:100::2', dst: there.src },
          question,
        ),
      ),
      drops: { 'no-instance': 1 },
      counters: { 'from-service': 1, 'to-service': 1, 'icmp-sent': 1 },
    })
  })

  it('leaves TTL alone until the chain’s end, and then asks for one', () => {
    const last = ip({ ...there, ttl: 1 }, tcp({ flags: SYN }))
    expectAt(lan(last), 11, 'inside', last, FIRST)
    expectAt(rig.out(11, 'outside', last), 21, 'inside', last, ONWARD)
    expect(rig.out(21, 'outside', last)).toMatchObject({ drops: { ttl: 1 } })
  })
})
