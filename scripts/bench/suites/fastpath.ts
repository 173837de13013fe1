/** The product's LAN program on packets of 1 to 1M flows, everything on, beside the least that a tunnel can do. */
import { LocalFib } from '../../../agent/kernel/fib/local.ts'
import { initialiseFlowTable } from '../../../agent/kernel/flow-table.ts'
import { mapUpdate } from '../../../agent/kernel/libbpf.ts'
import { openMaps, readCounters, readDrops } from '../../../agent/kernel/maps.ts'
import type { Maps } from '../../../agent/kernel/port.ts'
import { runProgram } from '../../../agent/kernel/prog-run.ts'
import { plainSteering, zeroPathState } from '../../../agent/plan/values.ts'
import { ABI_FAMILY_IPV4, nexthopKind, type Peer, peerCodec } from '../../../schema/abi.gen.ts'
import { be32, parseAddress } from '../../../schema/address.ts'
import { plainTagState } from '../../../schema/mp-tag.ts'
import { BenchError } from '../error.ts'
import { ratioAtMost } from '../figure.ts'
import { testPacket } from '../packet.ts'
import { BenchPrograms } from '../programs.ts'
import { difference } from '../sample.ts'
import type { Bench, Suite, Verify } from '../suite.ts'
import { keepMoving } from './fastpath-rekey.ts'

const TC_ACT_OK = 0
const VRF = 7
const LO = 1
const PEER = 9
/** Both ends of the session are this node, so that its own packets are accepted when they come back. */
const SID = 0x00100100
const KEY = [0x0706050403020100n, 0x0f0e0d0c0b0a0908n]

/** ns: later than now, so that no packet asks for an answer that nobody here gives. */
const ALWAYS_HEARD = 1n << 62n

const CURVE = [1, 1 << 10, 1 << 14, 1 << 17, 1 << 20]

export const suite: Suite = {
  name: 'fastpath',
  about: 'a host’s packet to a clear tunnel, everything on, beside 36 bytes of bare encapsulation',
  minutes: 5,
  async verify({ random, check }) {
    for (const [name, counter] of [
      ['hit', 'to-peer-clear'],
      ['first', 'flow-new'],
      ['there_and_back', 'from-peer-clear'],
    ] as const) {
      using programs = open(random)
      setFlows(programs, 1 << 10)
      const { verdict, packet } = runProgram(programs.program(name), { packet: testPacket(PACKET), repeat: 1000 })
      check(`${name}: passed on`, verdict, TC_ACT_OK)
      check(`${name}: bytes left behind`, packet.length - PACKET, 0)
      check(`${name}: counted as ${counter}`, readCounters(programs.maps)[counter] ?? 0, 1000, 'packets')
      check(`${name}: dropped`, sum(readDrops(programs.maps)), 0, 'packets')
    }
    await rekeys({ random, check })
  },
  async measure(bench) {
    await hits(bench)
    await firsts(bench)
    await parts(bench)
  },
}

const PACKET = 182

const sum = (counts: Record<string, number>) => Object.values(counts).reduce((total, count) => total + count, 0)

function open(random: Verify['random'], object = 'fastpath'): BenchPrograms {
  const programs = new BenchPrograms(object, random)
  initialiseFlowTable(programs.maps)
  configure(openMaps(programs.maps))
  using fib = new LocalFib(programs.maps)
  fib.set({ vrf: VRF, address: '10.2.0.0', prefixLength: 16 }, 1)
  fib.set({ vrf: VRF + 1, address: '10.2.0.0', prefixLength: 16 }, 2)
  return programs
}

