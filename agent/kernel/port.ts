/**
 * The one way from the agent to the kernel. `linux.ts` implements it with libbpf and netlink, `fake.ts` in memory; both pass
 * `conformance.ts`. Everything above works on this interface only, so thousands of nodes can be simulated in one process.
 *
 * Contract: operations fail with KernelError (operation, object, errno name, kernel's own text). Adding what exists is EEXIST,
 * removing what does not is ENOENT (links ENODEV), a full map is E2BIG (hash, LPM: ENOSPC where the kernel says so); callers that want idempotence name the codes
 * that they expect (plan/apply.ts), and swallow no others. Addresses are text in canonical form (RFC 5952 for IPv6).
 */
import type {
  Adapter,
  AdapterKey,
  AdapterTraffic,
  Bundle,
  Chain,
  Event as DataplaneEvent,
  Flow,
  InstanceState,
  Nexthop,
  NexthopSet,
  NodeConfig,
  PathConf,
  PathState,
  Peer,
  Policy,
  PolicyRule,
  Pool,
  PoolLine,
  Port,
  Session,
} from '../../schema/abi.gen.ts'
import type { KernelError } from './error.ts'
import type { FibKey } from './fib-key.ts'
import type { PathCounters } from './path-counters.ts'
import type { Queueing } from './queueing.ts'
import type { MapSizes } from './sizes.ts'

/** One BPF map, typed by its generated codecs. All calls are synchronous system calls. */
export interface KernelMap<K, V> {
  readonly name: string
  get(key: K): V | undefined
  /** Creates or replaces. */
  set(key: K, value: V): void
  /** Returns false when the key was not there. */
  delete(key: K): boolean
  /** Of an array map, which always holds every index: those that are not all zeros. */
  entries(): [K, V][]
  /** Writes many entries, with batch system calls where the map type has them. Not atomic: throws at the first that fails. */
  setMany(entries: readonly (readonly [K, V])[]): void
  /** Keys that are not there are passed over. */
  deleteMany(keys: readonly K[]): void
}

/** Service chains, bpf/abi/chain.h. An edge's arrays have one entry each. */
export interface ChainMaps {
  /** VRF -> its policy. */
  readonly policies: KernelMap<number, Policy>
  readonly policyRules: KernelMap<number, PolicyRule>
  /** Service path id -> chain. */
  readonly chains: KernelMap<number, Chain>
  readonly pools: KernelMap<number, Pool>
  readonly poolLines: KernelMap<number, PoolLine>
  readonly adapters: KernelMap<number, Adapter>
  readonly instanceState: KernelMap<number, InstanceState>
  /** ifindex -> adapter, with ADAPTER_OUTSIDE, or ADAPTER_UNDERLAY. */
  readonly adapterPorts: KernelMap<number, number>
  readonly adapterOuters: KernelMap<AdapterKey, number>
  /** Connections that a rule decided, by its index in policyRules; undefined: there is no such rule. */
  readonly ruleHits: (index: number) => bigint | undefined
  /** Sum over CPUs, of `seenNs` the newest; undefined: there is no such adapter. */
  readonly adapterTraffic: (adapter: number) => AdapterTraffic | undefined
}

/** A node's maps; `null` keys and values never occur. */
export interface Maps {
  readonly node: KernelMap<number, NodeConfig>
  readonly sessions: KernelMap<number, Session>
  readonly peers: KernelMap<number, Peer>
  readonly pathConf: KernelMap<number, PathConf>
  readonly pathState: KernelMap<number, PathState>
  /** Session id -> what its paths have in common. */
  readonly bundles: KernelMap<number, Bundle>
  readonly nexthops: KernelMap<number, Nexthop>
  readonly nexthopSets: KernelMap<number, NexthopSet>
  /** ifindex -> LAN port. */
  readonly ports: KernelMap<number, Port>
  /** ifindex -> itself: WAN devices with the hook `wan-xdp`. Of the caller's network namespace. */
  readonly frameDevices: KernelMap<number, number>
  /** A peer's virtual IPv4 address -> peer index, for the node's own packets on mp0. */
  readonly vaddrs: KernelMap<string, number>
  readonly chain: ChainMaps
  /** `lastRxNs` of a path's state without the rest of it; undefined: there is no such path. */
  readonly lastHeardNs: (handle: number) => bigint | undefined
  /** What is counted of a path; undefined: there is no such path. */
  readonly pathCounters: (handle: number) => PathCounters | undefined
  /** Lets senders use a path again that they left (`left` of its state), and touches nothing else of it. False: there is no such path. */
  readonly clearLeft: (handle: number) => boolean
}

export interface FibRoute extends FibKey {
  /** Index into nexthops; 0: remove the route, if there is one. */
  nexthop: number
}

