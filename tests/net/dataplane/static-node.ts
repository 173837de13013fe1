/** A node without an agent: the real programs on real devices of one namespace, over maps that the test writes itself. */

import { LocalFib } from '../../../agent/kernel/fib/local.ts'
import type { FibKey } from '../../../agent/kernel/fib-key.ts'
import { checkResult, linkCreate } from '../../../agent/kernel/libbpf.ts'
import { type MapFds, openMaps, readCounters, readDrops } from '../../../agent/kernel/maps.ts'
import { closeFd } from '../../../agent/kernel/native.ts'
import type { Hook, Maps } from '../../../agent/kernel/port.ts'
import { findObjectFolder, hookPrograms, hooks, loadPrograms, type Programs } from '../../../agent/kernel/programs.ts'
import { edgeSizes } from '../../../agent/kernel/sizes.ts'
import { plainSteering, zeroPathState } from '../../../agent/plan/values.ts'
import {
  ABI_FAMILY_IPV4,
  ABI_FAMILY_IPV6,
  type Nexthop,
  type PathConf,
  type PathState,
} from '../../../schema/abi.gen.ts'
import { be32, parseAddress } from '../../../schema/address.ts'
import { plainTagState } from '../../../schema/mp-tag.ts'
import type { Namespace } from './namespace.ts'

/** One end of a session with one path (id 0). */
export interface SessionEnd {
  sid: number
  remoteSid: number
  /** Index of the peer, and of its entry in `peers`. */
  peer: number
  vaddrRemote: string
  txKey: bigint[]
  rxKey: bigint[]
  device: string
  local: string
  remote: string
  wanMtu: number
}

export const VRF = 7

/** An edge's, with room for a service chain. */
const SIZES = {
  ...edgeSizes,
  policies: 16,
  policy_rules: 16,
  rule_hits: 16,
  chains: 16,
  pools: 16,
  pool_turns: 16,
  pool_lines: 16,
  adapters: 16,
  instance_state: 16,
  adapter_traffic: 16,
}

export class StaticNode implements Disposable {
  readonly namespace: Namespace
  readonly vaddr: string
  readonly maps: Maps
  /** Their maps are those of the first. */
  readonly #programs: [Programs, ...Programs[]]
  readonly #fib: LocalFib
  readonly #links: number[] = []
  /** WAN device -> the macvlan over it. */
  readonly #segmenters = new Map<string, number>()
  readonly #fresh = new Map<number, PathState>()
  #nexthops = 0

  /** Makes mp0, mp1 and, when `secure`, ipsec0, and attaches their programs. `mpMtu`: WAN MTU less outer headers. */
  constructor(namespace: Namespace, options: { vaddr: string; secure: boolean; mpMtu: number }) {
    this.namespace = namespace
    this.vaddr = options.vaddr
    this.#programs = [loadPrograms(findObjectFolder(), [], { sizes: SIZES })]
    this.maps = openMaps(this.#mapFds)
    this.#fib = new LocalFib(this.#mapFds)
    // Below 1280 the kernel takes IPv6 off a device, and XFRM then builds no bundle for IPv6 packets (XfrmOutBundleGenError).
    const deviceMtu = Math.max(1280, options.mpMtu)
    namespace.run(`ip link add mp0 mtu ${deviceMtu} type veth peer name mp1 mtu ${deviceMtu}`)
    for (const device of ['mp0', 'mp1']) {
      namespace.run(`ip link set ${device} arp off`)
      namespace.run(`ip link set ${device} up`)
    }
    namespace.run('ethtool -K mp0 tx off sg off tso off gso off')
    namespace.run(`ip addr add ${options.vaddr}/32 dev mp0`)
    // The route says what fits: it is what XFRM and the node's own TCP go by.
    namespace.run(`ip route add 100.64.0.0/10 via 100.127.255.254 dev mp0 onlink mtu ${options.mpMtu}`)
    if (options.secure) this.#createIpsec()
    this.maps.node.set(0, {
      abiHash: 0n,
      mp0Ifindex: namespace.ifindex('mp0'),
      mp1Ifindex: namespace.ifindex('mp1'),
      gatherIfindex: this.#createGather(),
      holdIfindex: 0,
      ipsecIfindex: options.secure ? namespace.ifindex('ipsec0') : 0,
      routeEpoch: 1,
      vaddr: be32(options.vaddr),
      eventIntervalNs: 1_000_000,
      icmpSrc6: bytes16('fd00:100::1'),
    })
    this.attach('mp-egress', 'mp0')
    this.attach('mp-ingress', 'mp1')
  }

  #createGather(): number {
    const { namespace } = this
    namespace.run('ip link add mpg0 type veth peer name mpg1')
    // A veth passes packets through GRO when its sender offers no TSO.
    namespace.run('ethtool -K mpg0 tso off')
    namespace.run('ethtool -K mpg1 gro on')
    for (const device of ['mpg0', 'mpg1']) {
      namespace.run(`ip link set ${device} arp off addrgenmode none`)
      namespace.run(`ip link set ${device} up`)
    }
    this.attach('gather', 'mpg1')
    return namespace.ifindex('mpg0')
  }