/** A peer's session and paths are one word: nobody meets one session's id with the other's paths. */
async function rekeys({ random, check }: Pick<Verify, 'random' | 'check'>): Promise<void> {
  using programs = open(random)
  setFlows(programs, 1)
  const maps = openMaps(programs.maps)
  const [session, state, conf] = [maps.sessions.get(SID), maps.pathState.get(SID), maps.pathConf.get(SID)]
  if (!session || !state || !conf) throw new BenchError('the session is missing')
  // The next session has only path 5, the one before only path 0.
  const next = SID + 0x10
  maps.sessions.set(next, { ...session, sid: next, pathMask: 1 << 5 })
  maps.pathState.set(next + 5, { ...zeroPathState(), lastRxNs: ALWAYS_HEARD })
  maps.pathConf.set(next + 5, conf)
  const values = [peer(SID, 0), peer(next, 5)].map(value => peerCodec.encode(value))
  const stop = await keepMoving({ peers: programs.map('peers'), index: PEER, values })
  const sent = 1_000_000
  for (let packets = 0; packets < sent; packets += 1000)
    runProgram(programs.program('hit'), { packet: testPacket(PACKET), repeat: 1000 })
  const moves = await stop()
  check('a peer that moves all the time: dropped', sum(readDrops(programs.maps)), 0, 'packets')
  check('a peer that moves all the time: sent', readCounters(programs.maps)['mp-out'] ?? 0, sent, 'packets')
  check('a peer that moves all the time: moves over 10,000', Number(moves > 10_000), 1)
  check(
    'both sessions were used',
    [SID, next + 5].filter(handle => (maps.pathState.get(handle)?.txNumber ?? 0n) > 1000n).length,
    2,
  )
}

function peer(sid: number, path: number): Peer {
  const paths = { sid, pathMask: 1 << path, pathBest: path, steering: plainSteering(path, 1 << path) }
  return { ...paths, flags: 0, policyVersion: 4, mtuSecure: 0, mtuClear: 1432, reserved: [0n, 0n] }
}

function configure(maps: Maps): void {
  maps.node.set(0, {
    abiHash: 0n,
    mp0Ifindex: LO,
    mp1Ifindex: LO,
    gatherIfindex: 0,
    holdIfindex: 0,
    ipsecIfindex: 0,
    routeEpoch: 1,
    vaddr: be32('100.64.0.2'),
    eventIntervalNs: 1_000_000_000,
    icmpSrc6: new Uint8Array(16),
  })
  maps.ports.set(LO, { ifindex: LO, vrf: VRF, addr4: 0, flags: 0, addr6: new Uint8Array(16) })
  maps.sessions.set(SID, {
    sid: SID,
    remoteSid: SID,
    peer: PEER,
    vrf: VRF + 1,
    vaddrLocal: be32('100.64.0.2'),
    vaddrRemote: be32('100.64.0.1'),
    policyVersion: 4,
    pathMask: 1,
    txKey: KEY,
    rxKey: KEY,
  })
  const tag = plainTagState(KEY, SID, 0)
  maps.pathState.set(SID, { ...zeroPathState(), lastRxNs: ALWAYS_HEARD, txTag: tag, rxTag: tag })
  maps.pathConf.set(SID, {
    handle: SID,
    ifindex: LO,
    local: bytes16('198.51.100.2'),
    remote: bytes16('198.51.100.2'),
    localPort: 2426,
    remotePort: 2426,
    family: ABI_FAMILY_IPV4,
    ttl: 64,
    mtu: 1500,
    segmentIfindex: 0,
    reserved: 0,
    rate: 0,
    delayUs: 0,
  })
  maps.peers.set(PEER, peer(SID, 0))
  maps.nexthops.set(1, { kind: nexthopKind.NH_PEER, flags: 0, reserved: 0, target: PEER })
  maps.nexthops.set(2, { kind: nexthopKind.NH_LAN, flags: 0, reserved: 0, target: LO })
}

/** Hits are of this many flows, and none was sent yet. */
function setFlows(programs: BenchPrograms, flows: number): void {
  mapUpdate(programs.map('plan'), new Uint8Array(4), new Uint8Array(Uint32Array.of(flows - 1, 0).buffer), 0n)
}

