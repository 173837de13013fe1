// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Carries the BTF of abi.h and wire.h for the code generator; never loaded. */
#include "abi.h"

#define EXPORT_STRUCT(name) struct name *export_##name
#define EXPORT_ENUM(name) enum name export_##name

EXPORT_STRUCT(mp_hdr);
EXPORT_STRUCT(mp_report);
EXPORT_STRUCT(mp_trigger);
EXPORT_STRUCT(nexthop);
EXPORT_STRUCT(nexthop_set);
EXPORT_STRUCT(fib);
EXPORT_STRUCT(fib_root);
EXPORT_STRUCT(fib_route);
EXPORT_STRUCT(flow_key);
EXPORT_STRUCT(flow);
EXPORT_STRUCT(flow_config);
EXPORT_STRUCT(flow_sweep);
EXPORT_STRUCT(policy);
EXPORT_STRUCT(policy_rule);
EXPORT_STRUCT(chain);
EXPORT_STRUCT(pool);
EXPORT_STRUCT(pool_line);
EXPORT_STRUCT(adapter);
EXPORT_STRUCT(adapter_key);
EXPORT_STRUCT(instance_state);
EXPORT_STRUCT(adapter_traffic);
EXPORT_STRUCT(session);
EXPORT_STRUCT(steering);
EXPORT_STRUCT(peer);
EXPORT_STRUCT(path_conf);
EXPORT_STRUCT(path_state);
EXPORT_STRUCT(lane);
EXPORT_STRUCT(bundle);
EXPORT_STRUCT(port);
EXPORT_STRUCT(node_config);
EXPORT_STRUCT(event);
EXPORT_ENUM(mp_type);
EXPORT_ENUM(drop_reason);
EXPORT_ENUM(counter);
EXPORT_ENUM(nexthop_kind);
EXPORT_ENUM(flow_state);
EXPORT_ENUM(event_type);
EXPORT_ENUM(traffic_class);
EXPORT_ENUM(spread);
EXPORT_ENUM(fib_kind);
EXPORT_ENUM(balance);
EXPORT_ENUM(adapter_kind);

