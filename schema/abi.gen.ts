// Generated from bpf/abi.h and bpf/wire.h by `npm run codegen`. Do not edit.
import {type Codec, putBytes, putStructs, putU16s, putU32s, putU64s, takeBytes, takeStructs, takeU16s, takeU32s, takeU64s, viewOf} from './codec.ts'

/** Hash over all layouts, names and values below: equal exactly when maps mean the same. */
export const ABI_HASH = 0xe1e92580e471ad4fn

export const ABI_MP_PORT = 2426
export const ABI_MP_VERSION = 1
export const ABI_MP_HDR_LEN = 40
export const ABI_MP_PATHS = 16
export const ABI_QUEUE_MAJOR = 9254
export const ABI_QUEUE_MINOR = 16
export const ABI_QUEUE_PRIORITIES = 9312
export const ABI_MAX_PATHS = 65536
export const ABI_MAX_PEERS = 32768
export const ABI_MAX_NEXTHOPS = 32768
export const ABI_MAX_NEXTHOP_SETS = 1024
export const ABI_NEXTHOP_SET_MEMBERS = 16
export const ABI_MAX_VRFS = 16384
export const ABI_MAX_ROUTES = 1048576
export const ABI_MAX_FLOW_LINES = 1048576
export const ABI_MAX_PORTS = 1024
export const ABI_PORT_PROBES = 8
export const ABI_FLOW_PROTO_DIGEST = 255
export const ABI_FLOW_CLAIMED = 1
export const ABI_FLOW_MANY = 64
export const ABI_FLOW_LIFE_NEW = 30
export const ABI_FLOW_LIFE_CLOSED = 10
export const ABI_FLOW_LIFE_ANSWERED = 300
export const ABI_FLOW_LIFE_CONNECTED = 7440
export const ABI_WINDOW_WORDS = 64
export const ABI_LANE_WORDS = 16
export const ABI_MP_F_ASK = 1
export const ABI_MP_F_SPREAD = 2
export const ABI_MP_LANES = 8
export const ABI_DELAY_BUCKETS = 16
export const ABI_DELAY_BUCKET_US = 125
export const ABI_TRANSIT_EPOCH_SHIFT = 32
export const ABI_NH_F_SECURE = 1
export const ABI_PEER_F_ESP = 1
export const ABI_NH_F_OUTSIDE = 2
export const ABI_NH_F_CHAINED = 4
export const ABI_STAGE_SHIFT = 14
export const ABI_MAX_STAGES = 1024
export const ABI_VRF_UPSTREAM = 16383
export const ABI_MAX_CHAINS = 4096
export const ABI_CHAIN_HOPS = 8
export const ABI_MAX_POOLS = 4096
export const ABI_MAX_POOL_LINES = 65536
export const ABI_MAX_ADAPTERS = 4096
export const ABI_MAX_RULES = 65536
export const ABI_POLICY_RULES = 1024
export const ABI_RULE_F_SHADOW = 1
export const ABI_RULE_F_REVERSE = 2
export const ABI_RULE_F_MOVE = 4
export const ABI_HOP_F_FAIL_OPEN = 1
export const ABI_HOP_F_STATELESS = 2
export const ABI_CHAIN_F_SECURE = 1
export const ABI_POOL_MEMBERS = 64
export const ABI_POOL_LINE_SLOTS = 32
export const ABI_ADAPTER_F_DEAD = 1
export const ABI_ADAPTER_F_SECURE = 2
export const ABI_STEP_STEERED = 1
export const ABI_STEP_COUNTED = 2
export const ABI_STEP_ANSWER = 4
export const ABI_STEP_BACKWARDS = 8
export const ABI_STEP_LAST = 16
export const ABI_ADAPTER_OUTSIDE = 32768
export const ABI_ADAPTER_UNDERLAY = 16384
export const ABI_PORT_F_FQ = 1
export const ABI_FAMILY_NONE = 0
export const ABI_FAMILY_IPV4 = 4
export const ABI_FAMILY_IPV6 = 6
export const ABI_EVENT_HEAD = 64
export const ABI_MAX_FIB_BYTES = 50331648
export const ABI_FIB_SLACK = 4096
export const ABI_FIB_UNIT = 16
export const ABI_FIB_LINE_BYTES = 64
export const ABI_FIB_DEEPER = 32768
export const ABI_FIB_ROUTE_FREE = 0

/** enum mp_type */
export const mpType = {
  MP_DATA: 1,
  MP_PROBE: 2,
  MP_PROBE_REPLY: 3,
  MP_PARITY: 4,
  MP_FIRST_HANDSHAKE: 8,
  MP_INIT: 8,
  MP_RESPONSE: 9,
  MP_COOKIE: 10,
  MP_RESET: 11,
  MP_INIT_KEM: 12,
  MP_RESPONSE_KEM: 13,
} as const
/** Value -> name without its prefix. */
export const mpTypeNames: Readonly<Record<number, string>> = {
  1: 'data',
  2: 'probe',
  3: 'probe-reply',
  4: 'parity',
  8: 'init',
  9: 'response',
  10: 'cookie',
  11: 'reset',
  12: 'init-kem',
  13: 'response-kem',
}