/** Sends the first packet of the next `flows` flows. @returns mean ns */
function sendFirst(programs: BenchPrograms, flows: number): number {
  return runProgram(programs.program('first'), { packet: testPacket(PACKET), repeat: flows }).durationNs
}

function bytes16(text: string): Uint8Array {
  const bytes = new Uint8Array(16)
  bytes.set(parseAddress(text)?.bytes ?? [])
  return bytes
}

/** So many packets of a flow, and whether it is established has been asked for the last time but one (bpf/path/flow.h). */
const SETTLED = 17

/** Puts flows into the table that have been there for a while. */
function settle(programs: BenchPrograms, flows: number): void {
  for (let packets = 0; packets < SETTLED; packets++) {
    setFlows(programs, flows)
    sendFirst(programs, flows)
  }
}

async function hits(bench: Bench): Promise<void> {
  for (const flows of bench.quick ? [1, 1 << 14] : CURVE) {
    using programs = open(bench.random)
    const packet = testPacket(PACKET)
    settle(programs, flows)
    const times = await bench.compare({
      ours: programs.contender({ program: 'hit', packet }),
      bare: programs.contender({ program: 'bare_encapsulation', packet }),
      same: programs.contender({ program: 'bare_encapsulation_full', packet }),
    })
    const name = `${flows.toLocaleString('en')} flow${flows === 1 ? '' : 's'}`
    const bar = { 1: ratioAtMost(2), [1 << 20]: ratioAtMost(3.9) }[flows]
    bench.figure({
      name,
      value: times.ours,
      unit: 'ns',
      peer: { name: '36 bytes of bare encapsulation', value: times.bare },
      ...(bar && { bar }),
      curve: { name: 'a packet’s whole way out', x: flows, over: 'flows' },
    })
    if (flows === 1)
      bench.figure({
        name: `${name}, beside as many bytes`,
        value: times.ours,
        unit: 'ns',
        peer: { name: '68 bytes of bare encapsulation', value: times.same },
      })
  }
}

/** Beside hits of the flows that are there already; what is put in meanwhile brings the table to 1M. */
async function firsts(bench: Bench): Promise<void> {
  using programs = open(bench.random)
  const [total, perRound] = bench.quick ? [1 << 16, 2_000] : [1 << 20, 10_000]
  settle(programs, total / 2)
  sendFirst(programs, total / 2 - perRound * (bench.rounds + 1))
  const times = await bench.compare({
    first: () => sendFirst(programs, perRound),
    hit: programs.contender({ program: 'hit', packet: testPacket(PACKET) }),
  })
  bench.figure({
    name: `a flow’s first packet, ${total.toLocaleString('en')} flows`,
    value: times.first,
    unit: 'ns',
    peer: { name: 'another packet', value: times.hit },
    bar: ratioAtMost(2),
  })
}

async function parts(bench: Bench): Promise<void> {
  const packet = testPacket(PACKET)
  using whole = open(bench.random)
  using noTag = open(bench.random, 'fastpath-no-tag')
  using noClock = open(bench.random, 'fastpath-no-clock')
  for (const programs of [whole, noTag, noClock]) setFlows(programs, 1)
  const times = await bench.compare({
    whole: whole.contender({ program: 'hit', packet }),
    noTag: noTag.contender({ program: 'hit', packet }),
    noClock: noClock.contender({ program: 'hit', packet }),
    there: whole.contender({ program: 'there_and_back', packet }),
  })
  bench.figure({ name: 'of which the tag', value: difference(times.whole, times.noTag), unit: 'ns' })
  bench.figure({ name: 'of which the clock', value: difference(times.whole, times.noClock), unit: 'ns' })
  bench.figure({ name: 'there and back, 1 flow: sent, received, to a host', value: times.there, unit: 'ns' })
  bench.figure({
    name: 'of which receiving, less the undoing',
    value: difference(times.there, times.whole),
    unit: 'ns',
  })
}