/* Constants as a BTF enum, since macros leave no BTF. */
enum abi_constant {
	ABI_MP_PORT = MP_PORT,
	ABI_MP_VERSION = MP_VERSION,
	ABI_MP_HDR_LEN = MP_HDR_LEN,
	ABI_MP_PATHS = MP_PATHS,
	ABI_QUEUE_MAJOR = QUEUE_MAJOR,
	ABI_QUEUE_MINOR = QUEUE_MINOR,
	ABI_QUEUE_PRIORITIES = QUEUE_PRIORITIES,
	ABI_MAX_PATHS = MAX_PATHS,
	ABI_MAX_PEERS = MAX_PEERS,
	ABI_MAX_NEXTHOPS = MAX_NEXTHOPS,
	ABI_MAX_NEXTHOP_SETS = MAX_NEXTHOP_SETS,
	ABI_NEXTHOP_SET_MEMBERS = NEXTHOP_SET_MEMBERS,
	ABI_MAX_VRFS = MAX_VRFS,
	ABI_MAX_ROUTES = MAX_ROUTES,
	ABI_MAX_FLOW_LINES = MAX_FLOW_LINES,
	ABI_MAX_PORTS = MAX_PORTS,
	ABI_PORT_PROBES = PORT_PROBES,
	ABI_FLOW_PROTO_DIGEST = FLOW_PROTO_DIGEST,
	ABI_FLOW_CLAIMED = FLOW_CLAIMED,
	ABI_FLOW_MANY = FLOW_MANY,
	ABI_FLOW_LIFE_NEW = FLOW_LIFE_NEW,
	ABI_FLOW_LIFE_CLOSED = FLOW_LIFE_CLOSED,
	ABI_FLOW_LIFE_ANSWERED = FLOW_LIFE_ANSWERED,
	ABI_FLOW_LIFE_CONNECTED = FLOW_LIFE_CONNECTED,
	ABI_WINDOW_WORDS = WINDOW_WORDS,
	ABI_LANE_WORDS = LANE_WORDS,
	ABI_MP_F_ASK = MP_F_ASK,
	ABI_MP_F_SPREAD = MP_F_SPREAD,
	ABI_MP_LANES = MP_LANES,
	ABI_DELAY_BUCKETS = DELAY_BUCKETS,
	ABI_DELAY_BUCKET_US = DELAY_BUCKET_US,
	ABI_TRANSIT_EPOCH_SHIFT = TRANSIT_EPOCH_SHIFT,
	ABI_NH_F_SECURE = NH_F_SECURE,
	ABI_PEER_F_ESP = PEER_F_ESP,
	ABI_NH_F_OUTSIDE = NH_F_OUTSIDE,
	ABI_NH_F_CHAINED = NH_F_CHAINED,
	ABI_STAGE_SHIFT = STAGE_SHIFT,
	ABI_MAX_STAGES = MAX_STAGES,
	ABI_VRF_UPSTREAM = VRF_UPSTREAM,
	ABI_MAX_CHAINS = MAX_CHAINS,
	ABI_CHAIN_HOPS = CHAIN_HOPS,
	ABI_MAX_POOLS = MAX_POOLS,
	ABI_MAX_POOL_LINES = MAX_POOL_LINES,
	ABI_MAX_ADAPTERS = MAX_ADAPTERS,
	ABI_MAX_RULES = MAX_RULES,
	ABI_POLICY_RULES = POLICY_RULES,
	ABI_RULE_F_SHADOW = RULE_F_SHADOW,
	ABI_RULE_F_REVERSE = RULE_F_REVERSE,
	ABI_RULE_F_MOVE = RULE_F_MOVE,
	ABI_HOP_F_FAIL_OPEN = HOP_F_FAIL_OPEN,
	ABI_HOP_F_STATELESS = HOP_F_STATELESS,
	ABI_CHAIN_F_SECURE = CHAIN_F_SECURE,
	ABI_POOL_MEMBERS = POOL_MEMBERS,
	ABI_POOL_LINE_SLOTS = POOL_LINE_SLOTS,
	ABI_ADAPTER_F_DEAD = ADAPTER_F_DEAD,
	ABI_ADAPTER_F_SECURE = ADAPTER_F_SECURE,
	ABI_STEP_STEERED = STEP_STEERED,
	ABI_STEP_COUNTED = STEP_COUNTED,
	ABI_STEP_ANSWER = STEP_ANSWER,
	ABI_STEP_BACKWARDS = STEP_BACKWARDS,
	ABI_STEP_LAST = STEP_LAST,
	ABI_ADAPTER_OUTSIDE = ADAPTER_OUTSIDE,
	ABI_ADAPTER_UNDERLAY = ADAPTER_UNDERLAY,
	ABI_PORT_F_FQ = PORT_F_FQ,
	ABI_FAMILY_NONE = FAMILY_NONE,
	ABI_FAMILY_IPV4 = FAMILY_IPV4,
	ABI_FAMILY_IPV6 = FAMILY_IPV6,
	ABI_EVENT_HEAD = EVENT_HEAD,
	ABI_MAX_FIB_BYTES = MAX_FIB_BYTES,
	ABI_FIB_SLACK = FIB_SLACK,
	ABI_FIB_UNIT = FIB_UNIT,
	ABI_FIB_LINE_BYTES = FIB_LINE_BYTES,
	ABI_FIB_DEEPER = FIB_DEEPER,
	ABI_FIB_ROUTE_FREE = FIB_ROUTE_FREE,
};
EXPORT_ENUM(abi_constant);

_Static_assert(sizeof(struct mp_hdr) == MP_HDR_LEN, "the tag must end the header");
_Static_assert(__builtin_offsetof(struct mp_hdr, tag) == 32, "the tag covers the 32 bytes before it");
_Static_assert(sizeof(struct session) == 64 && sizeof(struct path_conf) == 64, "one cache line each");
_Static_assert(__builtin_offsetof(struct path_state, rx_highest) == 64 && __builtin_offsetof(struct path_state, busy_until_ns) == 128 &&
		       __builtin_offsetof(struct path_state, told_highest) == 192 && __builtin_offsetof(struct path_state, delay) == 256 &&
		       __builtin_offsetof(struct path_state, window) == 320,
	       "sender and receiver write no common cache line");
_Static_assert(sizeof(struct peer) == 64 && sizeof(struct steering) == 8, "a peer is a cache line, a class one word of it");
_Static_assert(__builtin_offsetof(struct path_conf, rate) % 8 == 0, "rate and delay change together");
_Static_assert(sizeof(struct adapter) == 128 && __builtin_offsetof(struct adapter, local) == 64, "Ethernet needs the first cache line only");
_Static_assert(sizeof(struct pool) == 8 && sizeof(struct pool_line) == 64, "a pool is one word, its slots are cache lines");
_Static_assert(sizeof(struct policy_rule) == 64, "a rule is a cache line");
_Static_assert(sizeof(struct flow) == 32, "two flows are a cache line");