/** enum drop_reason */
export const dropReason = {
  DROP_NONE: 0,
  DROP_MP_TRUNCATED: 1,
  DROP_MP_VERSION: 2,
  DROP_MP_TYPE: 3,
  DROP_MP_NO_SESSION: 4,
  DROP_MP_PATH: 5,
  DROP_MP_TAG: 6,
  DROP_MP_REPLAY: 7,
  DROP_MP_TOO_OLD: 8,
  DROP_OUTER_FRAGMENT: 9,
  DROP_OUTER_MALFORMED: 10,
  DROP_INNER_MALFORMED: 11,
  DROP_INNER_SPOOFED: 12,
  DROP_NO_VRF: 13,
  DROP_NO_ROUTE: 14,
  DROP_UNREACHABLE: 15,
  DROP_PROHIBITED: 16,
  DROP_TTL: 17,
  DROP_TOO_BIG: 18,
  DROP_CLEAR_ON_SECURE: 19,
  DROP_SECURE_ON_CLEAR: 20,
  DROP_LOOP: 21,
  DROP_NO_PEER: 22,
  DROP_NO_PATH: 23,
  DROP_NO_ESP: 24,
  DROP_NO_SA: 25,
  DROP_PLAINTEXT: 26,
  DROP_NOT_OURS: 27,
  DROP_REWRITE: 28,
  DROP_FEC_PARITY: 29,
  DROP_FEC_LENGTH: 30,
  DROP_NO_CHAIN: 31,
  DROP_NO_INSTANCE: 32,
  DROP_INSTANCE_LOST: 33,
  DROP_CHAIN_TAG: 34,
  DROP_NO_ADAPTER: 35,
  DROP_NOT_CHAINED: 36,
  DROP_NOT_LINKED: 37,
} as const
export const DROP_REASONS = 38
/** Value -> name without its prefix. */
export const dropReasonNames: Readonly<Record<number, string>> = {
  0: 'none',
  1: 'mp-truncated',
  2: 'mp-version',
  3: 'mp-type',
  4: 'mp-no-session',
  5: 'mp-path',
  6: 'mp-tag',
  7: 'mp-replay',
  8: 'mp-too-old',
  9: 'outer-fragment',
  10: 'outer-malformed',
  11: 'inner-malformed',
  12: 'inner-spoofed',
  13: 'no-vrf',
  14: 'no-route',
  15: 'unreachable',
  16: 'prohibited',
  17: 'ttl',
  18: 'too-big',
  19: 'clear-on-secure',
  20: 'secure-on-clear',
  21: 'loop',
  22: 'no-peer',
  23: 'no-path',
  24: 'no-esp',
  25: 'no-sa',
  26: 'plaintext',
  27: 'not-ours',
  28: 'rewrite',
  29: 'fec-parity',
  30: 'fec-length',
  31: 'no-chain',
  32: 'no-instance',
  33: 'instance-lost',
  34: 'chain-tag',
  35: 'no-adapter',
  36: 'not-chained',
  37: 'not-linked',
}

/** enum counter */
export const counter = {
  COUNT_LAN_IN: 0,
  COUNT_LAN_OUT: 1,
  COUNT_TO_PEER_SECURE: 2,
  COUNT_TO_PEER_CLEAR: 3,
  COUNT_FROM_PEER_SECURE: 4,
  COUNT_FROM_PEER_CLEAR: 5,
  COUNT_LOCAL_IN: 6,
  COUNT_LOCAL_OUT: 7,
  COUNT_MP_IN: 8,
  COUNT_MP_OUT: 9,
  COUNT_HANDSHAKE_IN: 10,
  COUNT_PROBE_ANSWERED: 11,
  COUNT_PROBE_REPLY_IN: 12,
  COUNT_ICMP_SENT: 13,
  COUNT_MSS_CLAMPED: 14,
  COUNT_FLOW_NEW: 15,
  COUNT_FLOW_HIT: 16,
  COUNT_BURST_OUT: 17,
  COUNT_FLOW_REPLACED: 18,
  COUNT_FLOW_FULL: 19,
  COUNT_FLOW_BUSY: 20,
  COUNT_RELAYED: 21,
  COUNT_PLAYED: 22,
  COUNT_PLAYED_LATE: 23,
  COUNT_ASK_OUT: 24,
  COUNT_ASK_IN: 25,
  COUNT_PARITY_OUT: 26,
  COUNT_PARITY_IN: 27,
  COUNT_REBUILT: 28,
  COUNT_REBUILT_LATE: 29,
  COUNT_UNPROTECTED: 30,
  COUNT_COPY_OUT: 31,
  COUNT_COPY_IN: 32,
  COUNT_STEERED: 33,
  COUNT_SHADOWED: 34,
  COUNT_TO_SERVICE: 35,
  COUNT_FROM_SERVICE: 36,
  COUNT_RESET_SENT: 37,
  COUNT_HOP_SKIPPED: 38,
  COUNT_HELD: 39,
  COUNT_HELD_LATE: 40,
} as const
export const COUNTERS = 41
/** Value -> name without its prefix. */
export const counterNames: Readonly<Record<number, string>> = {
  0: 'lan-in',
  1: 'lan-out',
  2: 'to-peer-secure',
  3: 'to-peer-clear',
  4: 'from-peer-secure',
  5: 'from-peer-clear',
  6: 'local-in',
  7: 'local-out',
  8: 'mp-in',
  9: 'mp-out',
  10: 'handshake-in',
  11: 'probe-answered',
  12: 'probe-reply-in',
  13: 'icmp-sent',
  14: 'mss-clamped',
  15: 'flow-new',
  16: 'flow-hit',
  17: 'burst-out',
  18: 'flow-replaced',
  19: 'flow-full',
  20: 'flow-busy',
  21: 'relayed',
  22: 'played',
  23: 'played-late',
  24: 'ask-out',
  25: 'ask-in',
  26: 'parity-out',
  27: 'parity-in',
  28: 'rebuilt',
  29: 'rebuilt-late',
  30: 'unprotected',
  31: 'copy-out',
  32: 'copy-in',
  33: 'steered',
  34: 'shadowed',
  35: 'to-service',
  36: 'from-service',
  37: 'reset-sent',
  38: 'hop-skipped',
  39: 'held',
  40: 'held-late',
}

/** enum nexthop_kind */
export const nexthopKind = {
  NH_NONE: 0,
  NH_UNREACHABLE: 1,
  NH_PROHIBIT: 2,
  NH_LOCAL: 3,
  NH_LAN: 4,
  NH_PEER: 5,
  NH_SET: 6,
  NH_ADAPTER: 7,
} as const
/** Value -> name without its prefix. */
export const nexthopKindNames: Readonly<Record<number, string>> = {
  0: 'none',
  1: 'unreachable',
  2: 'prohibit',
  3: 'local',
  4: 'lan',
  5: 'peer',
  6: 'set',
  7: 'adapter',
}

/** enum flow_state */
export const flowState = {
  FLOW_NEW: 0,
  FLOW_CLOSED: 1,
  FLOW_ANSWERED: 2,
  FLOW_CONNECTED: 3,
} as const
/** Value -> name without its prefix. */
export const flowStateNames: Readonly<Record<number, string>> = {
  0: 'new',
  1: 'closed',
  2: 'answered',
  3: 'connected',
}