  #createIpsec(): void {
    const { namespace } = this
    namespace.run('ip link add ipsec0 mtu 1300 type xfrm external')
    namespace.run('ip link set ipsec0 up')
    namespace.run('sysctl -qw net.ipv4.conf.ipsec0.disable_xfrm=1')
    namespace.run('ip route add default via 169.254.77.1 dev ipsec0 onlink table default metric 77')
    namespace.run('ip -6 rule add oif ipsec0 lookup 77')
    namespace.run('ip -6 route add default via fe80::77 dev ipsec0 onlink table 77')
    this.attach('ipsec-egress', 'ipsec0')
    this.attach('ipsec-ingress', 'ipsec0')
  }

  attach(hook: Hook, device: string): void {
    const program = this.#program(hook)
    const link = this.namespace.enter(() =>
      linkCreate(program, this.namespace.ifindex(device), hookPrograms[hook].attachType, hookPrograms[hook].flags),
    )
    this.#links.push(checkResult(link, 'attach', `${hook} to ${device}`))
  }

  /** Loaded at first use, with the others of its object: where the machine is emulated a test mostly waits for the verifier. */
  #program(hook: Hook): number {
    let loaded = this.#programs.find(({ programs }) => programs.has(hook))
    if (!loaded) {
      const wanted = hooks.filter(other => hookPrograms[other].object === hookPrograms[hook].object)
      loaded = loadPrograms(findObjectFolder(), wanted, { existing: this.#mapFds, sizes: SIZES })
      this.#programs.push(loaded)
    }
    const program = loaded.programs.get(hook)
    if (program === undefined) throw new Error(`hook ${hook} is not loaded`)
    return program
  }

  get #mapFds(): MapFds {
    return this.#programs[0].maps
  }

  /** `segmenter`: with a macvlan that cuts GSO packets; without, they go by mp0 and mp1. */
  addWan(device: string, { segmenter = true, xdp = false } = {}): void {
    const { namespace } = this
    this.attach('wan', device)
    this.attach('wan-egress', device)
    if (xdp) {
      const ifindex = namespace.ifindex(device)
      this.attach('wan-xdp', device)
      namespace.enter(() => this.maps.frameDevices.set(ifindex, ifindex))
    }
    if (!segmenter) return
    const macvlan = `mps${this.#segmenters.size}`
    namespace.run(`ip link add ${macvlan} link ${device} type macvlan mode private`)
    namespace.run(`ip link set ${macvlan} gso_max_size 400 gso_max_segs 1 arp off addrgenmode none`)
    namespace.run(`ip link set ${macvlan} up`)
    this.#segmenters.set(device, namespace.ifindex(macvlan))
  }

  addPort(device: string, addr4: string, addr6: string): void {
    const ifindex = this.namespace.ifindex(device)
    this.maps.ports.set(ifindex, { ifindex, vrf: VRF, addr4: be32(addr4), flags: 0, addr6: bytes16(addr6) })
    this.attach('lan', device)
  }

  addSession(end: SessionEnd, mtu: { secure: number; clear: number }): void {
    const { sid, remoteSid, peer, vaddrRemote, txKey, rxKey } = end
    this.maps.sessions.set(sid, {
      sid,
      remoteSid,
      peer,
      vrf: VRF,
      vaddrLocal: be32(this.vaddr),
      vaddrRemote: be32(vaddrRemote),
      policyVersion: 0,
      pathMask: 1,
      txKey,
      rxKey,
    })
    this.#addPath(sid, end, {})
    this.maps.peers.set(peer, {
      sid,
      pathMask: 1,
      pathBest: 0,
      policyVersion: 0,
      mtuSecure: mtu.secure,
      mtuClear: mtu.clear,
      flags: 1,
      steering: plainSteering(0, 1),
      reserved: [0n, 0n],
    })
    this.maps.vaddrs.set(vaddrRemote, peer)
  }

  /** One more path of a session that is there. @param change of its `path_conf` */
  addPath(path: number, end: SessionEnd, change: Partial<PathConf> = {}): void {
    const session = this.maps.sessions.get(end.sid)
    const peer = this.maps.peers.get(end.peer)
    if (!session || !peer) throw new Error(`no session ${end.sid}`)
    const pathMask = session.pathMask | (1 << path)
    this.maps.sessions.set(end.sid, { ...session, pathMask })
    this.#addPath(end.sid | path, end, change)
    this.maps.peers.set(end.peer, { ...peer, pathMask, steering: plainSteering(0, pathMask) })
  }

  changePath(handle: number, change: Partial<PathConf>): void {
    const conf = this.maps.pathConf.get(handle)
    if (!conf) throw new Error(`no path ${handle}`)
    this.maps.pathConf.set(handle, { ...conf, ...change })
  }

  /** Before any packet: what the programs have written is lost. */
  changeState(handle: number, change: Partial<PathState>): void {
    const state = this.#fresh.get(handle)
    if (!state) throw new Error(`no path ${handle}`)
    const changed = { ...state, ...change }
    this.#fresh.set(handle, changed)
    this.maps.pathState.set(handle, changed)
  }

  /** All classes alike. */
  steer(peer: number, mode: number): void {
    const entry = this.maps.peers.get(peer)
    if (!entry) throw new Error(`no peer ${peer}`)
    this.maps.peers.set(peer, { ...entry, steering: entry.steering.map(word => ({ ...word, mode })) })
  }

  #addPath(handle: number, end: SessionEnd, change: Partial<PathConf>): void {
    const address = parseAddress(end.local)
    this.maps.pathConf.set(handle, {
      handle,
      ifindex: this.namespace.ifindex(end.device),
      local: bytes16(end.local),
      remote: bytes16(end.remote),
      localPort: 2426,
      remotePort: 2426,
      family: address?.family === 6 ? ABI_FAMILY_IPV6 : ABI_FAMILY_IPV4,
      ttl: 64,
      mtu: end.wanMtu,
      segmentIfindex: this.#segmenters.get(end.device) ?? 0,
      reserved: 0,
      rate: 0,
      delayUs: 0,
      ...change,
    })
    const state = {
      ...zeroPathState(),
      txTag: plainTagState(end.txKey, end.remoteSid, handle & 15),
      rxTag: plainTagState(end.rxKey, end.sid, handle & 15),
    }
    this.#fresh.set(handle, state)
    this.maps.pathState.set(handle, state)
  }

  /** As if nothing had been sent or received yet. */
  forget(sid: number): void {
    const state = this.#fresh.get(sid)
    if (state) this.maps.pathState.set(sid, state)
  }

  addRoute(prefix: string, nexthop: Omit<Nexthop, 'reserved'>): void {
    const index = ++this.#nexthops
    this.maps.nexthops.set(index, { ...nexthop, reserved: 0 })
    this.#fib.set(fibKey(prefix), index)
  }

  /** Changes the next hop of a prefix that has a route; flows hold its index and so follow at once. @returns what it was */
  changeRoute(prefix: string, change: Partial<Nexthop>): Nexthop {
    const index = this.#fib.get(fibKey(prefix))
    const nexthop = index === undefined ? undefined : this.maps.nexthops.get(index)
    if (index === undefined || !nexthop) throw new Error(`no route ${prefix}`)
    this.maps.nexthops.set(index, { ...nexthop, ...change })
    return nexthop
  }

  /** Those that are not zero. */
  drops(): Record<string, number> {
    return nonZero(readDrops(this.#mapFds))
  }

  counters(): Record<string, number> {
    return nonZero(readCounters(this.#mapFds))
  }

  [Symbol.dispose](): void {
    for (const link of this.#links) closeFd(link)
    this.#fib[Symbol.dispose]()
    for (const programs of this.#programs) programs.close()
  }
}

function fibKey(prefix: string): FibKey {
  const [address = '', length = ''] = prefix.split('/')
  return { vrf: VRF, address, prefixLength: Number(length) }
}

/** IPv4 in the first four of 16 bytes, as path_conf has it. */
export function bytes16(text: string): Uint8Array {
  const address = parseAddress(text)
  if (!address) throw new TypeError(`not an address: ${text}`)
  const bytes = new Uint8Array(16)
  bytes.set(address.bytes)
  return bytes
}

function nonZero(values: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== 0))
}
