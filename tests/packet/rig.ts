/**
 * The programs over one set of maps, and one hand-written world around them:
 *
 *                      port lo, VRF 7            session 0x100 -> peer 9 (100.64.0.1), path 0 IPv4, path 1 IPv6
 *   hosts 10.1.0.0/24, fd01::/64 -- node 100.64.0.2 --<
 *                                                session 0x200 -> peer 8 (100.64.0.9), path 0 IPv4
 *
 * Third number of a destination: 2 peer 9 clear, 3 peer 9 secure, 4 peer 8 clear, 5 peer 8 secure, 6 LAN of a secure segment, 10 unreachable, 11 prohibited,
 * 12 a peer that is gone, 13 a peer without paths, 14 secure over a peer without ESP, 15 an empty next hop. IPv6 alike: fd02:: is peer 9 clear.
 */

import { expect } from 'vitest'
import { LocalFib } from '../../agent/kernel/fib/local.ts'
import { LinuxFlowTable } from '../../agent/kernel/flow-table.ts'
import { mapUpdate, possibleCpus } from '../../agent/kernel/libbpf.ts'
import { openMaps, readCounters, readDrops } from '../../agent/kernel/maps.ts'
import type { FlowTable, Hook, Maps } from '../../agent/kernel/port.ts'
import { type RunContext, runProgram, runXdp } from '../../agent/kernel/prog-run.ts'
import { findObjectFolder, loadPrograms } from '../../agent/kernel/programs.ts'
import { edgeSizes, type MapSizes } from '../../agent/kernel/sizes.ts'
import { plainSteering, zeroPathState } from '../../agent/plan/values.ts'
import {
  ABI_FAMILY_IPV4,
  ABI_FAMILY_IPV6,
  ABI_NH_F_SECURE,
  ABI_PEER_F_ESP,
  COUNTERS,
  DROP_REASONS,
  type NodeConfig,
  nexthopKind,
  type PathConf,
  type PathState,
  type Peer,
  type Session,
} from '../../schema/abi.gen.ts'
import { be32, formatAddress } from '../../schema/address.ts'
import { plainTagState } from '../../schema/mp-tag.ts'
import { siphashKeyWords } from '../../schema/siphash.ts'
import { address, type Bytes } from './build.ts'
import { NODE_KEY, PEER_KEY } from './mp.ts'
import { MTU, NODE, OTHER, OTHER_SID, PEER, REMOTE_SID, SID, VRF, WAN } from './world.ts'

export * from './world.ts'

export const NEXT = -1
export const SHOT = 2
export const REDIRECT = 7

/** A time that is always later than now: senders do not ask such a path whether it is there (bpf/path/liveness.h). */
export const ALWAYS_HEARD = 1n << 62n

export interface Outcome {
  verdict: number
  packet: Bytes
  mark: number
  /** Only what changed. */
  drops: Record<string, number>
  counters: Record<string, number>
}

/** What a row states. Drops are none unless it says which; counters it always says; packet and mark where they matter. */
export type Expected = Pick<Outcome, 'verdict' | 'counters'> & Partial<Outcome>

/** Every drop and counter that the row does not state fails it. */
export function expectOutcome(out: Outcome, row: Expected): void {
  const stated = { drops: {}, ...row }
  expect(Object.fromEntries(Object.keys(stated).map(key => [key, out[key as keyof Outcome]]))).toEqual(stated)
}

export class Rig implements Disposable {
  readonly maps: Maps
  readonly flows: FlowTable
  readonly fib: LocalFib
  readonly fds: ReadonlyMap<string, number>
  /** What the newest run of a tc program left of the fields of __sk_buff. */
  left: RunContext | undefined
  readonly #loaded