/** enum event_type */
export const eventType = {
  EVENT_DROP: 1,
  EVENT_NO_SESSION: 2,
  EVENT_PATH_MOVED: 3,
  EVENT_POLICY_AHEAD: 4,
  EVENT_PATH_LEFT: 5,
} as const
/** Value -> name without its prefix. */
export const eventTypeNames: Readonly<Record<number, string>> = {
  1: 'drop',
  2: 'no-session',
  3: 'path-moved',
  4: 'policy-ahead',
  5: 'path-left',
}

/** enum traffic_class */
export const trafficClass = {
  CLASS_DEFAULT: 0,
  CLASS_REALTIME: 1,
  CLASS_TRANSACTIONAL: 2,
  CLASS_BULK: 3,
  CLASSES: 4,
} as const
/** Value -> name without its prefix. */
export const trafficClassNames: Readonly<Record<number, string>> = {
  0: 'class-default',
  1: 'class-realtime',
  2: 'class-transactional',
  3: 'class-bulk',
  4: 'classes',
}

/** enum spread */
export const spread = {
  SPREAD_BEST: 0,
  SPREAD_FLOWS: 1,
  SPREAD_PACKETS: 2,
  SPREAD_TWICE: 3,
} as const
/** Value -> name without its prefix. */
export const spreadNames: Readonly<Record<number, string>> = {
  0: 'best',
  1: 'flows',
  2: 'packets',
  3: 'twice',
}

/** enum fib_kind */
export const fibKind = {
  FIB_ANSWER: 0,
  FIB_BITMAP: 1,
  FIB_TABLE: 2,
  FIB_SHORT: 3,
  FIB_LINE: 4,
  FIB_LINES: 5,
} as const
/** Value -> name without its prefix. */
export const fibKindNames: Readonly<Record<number, string>> = {
  0: 'answer',
  1: 'bitmap',
  2: 'table',
  3: 'short',
  4: 'line',
  5: 'lines',
}

/** enum balance */
export const balance = {
  BALANCE_TURNS: 0,
  BALANCE_LEAST: 1,
  BALANCE_HASH: 2,
} as const
/** Value -> name without its prefix. */
export const balanceNames: Readonly<Record<number, string>> = {
  0: 'turns',
  1: 'least',
  2: 'hash',
}

/** enum adapter_kind */
export const adapterKind = {
  ADAPTER_NONE: 0,
  ADAPTER_ETHERNET: 1,
  ADAPTER_IPIP: 2,
  ADAPTER_GENEVE: 3,
} as const
/** Value -> name without its prefix. */
export const adapterKindNames: Readonly<Record<number, string>> = {
  0: 'none',
  1: 'ethernet',
  2: 'ipip',
  3: 'geneve',
}

/** struct mp_hdr, 40 bytes */
export interface MpHdr {
  versionType: number
  path: number
  qos: number
  fec: number
  session: number
  sequence: number
  servicePath: number
  number: bigint
  timestampUs: number
  policyVersion: number
  tag: bigint
}

export const mpHdrCodec: Codec<MpHdr> = {
  size: 40,
  encode: value => {
    const bytes = new Uint8Array(40)
    const view = viewOf(bytes)
    view.setUint8(0, value.versionType)
    view.setUint8(1, value.path)
    view.setUint8(2, value.qos)
    view.setUint8(3, value.fec)
    view.setUint32(4, value.session)
    view.setUint32(8, value.sequence)
    view.setUint32(12, value.servicePath)
    view.setBigUint64(16, value.number)
    view.setUint32(24, value.timestampUs)
    view.setUint32(28, value.policyVersion)
    view.setBigUint64(32, value.tag)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      versionType: view.getUint8(0),
      path: view.getUint8(1),
      qos: view.getUint8(2),
      fec: view.getUint8(3),
      session: view.getUint32(4),
      sequence: view.getUint32(8),
      servicePath: view.getUint32(12),
      number: view.getBigUint64(16),
      timestampUs: view.getUint32(24),
      policyVersion: view.getUint32(28),
      tag: view.getBigUint64(32),
    }
  },
}

/** struct mp_report, 16 bytes */
export interface MpReport {
  highest: bigint
  packets: bigint
}

export const mpReportCodec: Codec<MpReport> = {
  size: 16,
  encode: value => {
    const bytes = new Uint8Array(16)
    const view = viewOf(bytes)
    view.setBigUint64(0, value.highest)
    view.setBigUint64(8, value.packets)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      highest: view.getBigUint64(0),
      packets: view.getBigUint64(8),
    }
  },
}

/** struct mp_trigger, 16 bytes */
export interface MpTrigger {
  path: number
  round: number
  size: number
  reserved: Uint8Array
}

export const mpTriggerCodec: Codec<MpTrigger> = {
  size: 16,
  encode: value => {
    const bytes = new Uint8Array(16)
    const view = viewOf(bytes)
    view.setUint8(0, value.path)
    view.setUint8(1, value.round)
    view.setUint16(2, value.size)
    putBytes(bytes, 4, 12, value.reserved)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      path: view.getUint8(0),
      round: view.getUint8(1),
      size: view.getUint16(2),
      reserved: takeBytes(view, 4, 12),
    }
  },
}

/** struct nexthop, 8 bytes */
export interface Nexthop {
  kind: number
  flags: number
  reserved: number
  target: number
}

export const nexthopCodec: Codec<Nexthop> = {
  size: 8,
  encode: value => {
    const bytes = new Uint8Array(8)
    const view = viewOf(bytes)
    view.setUint8(0, value.kind)
    view.setUint8(1, value.flags)
    view.setUint16(2, value.reserved, true)
    view.setUint32(4, value.target, true)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      kind: view.getUint8(0),
      flags: view.getUint8(1),
      reserved: view.getUint16(2, true),
      target: view.getUint32(4, true),
    }
  },
}

/** struct nexthop_set, 32 bytes */
export interface NexthopSet {
  members: number[]
}

export const nexthopSetCodec: Codec<NexthopSet> = {
  size: 32,
  encode: value => {
    const bytes = new Uint8Array(32)
    const view = viewOf(bytes)
    putU16s(view, 0, 16, value.members)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      members: takeU16s(view, 0, 16),
    }
  },
}