export interface FibUsage {
  routes: number
  routesMax: number
  /** Of the table that packets are looked up in. */
  bytes: number
  bytesMax: number
}

/** The routes of all VRFs. A table for look-ups, not a map: changes take effect when a promise says so. */
export interface Fib {
  /**
   * Makes the changes, in batches as large as there are many. Resolves when packets see them, with the index of each that was refused: ENOSPC (no room,
   * the table stays as it was), ERANGE (VRF number or next hop). @throws KernelError EIO when it failed again and again
   */
  apply(changes: readonly FibRoute[]): Promise<ReadonlyMap<number, KernelError>>
  /** Every route, from whichever agent, and its next hop. */
  entries(): Promise<[FibKey, number][]>
  usage(): Promise<FibUsage>
  /** Something went wrong beside any call, and was mended or not: for the log. */
  onFault(handler: (error: Error) => void): void
}

/** One direction of a flow, as the programs remember it. */
export interface FlowEntry extends Omit<Flow, 'idLow' | 'idHigh'> {
  /** Its number in the table, under which other data about it may be kept. */
  slot: number
  vrf: number
  /** IPv6 flows have none: the table knows them by a digest. */
  tuple: FlowTuple | undefined
}

export interface FlowTuple {
  proto: number
  source: string
  destination: string
  sourcePort: number
  destinationPort: number
}

export interface SweepResult {
  /** Flows that stay. */
  live: number
  freed: number
}

/** The flow table, which belongs to the programs: they enter flows, and under pressure replace them, with or without an agent. */
export interface FlowTable {
  /** Cache lines of two slots; a power of two. */
  readonly lines: number
  /** What is remembered, at most `limit`. Reads the whole table: 64 MB on a gateway. */
  entries(limit?: number): FlowEntry[]
  /** Frees the slots of flows that have outlived themselves, in `lines` lines from `line` on. */
  sweep(line: number, lines: number): SweepResult
  /** Forgets all flows: the next packet of each is looked up again. */
  clear(): void
}

export type Hook =
  | 'lan'
  | 'wan'
  | 'wan-xdp'
  | 'wan-egress'
  | 'service'
  | 'gather'
  | 'hold'
  | 'mp-egress'
  | 'mp-ingress'
  | 'ipsec-egress'
  | 'ipsec-ingress'

export interface ProgramInfo {
  hook: Hook
  /** Instructions the verifier walked. */
  verified: number
  jitedBytes: number
}

export interface DataplaneOptions {
  /** A folder of this node's own on a bpffs; made when missing. */
  bpffs: string
  /** With the programs of ipsec0. */
  esp: boolean
  /** Default: every map as large as bpf/maps.h declares it. */
  sizes?: MapSizes
  /** Whose programs to load, in which the verifier spends its time; of others `attach` says ENOENT. Default: all. */
  hooks?: readonly Hook[]
}

/** How `openDataplane` found things. */
export type Adoption = 'created' | 'adopted' | 'rebuilt'

export interface Dataplane {
  readonly maps: Maps
  readonly flows: FlowTable
  readonly fib: Fib
  readonly adoption: Adoption
  /** Why pinned objects were not adopted, when `adoption` is 'rebuilt'. */
  readonly reason: string | undefined
  /** Wall time of loading and verifying all programs. */
  readonly loadMs: number
  /** Attaches (or, when a pinned link is there, updates in place without losing a packet) one program to a device. */
  attach(hook: Hook, ifindex: number): void
  detach(hook: Hook, ifindex: number): void
  attached(): { hook: Hook; ifindex: number }[]
  programs(): ProgramInfo[]
  /** Sum over CPUs; names are enum names of abi.h without their prefix, lower case with dashes: `mp-no-session`. */
  drops(): Record<string, number>
  counters(): Record<string, number>
  onEvent(handler: (event: DataplaneEvent) => void): void
  /** Closes descriptors; pinned objects stay and go on forwarding. */
  close(): void
  /** Detaches and unpins everything of this node. */
  destroy(): void
}

export interface Link {
  ifindex: number
  name: string
  kind: string | undefined
  mtu: number
  up: boolean
  /** Carrier: IFF_LOWER_UP. */
  running: boolean
  mac: string
  /** ifindex of the device below a macvlan. */
  parent: number | undefined
}

export type LinkSpec =
  | { kind: 'veth'; name: string; peer: string; mtu: number }
  | { kind: 'dummy'; name: string; mtu: number }
  | { kind: 'xfrm'; name: string; mtu: number }
  /** Private mode, over device `parent`; the limits (IFLA_GSO_MAX_*) say what its transmit cuts. */
  | { kind: 'macvlan'; name: string; mtu: number; parent: number; gsoMaxSize: number; gsoMaxSegments: number }