  /** @param flowLines of the flow table, which every test begins with empty. @param sizes of other maps, where not an edge's */
  constructor(
    hooks: readonly Hook[] = ['lan', 'wan', 'mp-egress', 'mp-ingress'],
    flowLines = 256,
    sizes: MapSizes = {},
  ) {
    this.#loaded = loadPrograms(findObjectFolder(), hooks, { sizes: { ...edgeSizes, flows: flowLines, ...sizes } })
    this.fds = this.#loaded.maps
    this.maps = openMaps(this.fds)
    this.flows = new LinuxFlowTable(this.fds, this.#loaded.flowSweep)
    this.fib = new LocalFib(this.fds)
    this.#routes()
    this.reset()
  }

  /** The world as described above, nothing received or sent yet. */
  reset(): void {
    const { maps } = this
    this.setNode({})
    this.flows.clear()
    maps.ports.set(1, { ifindex: 1, vrf: VRF, addr4: be32('10.1.0.1'), addr6: address('fd01::1'), flags: 0 })
    this.setSession(SID, {})
    this.setSession(OTHER_SID, { remoteSid: 0x800, peer: 8, vaddrRemote: be32(OTHER), pathMask: 1 })
    for (const handle of [SID, SID | 1, OTHER_SID]) {
      this.setPath(handle, {})
      this.setState(handle, {})
    }
    this.setPeer(9, {})
    this.setPeer(8, { sid: OTHER_SID, pathMask: 1 })
    this.setPeer(13, { pathMask: 0 })
    this.setPeer(14, { flags: 0 })
    maps.vaddrs.set(PEER, 9)
    maps.vaddrs.set(OTHER, 8)
    const cpus = possibleCpus()
    for (const [name, entries, size] of [
      ['drops', DROP_REASONS, 8],
      ['counters', COUNTERS, 8],
      ['pace', 1, 48],
    ] as const)
      for (let index = 0; index < entries; index++)
        mapUpdate(this.fd(name), new Uint8Array(Uint32Array.of(index).buffer), new Uint8Array(cpus * size), 0n)
  }

  fd(map: string): number {
    const fd = this.fds.get(map)
    if (fd === undefined) throw new Error(`no map ${map}`)
    return fd
  }

  setNode(change: Partial<NodeConfig>): void {
    this.maps.node.set(0, {
      abiHash: 0n,
      mp0Ifindex: 1,
      mp1Ifindex: 1,
      gatherIfindex: 0,
      holdIfindex: 0,
      ipsecIfindex: 1,
      routeEpoch: 1,
      vaddr: be32(NODE),
      eventIntervalNs: 1_000_000_000,
      icmpSrc6: address('fd00:100::2'),
      ...change,
    })
  }

  setSession(sid: number, change: Partial<Session>): void {
    this.maps.sessions.set(sid, {
      sid,
      remoteSid: REMOTE_SID,
      peer: 9,
      vrf: VRF,
      vaddrLocal: be32(NODE),
      vaddrRemote: be32(PEER),
      policyVersion: 5,
      pathMask: 3,
      txKey: siphashKeyWords(NODE_KEY),
      rxKey: siphashKeyWords(PEER_KEY),
      ...change,
    })
  }

  setPath(handle: number, change: Partial<PathConf>): void {
    const family = handle & 1 ? 6 : 4
    this.maps.pathConf.set(handle, {
      handle,
      ifindex: 1,
      local: bytes16(WAN[family].local),
      remote: bytes16(WAN[family].remote),
      localPort: 2426,
      remotePort: 2426,
      family: family === 6 ? ABI_FAMILY_IPV6 : ABI_FAMILY_IPV4,
      ttl: 64,
      mtu: 1500,
      segmentIfindex: 0,
      reserved: 0,
      rate: 0,
      delayUs: 0,
      ...change,
    })
  }

  /** With the tags of the session as it is set now; heard, unless `change` says when. */
  setState(handle: number, change: Partial<PathState>): void {
    const [sid, path] = [handle & ~15, handle & 15]
    const session = this.maps.sessions.get(sid)
    const tags = session && {
      txTag: plainTagState(session.txKey, session.remoteSid, path),
      rxTag: plainTagState(session.rxKey, sid, path),
    }
    this.maps.pathState.set(handle, { ...zeroPathState(), lastRxNs: ALWAYS_HEARD, ...tags, ...change })
  }

  setPeer(peer: number, change: Partial<Peer>): void {
    this.maps.peers.set(peer, {
      sid: SID,
      pathMask: 3,
      pathBest: 0,
      policyVersion: 4,
      mtuSecure: MTU.secure,
      mtuClear: MTU.clear,
      flags: ABI_PEER_F_ESP,
      steering: plainSteering(change.pathBest ?? 0, change.pathMask ?? 3),
      reserved: [0n, 0n],
      ...change,
    })
  }

  setNexthop(index: number, kind: number, flags = 0, target = 0): void {
    this.maps.nexthops.set(index, { kind, flags, reserved: 0, target })
  }

  #routes(): void {
    const { NH_PEER, NH_LAN, NH_LOCAL, NH_UNREACHABLE, NH_PROHIBIT, NH_NONE } = nexthopKind
    const rows = [
      [1, NH_LAN, 0, 1],
      [2, NH_PEER, 0, 9],
      [3, NH_PEER, ABI_NH_F_SECURE, 9],
      [4, NH_PEER, 0, 8],
      [5, NH_PEER, ABI_NH_F_SECURE, 8],
      [6, NH_LAN, ABI_NH_F_SECURE, 1],
      [10, NH_UNREACHABLE, 0, 0],
      [11, NH_PROHIBIT, 0, 0],
      [12, NH_PEER, 0, 77],
      [13, NH_PEER, 0, 13],
      [14, NH_PEER, ABI_NH_F_SECURE, 14],
      [15, NH_NONE, 0, 0],
    ] as const
    for (const [index, kind, flags, target] of rows) {
      this.setNexthop(index, kind, flags, target)
      this.fib.set({ vrf: VRF, address: `10.${index}.0.0`, prefixLength: 16 }, index)
      const group = index.toString().padStart(2, '0')
      this.fib.set({ vrf: VRF, address: formatAddress(address(`fd${group}::`)), prefixLength: 32 }, index)
    }
    this.setNexthop(20, NH_LOCAL)
    this.fib.set({ vrf: VRF, address: '10.1.0.1', prefixLength: 32 }, 20)
    this.fib.set({ vrf: VRF, address: 'fd01::1', prefixLength: 128 }, 20)
  }