/** struct fib, 64 bytes */
export interface Fib {
  roots: number
  vrfs: number
  reserved: number[]
}

export const fibCodec: Codec<Fib> = {
  size: 64,
  encode: value => {
    const bytes = new Uint8Array(64)
    const view = viewOf(bytes)
    view.setUint32(0, value.roots, true)
    view.setUint32(4, value.vrfs, true)
    putU32s(view, 8, 14, value.reserved)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      roots: view.getUint32(0, true),
      vrfs: view.getUint32(4, true),
      reserved: takeU32s(view, 8, 14),
    }
  },
}

/** struct fib_root, 16 bytes */
export interface FibRoot {
  word4: number
  word6: number
  default4: number
  default6: number
  reserved: number
}

export const fibRootCodec: Codec<FibRoot> = {
  size: 16,
  encode: value => {
    const bytes = new Uint8Array(16)
    const view = viewOf(bytes)
    view.setUint32(0, value.word4, true)
    view.setUint32(4, value.word6, true)
    view.setUint16(8, value.default4, true)
    view.setUint16(10, value.default6, true)
    view.setUint32(12, value.reserved, true)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      word4: view.getUint32(0, true),
      word6: view.getUint32(4, true),
      default4: view.getUint16(8, true),
      default6: view.getUint16(10, true),
      reserved: view.getUint32(12, true),
    }
  },
}

/** struct fib_route, 24 bytes */
export interface FibRoute {
  vrf: number
  nexthop: number
  length: number
  family: number
  address: bigint[]
}

export const fibRouteCodec: Codec<FibRoute> = {
  size: 24,
  encode: value => {
    const bytes = new Uint8Array(24)
    const view = viewOf(bytes)
    view.setUint32(0, value.vrf, true)
    view.setUint16(4, value.nexthop, true)
    view.setUint8(6, value.length)
    view.setUint8(7, value.family)
    putU64s(view, 8, 2, value.address)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      vrf: view.getUint32(0, true),
      nexthop: view.getUint16(4, true),
      length: view.getUint8(6),
      family: view.getUint8(7),
      address: takeU64s(view, 8, 2),
    }
  },
}

/** struct flow_key, 44 bytes */
export interface FlowKey {
  vrf: number
  proto: number
  reserved: Uint8Array
  sport: number
  dport: number
  src: Uint8Array
  dst: Uint8Array
}

export const flowKeyCodec: Codec<FlowKey> = {
  size: 44,
  encode: value => {
    const bytes = new Uint8Array(44)
    const view = viewOf(bytes)
    view.setUint32(0, value.vrf, true)
    view.setUint8(4, value.proto)
    putBytes(bytes, 5, 3, value.reserved)
    view.setUint16(8, value.sport)
    view.setUint16(10, value.dport)
    putBytes(bytes, 12, 16, value.src)
    putBytes(bytes, 28, 16, value.dst)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      vrf: view.getUint32(0, true),
      proto: view.getUint8(4),
      reserved: takeBytes(view, 5, 3),
      sport: view.getUint16(8),
      dport: view.getUint16(10),
      src: takeBytes(view, 12, 16),
      dst: takeBytes(view, 28, 16),
    }
  },
}

/** struct flow, 32 bytes */
export interface Flow {
  idLow: bigint
  idHigh: bigint
  routeEpoch: number
  nexthop: number
  seen: number
  policyVersion: number
  qos: number
  step: number
  packets: number
  state: number
}

export const flowCodec: Codec<Flow> = {
  size: 32,
  encode: value => {
    const bytes = new Uint8Array(32)
    const view = viewOf(bytes)
    view.setBigUint64(0, value.idLow, true)
    view.setBigUint64(8, value.idHigh, true)
    view.setUint32(16, value.routeEpoch, true)
    view.setUint16(20, value.nexthop, true)
    view.setUint16(22, value.seen, true)
    view.setUint32(24, value.policyVersion, true)
    view.setUint8(28, value.qos)
    view.setUint8(29, value.step)
    view.setUint8(30, value.packets)
    view.setUint8(31, value.state)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      idLow: view.getBigUint64(0, true),
      idHigh: view.getBigUint64(8, true),
      routeEpoch: view.getUint32(16, true),
      nexthop: view.getUint16(20, true),
      seen: view.getUint16(22, true),
      policyVersion: view.getUint32(24, true),
      qos: view.getUint8(28),
      step: view.getUint8(29),
      packets: view.getUint8(30),
      state: view.getUint8(31),
    }
  },
}

/** struct flow_config, 56 bytes */
export interface FlowConfig {
  lineKey: bigint[]
  digestKey: bigint[]
  lineMask: number
  tickShift: number
}

export const flowConfigCodec: Codec<FlowConfig> = {
  size: 56,
  encode: value => {
    const bytes = new Uint8Array(56)
    const view = viewOf(bytes)
    putU64s(view, 0, 4, value.lineKey)
    putU64s(view, 32, 2, value.digestKey)
    view.setUint32(48, value.lineMask, true)
    view.setUint32(52, value.tickShift, true)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      lineKey: takeU64s(view, 0, 4),
      digestKey: takeU64s(view, 32, 2),
      lineMask: view.getUint32(48, true),
      tickShift: view.getUint32(52, true),
    }
  },
}

/** struct flow_sweep, 16 bytes */
export interface FlowSweep {
  line: number
  lines: number
  live: number
  freed: number
}

export const flowSweepCodec: Codec<FlowSweep> = {
  size: 16,
  encode: value => {
    const bytes = new Uint8Array(16)
    const view = viewOf(bytes)
    view.setUint32(0, value.line, true)
    view.setUint32(4, value.lines, true)
    view.setUint32(8, value.live, true)
    view.setUint32(12, value.freed, true)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      line: view.getUint32(0, true),
      lines: view.getUint32(4, true),
      live: view.getUint32(8, true),
      freed: view.getUint32(12, true),
    }
  },
}

/** struct policy, 16 bytes */
export interface Policy {
  first: number
  rules: number
  reserved: number
  version: number
  oldest: number
}