export interface Address {
  ifindex: number
  address: string
  prefixLength: number
}

export interface Route {
  /** CIDR. */
  destination: string
  ifindex: number
  gateway?: string
  table?: number
  metric?: number
  /** RTPROT_*: 2 kernel, 3 boot, 4 static, 16 dhcp ... */
  protocol?: number
  scope?: 'global' | 'link' | 'host'
  onlink?: boolean
  source?: string
  /** Path MTU of this route, below the device's (RTAX_MTU). */
  mtu?: number
}

/** Policy rule `oif <ifindex> lookup <table>` for one family: keeps the packets redirected to ipsec0 and mp0 out of the main table. */
export interface Rule {
  family: 4 | 6
  outInterface: string
  table: number
  priority: number
}

export interface Neighbour {
  ifindex: number
  address: string
  mac: string
}

/** Link, address or route changed; the listener reads again what it needs. `overflow`: notifications were lost, read everything. */
export type NetworkChange = { what: 'link' | 'address' | 'route' | 'neighbour'; ifindex: number } | { what: 'overflow' }

/** One ESP tunnel-mode SA (XFRM state), AES-GCM with 16-byte ICV and ESN. */
export interface SecurityAssociation {
  direction: 'in' | 'out'
  source: string
  destination: string
  spi: number
  ifId: number
  /** 16 or 32 bytes of key followed by the 4-byte salt (RFC 4106). Never returned by `list`. */
  key: Uint8Array
  /** Packets; at most 4096. */
  replayWindow: number
}

export interface SecurityAssociationState {
  direction: 'in' | 'out' | undefined
  source: string
  destination: string
  spi: number
  ifId: number
  packets: number
  bytes: number
  replayErrors: number
  integrityErrors: number
}

/** Policy `dir out`, any selector of both families (one kernel policy each), one template to the peer's virtual address. */
export interface TunnelPolicy {
  source: string
  destination: string
  ifId: number
}

export interface Network extends Queueing {
  links(): Promise<Link[]>
  createLink(spec: LinkSpec): Promise<Link>
  deleteLink(ifindex: number): Promise<void>
  setLink(ifindex: number, change: { up?: boolean; mtu?: number }): Promise<void>
  /** ethtool features by kernel name: `tx-tcp-segmentation`, `tx-checksum-ip-generic` ... */
  setFeatures(ifindex: number, features: Record<string, boolean>): Promise<void>
  addresses(): Promise<Address[]>
  addAddress(address: Address): Promise<void>
  deleteAddress(address: Address): Promise<void>
  /** Main table unless `table` is given. */
  routes(table?: number): Promise<Route[]>
  addRoute(route: Route): Promise<void>
  /** Adds or replaces the route of the same destination, table and metric. */
  replaceRoute(route: Route): Promise<void>
  deleteRoute(route: Route): Promise<void>
  rules(): Promise<Rule[]>
  addRule(rule: Rule): Promise<void>
  deleteRule(rule: Rule): Promise<void>
  neighbours(ifindex: number): Promise<Neighbour[]>
  /** Permanent neighbour. */
  replaceNeighbour(neighbour: Neighbour): Promise<void>
  /** Returns a function that ends the subscription. */
  watch(listener: (change: NetworkChange) => void): () => void
  /** /proc/sys/net key with slashes, below net/: `ipv4/conf/wan0/rp_filter`. */
  sysctl(key: string): string | undefined
  setSysctl(key: string, value: string): void
}

export interface Xfrm {
  addAssociation(association: SecurityAssociation): Promise<void>
  deleteAssociation(association: { source?: string; destination: string; spi: number }): Promise<void>
  associations(): Promise<SecurityAssociationState[]>
  addPolicy(policy: TunnelPolicy): Promise<void>
  deletePolicy(policy: { ifId: number }): Promise<void>
  policies(): Promise<TunnelPolicy[]>
}

/** What this kernel can do; `problems` are the one-line reasons to refuse to start. */
export interface Capabilities {
  kernel: string
  esp: boolean
  /** Why `esp` is false, in one line. */
  espReason: string | undefined
  problems: string[]
}

export interface KernelPort {
  capabilities(): Promise<Capabilities>
  readonly network: Network
  readonly xfrm: Xfrm
  /** Loads the programs, or adopts those pinned below `bpffs`; `rebuilt` when what is pinned is of another layout or incomplete. */
  openDataplane(options: DataplaneOptions): Promise<Dataplane>
  /** CLOCK_MONOTONIC in ns, the clock of path_state. */
  monotonic(): bigint
  close(): void
}