  run(hook: Hook, packet: Bytes, context: Partial<RunContext> = {}): Outcome {
    return this.#observe(hook, fd => {
      const { verdict, packet: after, context: left } = runProgram(fd, { packet, context })
      this.left = left
      return { verdict, packet: after, mark: left.mark }
    })
  }

  /** The verdict alone: where packets come by the thousand. */
  verdict(hook: Hook, packet: Bytes): number {
    return runProgram(this.#program(hook), { packet }).verdict
  }

  /** skb->priority as the packet leaves the program. */
  priority(hook: Hook, packet: Bytes, context: Partial<RunContext> = {}): number {
    return runProgram(this.#program(hook), { packet, context }).context.priority
  }

  /** The verdict is XDP_*; a frame has no mark. @param metadata bytes in front of the frame that the program cannot have */
  runXdp(packet: Bytes, metadata = 0): Outcome {
    return this.#observe('wan-xdp', fd => {
      const { verdict, packet: after } = runXdp(fd, { packet, metadata })
      return { verdict, packet: after, mark: 0 }
    })
  }

  #observe(hook: Hook, run: (fd: number) => Pick<Outcome, 'verdict' | 'packet' | 'mark'>): Outcome {
    const before = { drops: readDrops(this.fds), counters: readCounters(this.fds) }
    return {
      ...run(this.#program(hook)),
      drops: changes(before.drops, readDrops(this.fds)),
      counters: changes(before.counters, readCounters(this.fds)),
    }
  }

  #program(hook: Hook): number {
    const program = this.#loaded.programs.get(hook)
    if (program === undefined) throw new Error(`hook ${hook} is not loaded`)
    return program
  }

  [Symbol.dispose](): void {
    this.fib[Symbol.dispose]()
    this.#loaded.close()
  }
}

/** IPv4 in the first four of 16 bytes, as path_conf has it. */
export function bytes16(text: string): Bytes {
  const bytes = new Uint8Array(16)
  bytes.set(address(text))
  return bytes
}

function changes(before: Record<string, number>, after: Record<string, number>): Record<string, number> {
  const rows = Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)] as const)
  return Object.fromEntries(rows.filter(([, value]) => value !== 0))
}