export const policyCodec: Codec<Policy> = {
  size: 16,
  encode: value => {
    const bytes = new Uint8Array(16)
    const view = viewOf(bytes)
    view.setUint32(0, value.first, true)
    view.setUint16(4, value.rules, true)
    view.setUint16(6, value.reserved, true)
    view.setUint32(8, value.version, true)
    view.setUint32(12, value.oldest, true)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      first: view.getUint32(0, true),
      rules: view.getUint16(4, true),
      reserved: view.getUint16(6, true),
      version: view.getUint32(8, true),
      oldest: view.getUint32(12, true),
    }
  },
}

/** struct policy_rule, 64 bytes */
export interface PolicyRule {
  src: Uint8Array
  dst: Uint8Array
  srcLength: number
  dstLength: number
  proto: number
  flags: number
  sportFrom: number
  sportTo: number
  dportFrom: number
  dportTo: number
  chain: number
  application: number
  name: number
  reserved: number[]
}

export const policyRuleCodec: Codec<PolicyRule> = {
  size: 64,
  encode: value => {
    const bytes = new Uint8Array(64)
    const view = viewOf(bytes)
    putBytes(bytes, 0, 16, value.src)
    putBytes(bytes, 16, 16, value.dst)
    view.setUint8(32, value.srcLength)
    view.setUint8(33, value.dstLength)
    view.setUint8(34, value.proto)
    view.setUint8(35, value.flags)
    view.setUint16(36, value.sportFrom, true)
    view.setUint16(38, value.sportTo, true)
    view.setUint16(40, value.dportFrom, true)
    view.setUint16(42, value.dportTo, true)
    view.setUint16(44, value.chain, true)
    view.setUint16(46, value.application, true)
    view.setUint32(48, value.name, true)
    putU32s(view, 52, 3, value.reserved)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      src: takeBytes(view, 0, 16),
      dst: takeBytes(view, 16, 16),
      srcLength: view.getUint8(32),
      dstLength: view.getUint8(33),
      proto: view.getUint8(34),
      flags: view.getUint8(35),
      sportFrom: view.getUint16(36, true),
      sportTo: view.getUint16(38, true),
      dportFrom: view.getUint16(40, true),
      dportTo: view.getUint16(42, true),
      chain: view.getUint16(44, true),
      application: view.getUint16(46, true),
      name: view.getUint32(48, true),
      reserved: takeU32s(view, 52, 3),
    }
  },
}

/** struct chain, 32 bytes */
export interface Chain {
  vrf: number
  hops: number
  flags: number
  reserved: number
  pools: number[]
  hopFlags: Uint8Array
}

export const chainCodec: Codec<Chain> = {
  size: 32,
  encode: value => {
    const bytes = new Uint8Array(32)
    const view = viewOf(bytes)
    view.setUint32(0, value.vrf, true)
    view.setUint8(4, value.hops)
    view.setUint8(5, value.flags)
    view.setUint16(6, value.reserved, true)
    putU16s(view, 8, 8, value.pools)
    putBytes(bytes, 24, 8, value.hopFlags)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      vrf: view.getUint32(0, true),
      hops: view.getUint8(4),
      flags: view.getUint8(5),
      reserved: view.getUint16(6, true),
      pools: takeU16s(view, 8, 8),
      hopFlags: takeBytes(view, 24, 8),
    }
  },
}

/** struct pool, 8 bytes */
export interface Pool {
  slots: number
  balance: number
  firstLine: number
}

export const poolCodec: Codec<Pool> = {
  size: 8,
  encode: value => {
    const bytes = new Uint8Array(8)
    const view = viewOf(bytes)
    view.setUint16(0, value.slots, true)
    view.setUint16(2, value.balance, true)
    view.setUint32(4, value.firstLine, true)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      slots: view.getUint16(0, true),
      balance: view.getUint16(2, true),
      firstLine: view.getUint32(4, true),
    }
  },
}

/** struct pool_line, 64 bytes */
export interface PoolLine {
  adapters: number[]
}

export const poolLineCodec: Codec<PoolLine> = {
  size: 64,
  encode: value => {
    const bytes = new Uint8Array(64)
    const view = viewOf(bytes)
    putU16s(view, 0, 32, value.adapters)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      adapters: takeU16s(view, 0, 32),
    }
  },
}

/** struct adapter, 128 bytes */
export interface Adapter {
  kind: number
  flags: number
  mtu: number
  chain: number
  hop: number
  family: number
  vrfStage: number
  instance: number
  nexthopInside: number
  nexthopOutside: number
  insideIfindex: number
  outsideIfindex: number
  insideMac: Uint8Array
  outsideMac: Uint8Array
  reserved: Uint8Array
  local: Uint8Array
  remote: Uint8Array
  endpoint: bigint
  attachment: bigint
  reserved2: bigint[]
}

export const adapterCodec: Codec<Adapter> = {
  size: 128,
  encode: value => {
    const bytes = new Uint8Array(128)
    const view = viewOf(bytes)
    view.setUint8(0, value.kind)
    view.setUint8(1, value.flags)
    view.setUint16(2, value.mtu, true)
    view.setUint16(4, value.chain, true)
    view.setUint8(6, value.hop)
    view.setUint8(7, value.family)
    view.setUint32(8, value.vrfStage, true)
    view.setUint32(12, value.instance, true)
    view.setUint16(16, value.nexthopInside, true)
    view.setUint16(18, value.nexthopOutside, true)
    view.setUint32(20, value.insideIfindex, true)
    view.setUint32(24, value.outsideIfindex, true)
    putBytes(bytes, 28, 6, value.insideMac)
    putBytes(bytes, 34, 6, value.outsideMac)
    putBytes(bytes, 40, 24, value.reserved)
    putBytes(bytes, 64, 16, value.local)
    putBytes(bytes, 80, 16, value.remote)
    view.setBigUint64(96, value.endpoint, true)
    view.setBigUint64(104, value.attachment, true)
    putU64s(view, 112, 2, value.reserved2)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      kind: view.getUint8(0),
      flags: view.getUint8(1),
      mtu: view.getUint16(2, true),
      chain: view.getUint16(4, true),
      hop: view.getUint8(6),
      family: view.getUint8(7),
      vrfStage: view.getUint32(8, true),
      instance: view.getUint32(12, true),
      nexthopInside: view.getUint16(16, true),
      nexthopOutside: view.getUint16(18, true),
      insideIfindex: view.getUint32(20, true),
      outsideIfindex: view.getUint32(24, true),
      insideMac: takeBytes(view, 28, 6),
      outsideMac: takeBytes(view, 34, 6),
      reserved: takeBytes(view, 40, 24),
      local: takeBytes(view, 64, 16),
      remote: takeBytes(view, 80, 16),
      endpoint: view.getBigUint64(96, true),
      attachment: view.getBigUint64(104, true),
      reserved2: takeU64s(view, 112, 2),
    }
  },
}

/** struct adapter_key, 40 bytes */
export interface AdapterKey {
  remote: Uint8Array
  local: Uint8Array
  endpoint: bigint
}

export const adapterKeyCodec: Codec<AdapterKey> = {
  size: 40,
  encode: value => {
    const bytes = new Uint8Array(40)
    const view = viewOf(bytes)
    putBytes(bytes, 0, 16, value.remote)
    putBytes(bytes, 16, 16, value.local)
    view.setBigUint64(32, value.endpoint, true)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      remote: takeBytes(view, 0, 16),
      local: takeBytes(view, 16, 16),
      endpoint: view.getBigUint64(32, true),
    }
  },
}

/** struct instance_state, 16 bytes */
export interface InstanceState {
  connections: bigint
  opened: bigint
}

export const instanceStateCodec: Codec<InstanceState> = {
  size: 16,
  encode: value => {
    const bytes = new Uint8Array(16)
    const view = viewOf(bytes)
    view.setBigUint64(0, value.connections, true)
    view.setBigUint64(8, value.opened, true)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      connections: view.getBigUint64(0, true),
      opened: view.getBigUint64(8, true),
    }
  },
}

/** struct adapter_traffic, 48 bytes */
export interface AdapterTraffic {
  toPackets: bigint
  toBytes: bigint
  fromPackets: bigint
  fromBytes: bigint
  seenNs: bigint
  seenJiffies: bigint
}

export const adapterTrafficCodec: Codec<AdapterTraffic> = {
  size: 48,
  encode: value => {
    const bytes = new Uint8Array(48)
    const view = viewOf(bytes)
    view.setBigUint64(0, value.toPackets, true)
    view.setBigUint64(8, value.toBytes, true)
    view.setBigUint64(16, value.fromPackets, true)
    view.setBigUint64(24, value.fromBytes, true)
    view.setBigUint64(32, value.seenNs, true)
    view.setBigUint64(40, value.seenJiffies, true)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      toPackets: view.getBigUint64(0, true),
      toBytes: view.getBigUint64(8, true),
      fromPackets: view.getBigUint64(16, true),
      fromBytes: view.getBigUint64(24, true),
      seenNs: view.getBigUint64(32, true),
      seenJiffies: view.getBigUint64(40, true),
    }
  },
}

/** struct session, 64 bytes */
export interface Session {
  sid: number
  remoteSid: number
  peer: number
  vrf: number
  vaddrLocal: number
  vaddrRemote: number
  policyVersion: number
  pathMask: number
  txKey: bigint[]
  rxKey: bigint[]
}

export const sessionCodec: Codec<Session> = {
  size: 64,
  encode: value => {
    const bytes = new Uint8Array(64)
    const view = viewOf(bytes)
    view.setUint32(0, value.sid, true)
    view.setUint32(4, value.remoteSid, true)
    view.setUint32(8, value.peer, true)
    view.setUint32(12, value.vrf, true)
    view.setUint32(16, value.vaddrLocal)
    view.setUint32(20, value.vaddrRemote)
    view.setUint32(24, value.policyVersion, true)
    view.setUint32(28, value.pathMask, true)
    putU64s(view, 32, 2, value.txKey)
    putU64s(view, 48, 2, value.rxKey)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      sid: view.getUint32(0, true),
      remoteSid: view.getUint32(4, true),
      peer: view.getUint32(8, true),
      vrf: view.getUint32(12, true),
      vaddrLocal: view.getUint32(16),
      vaddrRemote: view.getUint32(20),
      policyVersion: view.getUint32(24, true),
      pathMask: view.getUint32(28, true),
      txKey: takeU64s(view, 32, 2),
      rxKey: takeU64s(view, 48, 2),
    }
  },
}

/** struct steering, 8 bytes */
export interface Steering {
  mode: number
  best: number
  second: number
  fec: number
  mask: number
  playoutMs: number
}

export const steeringCodec: Codec<Steering> = {
  size: 8,
  encode: value => {
    const bytes = new Uint8Array(8)
    const view = viewOf(bytes)
    view.setUint8(0, value.mode)
    view.setUint8(1, value.best)
    view.setUint8(2, value.second)
    view.setUint8(3, value.fec)
    view.setUint16(4, value.mask, true)
    view.setUint16(6, value.playoutMs, true)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      mode: view.getUint8(0),
      best: view.getUint8(1),
      second: view.getUint8(2),
      fec: view.getUint8(3),
      mask: view.getUint16(4, true),
      playoutMs: view.getUint16(6, true),
    }
  },
}

/** struct peer, 64 bytes */
export interface Peer {
  sid: number
  pathMask: number
  pathBest: number
  flags: number
  policyVersion: number
  mtuSecure: number
  mtuClear: number
  steering: Steering[]
  reserved: bigint[]
}

export const peerCodec: Codec<Peer> = {
  size: 64,
  encode: value => {
    const bytes = new Uint8Array(64)
    const view = viewOf(bytes)
    view.setUint32(0, value.sid, true)
    view.setUint16(4, value.pathMask, true)
    view.setUint8(6, value.pathBest)
    view.setUint8(7, value.flags)
    view.setUint32(8, value.policyVersion, true)
    view.setUint16(12, value.mtuSecure, true)
    view.setUint16(14, value.mtuClear, true)
    putStructs(bytes, 16, 4, steeringCodec, value.steering)
    putU64s(view, 48, 2, value.reserved)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      sid: view.getUint32(0, true),
      pathMask: view.getUint16(4, true),
      pathBest: view.getUint8(6),
      flags: view.getUint8(7),
      policyVersion: view.getUint32(8, true),
      mtuSecure: view.getUint16(12, true),
      mtuClear: view.getUint16(14, true),
      steering: takeStructs(bytes, 16, 4, steeringCodec),
      reserved: takeU64s(view, 48, 2),
    }
  },
}

/** struct path_conf, 64 bytes */
export interface PathConf {
  handle: number
  ifindex: number
  local: Uint8Array
  remote: Uint8Array
  localPort: number
  remotePort: number
  family: number
  ttl: number
  mtu: number
  segmentIfindex: number
  reserved: number
  rate: number
  delayUs: number
}

export const pathConfCodec: Codec<PathConf> = {
  size: 64,
  encode: value => {
    const bytes = new Uint8Array(64)
    const view = viewOf(bytes)
    view.setUint32(0, value.handle, true)
    view.setUint32(4, value.ifindex, true)
    putBytes(bytes, 8, 16, value.local)
    putBytes(bytes, 24, 16, value.remote)
    view.setUint16(40, value.localPort)
    view.setUint16(42, value.remotePort)
    view.setUint8(44, value.family)
    view.setUint8(45, value.ttl)
    view.setUint16(46, value.mtu, true)
    view.setUint32(48, value.segmentIfindex, true)
    view.setUint32(52, value.reserved, true)
    view.setUint32(56, value.rate, true)
    view.setUint32(60, value.delayUs, true)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      handle: view.getUint32(0, true),
      ifindex: view.getUint32(4, true),
      local: takeBytes(view, 8, 16),
      remote: takeBytes(view, 24, 16),
      localPort: view.getUint16(40),
      remotePort: view.getUint16(42),
      family: view.getUint8(44),
      ttl: view.getUint8(45),
      mtu: view.getUint16(46, true),
      segmentIfindex: view.getUint32(48, true),
      reserved: view.getUint32(52, true),
      rate: view.getUint32(56, true),
      delayUs: view.getUint32(60, true),
    }
  },
}

/** struct path_state, 832 bytes */
export interface PathState {
  handle: number
  left: number
  asks: number
  patience: number
  txNumber: bigint
  txBytes: bigint
  askedFirst: number
  looked: number
  txTag: bigint[]
  rxHighest: bigint
  rxPackets: bigint
  rxBytes: bigint
  lastRxNs: bigint
  rxTag: bigint[]
  busyUntilNs: bigint
  rttUs: number
  hopAsked: number
  hop: bigint[]
  hopRemote: bigint[]
  srttUs: number
  rttvarUs: number
  probeReplies: number
  probedSize: number
  toldHighest: bigint
  toldPackets: bigint
  transitUs: number
  transitLastUs: number
  jitterUs: number
  reordered: number
  rxLate: bigint
  transitNewestUs: number
  transitEpoch: number
  highestOf: number[]
  delay: number[]
  window: bigint[]
}

export const pathStateCodec: Codec<PathState> = {
  size: 832,
  encode: value => {
    const bytes = new Uint8Array(832)
    const view = viewOf(bytes)
    view.setUint32(0, value.handle, true)
    view.setUint8(4, value.left)
    view.setUint8(5, value.asks)
    view.setUint16(6, value.patience, true)
    view.setBigUint64(8, value.txNumber, true)
    view.setBigUint64(16, value.txBytes, true)
    view.setUint32(24, value.askedFirst, true)
    view.setUint32(28, value.looked, true)
    putU64s(view, 32, 4, value.txTag)
    view.setBigUint64(64, value.rxHighest, true)
    view.setBigUint64(72, value.rxPackets, true)
    view.setBigUint64(80, value.rxBytes, true)
    view.setBigUint64(88, value.lastRxNs, true)
    putU64s(view, 96, 4, value.rxTag)
    view.setBigUint64(128, value.busyUntilNs, true)
    view.setUint32(136, value.rttUs, true)
    view.setUint32(140, value.hopAsked, true)
    putU64s(view, 144, 2, value.hop)
    putU64s(view, 160, 2, value.hopRemote)
    view.setUint32(176, value.srttUs, true)
    view.setUint32(180, value.rttvarUs, true)
    view.setUint32(184, value.probeReplies, true)
    view.setUint32(188, value.probedSize, true)
    view.setBigUint64(192, value.toldHighest, true)
    view.setBigUint64(200, value.toldPackets, true)
    view.setUint32(208, value.transitUs, true)
    view.setUint32(212, value.transitLastUs, true)
    view.setUint32(216, value.jitterUs, true)
    view.setUint32(220, value.reordered, true)
    view.setBigUint64(224, value.rxLate, true)
    view.setUint32(232, value.transitNewestUs, true)
    view.setUint32(236, value.transitEpoch, true)
    putU32s(view, 240, 4, value.highestOf)
    putU32s(view, 256, 16, value.delay)
    putU64s(view, 320, 64, value.window)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      handle: view.getUint32(0, true),
      left: view.getUint8(4),
      asks: view.getUint8(5),
      patience: view.getUint16(6, true),
      txNumber: view.getBigUint64(8, true),
      txBytes: view.getBigUint64(16, true),
      askedFirst: view.getUint32(24, true),
      looked: view.getUint32(28, true),
      txTag: takeU64s(view, 32, 4),
      rxHighest: view.getBigUint64(64, true),
      rxPackets: view.getBigUint64(72, true),
      rxBytes: view.getBigUint64(80, true),
      lastRxNs: view.getBigUint64(88, true),
      rxTag: takeU64s(view, 96, 4),
      busyUntilNs: view.getBigUint64(128, true),
      rttUs: view.getUint32(136, true),
      hopAsked: view.getUint32(140, true),
      hop: takeU64s(view, 144, 2),
      hopRemote: takeU64s(view, 160, 2),
      srttUs: view.getUint32(176, true),
      rttvarUs: view.getUint32(180, true),
      probeReplies: view.getUint32(184, true),
      probedSize: view.getUint32(188, true),
      toldHighest: view.getBigUint64(192, true),
      toldPackets: view.getBigUint64(200, true),
      transitUs: view.getUint32(208, true),
      transitLastUs: view.getUint32(212, true),
      jitterUs: view.getUint32(216, true),
      reordered: view.getUint32(220, true),
      rxLate: view.getBigUint64(224, true),
      transitNewestUs: view.getUint32(232, true),
      transitEpoch: view.getUint32(236, true),
      highestOf: takeU32s(view, 240, 4),
      delay: takeU32s(view, 256, 16),
      window: takeU64s(view, 320, 64),
    }
  },
}

/** struct lane, 144 bytes */
export interface Lane {
  txSequence: bigint
  rxHighest: bigint
  window: bigint[]
}

export const laneCodec: Codec<Lane> = {
  size: 144,
  encode: value => {
    const bytes = new Uint8Array(144)
    const view = viewOf(bytes)
    view.setBigUint64(0, value.txSequence, true)
    view.setBigUint64(8, value.rxHighest, true)
    putU64s(view, 16, 16, value.window)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      txSequence: view.getBigUint64(0, true),
      rxHighest: view.getBigUint64(8, true),
      window: takeU64s(view, 16, 16),
    }
  },
}

/** struct bundle, 1200 bytes */
export interface Bundle {
  sid: number
  transitUs: number
  transitNewestUs: number
  transitEpoch: number
  playedUs: number[]
  playedAt: number[]
  lanes: Lane[]
}

export const bundleCodec: Codec<Bundle> = {
  size: 1200,
  encode: value => {
    const bytes = new Uint8Array(1200)
    const view = viewOf(bytes)
    view.setUint32(0, value.sid, true)
    view.setUint32(4, value.transitUs, true)
    view.setUint32(8, value.transitNewestUs, true)
    view.setUint32(12, value.transitEpoch, true)
    putU32s(view, 16, 4, value.playedUs)
    putU32s(view, 32, 4, value.playedAt)
    putStructs(bytes, 48, 8, laneCodec, value.lanes)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      sid: view.getUint32(0, true),
      transitUs: view.getUint32(4, true),
      transitNewestUs: view.getUint32(8, true),
      transitEpoch: view.getUint32(12, true),
      playedUs: takeU32s(view, 16, 4),
      playedAt: takeU32s(view, 32, 4),
      lanes: takeStructs(bytes, 48, 8, laneCodec),
    }
  },
}

/** struct port, 32 bytes */
export interface Port {
  ifindex: number
  vrf: number
  addr4: number
  flags: number
  addr6: Uint8Array
}

export const portCodec: Codec<Port> = {
  size: 32,
  encode: value => {
    const bytes = new Uint8Array(32)
    const view = viewOf(bytes)
    view.setUint32(0, value.ifindex, true)
    view.setUint32(4, value.vrf, true)
    view.setUint32(8, value.addr4)
    view.setUint32(12, value.flags, true)
    putBytes(bytes, 16, 16, value.addr6)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      ifindex: view.getUint32(0, true),
      vrf: view.getUint32(4, true),
      addr4: view.getUint32(8),
      flags: view.getUint32(12, true),
      addr6: takeBytes(view, 16, 16),
    }
  },
}

/** struct node_config, 56 bytes */
export interface NodeConfig {
  abiHash: bigint
  mp0Ifindex: number
  mp1Ifindex: number
  gatherIfindex: number
  holdIfindex: number
  ipsecIfindex: number
  routeEpoch: number
  vaddr: number
  eventIntervalNs: number
  icmpSrc6: Uint8Array
}

export const nodeConfigCodec: Codec<NodeConfig> = {
  size: 56,
  encode: value => {
    const bytes = new Uint8Array(56)
    const view = viewOf(bytes)
    view.setBigUint64(0, value.abiHash, true)
    view.setUint32(8, value.mp0Ifindex, true)
    view.setUint32(12, value.mp1Ifindex, true)
    view.setUint32(16, value.gatherIfindex, true)
    view.setUint32(20, value.holdIfindex, true)
    view.setUint32(24, value.ipsecIfindex, true)
    view.setUint32(28, value.routeEpoch, true)
    view.setUint32(32, value.vaddr)
    view.setUint32(36, value.eventIntervalNs, true)
    putBytes(bytes, 40, 16, value.icmpSrc6)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      abiHash: view.getBigUint64(0, true),
      mp0Ifindex: view.getUint32(8, true),
      mp1Ifindex: view.getUint32(12, true),
      gatherIfindex: view.getUint32(16, true),
      holdIfindex: view.getUint32(20, true),
      ipsecIfindex: view.getUint32(24, true),
      routeEpoch: view.getUint32(28, true),
      vaddr: view.getUint32(32),
      eventIntervalNs: view.getUint32(36, true),
      icmpSrc6: takeBytes(view, 40, 16),
    }
  },
}

/** struct event, 136 bytes */
export interface Event {
  timeNs: bigint
  type: number
  reason: number
  ifindex: number
  handle: number
  value: number
  length: number
  family: number
  headLength: number
  srcPort: number
  dstPort: number
  reserved: number
  src: Uint8Array
  dst: Uint8Array
  head: Uint8Array
}

export const eventCodec: Codec<Event> = {
  size: 136,
  encode: value => {
    const bytes = new Uint8Array(136)
    const view = viewOf(bytes)
    view.setBigUint64(0, value.timeNs, true)
    view.setUint32(8, value.type, true)
    view.setUint32(12, value.reason, true)
    view.setUint32(16, value.ifindex, true)
    view.setUint32(20, value.handle, true)
    view.setUint32(24, value.value, true)
    view.setUint32(28, value.length, true)
    view.setUint8(32, value.family)
    view.setUint8(33, value.headLength)
    view.setUint16(34, value.srcPort)
    view.setUint16(36, value.dstPort)
    view.setUint16(38, value.reserved, true)
    putBytes(bytes, 40, 16, value.src)
    putBytes(bytes, 56, 16, value.dst)
    putBytes(bytes, 72, 64, value.head)
    return bytes
  },
  decode: bytes => {
    const view = viewOf(bytes)
    return {
      timeNs: view.getBigUint64(0, true),
      type: view.getUint32(8, true),
      reason: view.getUint32(12, true),
      ifindex: view.getUint32(16, true),
      handle: view.getUint32(20, true),
      value: view.getUint32(24, true),
      length: view.getUint32(28, true),
      family: view.getUint8(32),
      headLength: view.getUint8(33),
      srcPort: view.getUint16(34),
      dstPort: view.getUint16(36),
      reserved: view.getUint16(38, true),
      src: takeBytes(view, 40, 16),
      dst: takeBytes(view, 56, 16),
      head: takeBytes(view, 72, 64),
    }
  },
}
