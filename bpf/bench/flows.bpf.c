// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The product's flow table beside the kernel's HASH and LRU_HASH: the same flows, the same values, the same work on a hit. For IPv4 the kernel's
 * tables get the same 16-byte id for a key; for IPv6 HASH has the whole tuple. Each run works on FLOWS_PER_RUN flows, whose numbers are
 * random where they are looked up and consecutive where a table is filled.
 */
#include "bench.h"
#include "../path/flow-table.h"

#define FLOWS_PER_RUN 64
#define TABLE_FLOWS (1 << 20) /* room of the kernel's tables */

struct flow_id {
	__u64 low, high;
};

/* What a slot of the product holds behind its id. */
struct decision {
	__u32 route_epoch;
	__u16 nexthop;
	__u16 seen;
	__u32 policy_version;
	__u8 qos;
	__u8 step;
	__u8 packets;
	__u8 state;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TABLE_FLOWS);
	__type(key, struct flow_id);
	__type(value, struct decision);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TABLE_FLOWS);
	__type(key, struct flow_key);
	__type(value, struct decision);
} hash6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, TABLE_FLOWS);
	__type(key, struct flow_id);
	__type(value, struct decision);
} lru SEC(".maps");

/* Which flows a run works on. Two of them, chosen by the packet's mark, for two CPUs at once. */
struct range {
	__u32 flows; /* random ones: below this power of two */
	__u32 next;  /* consecutive ones: the first */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct range);
} ranges SEC(".maps");

/* What the steps of a run share. */
struct run {
	struct range *range;
	struct flow_config *config;
	__u64 state;
	__u32 sum;
	__u16 now;
};

/* The flow of a number: source address and port. */
static __always_inline void key_of(struct flow_key *key, __u32 number, __u8 family)
{
	__u32 *src = (__u32 *)key->src, *dst = (__u32 *)key->dst;

	__builtin_memset(key, 0, sizeof(*key));
	key->vrf = 7;
	key->proto = IPPROTO_TCP;
	key->sport = number * 0x9e37 >> 4;
	key->dport = bpf_htons(443);
	src[0] = dst[0] = family == FAMILY_IPV6 ? bpf_htonl(0x20010db8) : 0;
	src[2] = dst[2] = family == FAMILY_IPV6 ? bpf_htonl(0x1234) : bpf_htonl(0xffff);
	src[3] = number * 0x9e3779b1;
	dst[3] = bpf_htonl(0x0a000001);
}

static __always_inline void name_of(struct flow_name *name, __u32 number, __u8 family, const struct run *run)
{
	struct flow_key key;

	key_of(&key, number, family);
	flow_name(name, &key, family, run->config);
}

static __always_inline __u32 touch(struct decision *decision, __u16 now)
{
	if (decision->seen != now)
		decision->seen = now;
	if (decision->packets != 0xff)
		decision->packets++;
	return decision->nexthop;
}

/* Steps return 0 when all is well: next hops are 0. */

static __always_inline __u32 table_look_up(__u32 number, __u8 family, const struct run *run)
{
	struct flow_name name;
	struct flow *flow;
	__u32 slot, epoch, nexthop;

	name_of(&name, number, family, run);
	flow = flow_find(&name, &slot);
	if (!flow)
		return 1;
	epoch = READ_ONCE(flow->route_epoch);
	nexthop = READ_ONCE(flow->nexthop);
	if (!flow_is(flow, &name) || epoch != 1)
		return 1;
	touch((struct decision *)&flow->route_epoch, run->now);
	return nexthop;
}

static __always_inline __u32 table_put_in(__u32 number, __u8 family, const struct run *run)
{
	struct flow_name name;
	__u32 slot;

	name_of(&name, number, family, run);
	if (flow_find(&name, &slot))
		return 0;
	return !IS_FLOW_SLOT(flow_enter(&name, run->now, 0, 1, 0));
}

static __always_inline void id_of(struct flow_id *id, __u32 number, __u8 family, const struct run *run)
{
	struct flow_name name;

	name_of(&name, number, family, run);
	id->low = name.id_low;
	id->high = name.id_high;
}

static __always_inline void tuple_of(struct flow_key *key, __u32 number, __u8 family, const struct run *run __unused)
{
	key_of(key, number, family);
}

#define KERNEL_TABLE(table, key_type, key_from)                                                                                            \
	static __always_inline __u32 table##_look_up(__u32 number, __u8 family, const struct run *run)                                     \
	{                                                                                                                                  \
		struct decision *decision;                                                                                                 \
		key_type key;                                                                                                              \
                                                                                                                                           \
		key_from(&key, number, family, run);                                                                                       \
		decision = bpf_map_lookup_elem(&table, &key);                                                                              \
		if (!decision || decision->route_epoch != 1)                                                                               \
			return 1;                                                                                                          \
		return touch(decision, run->now);                                                                                          \
	}                                                                                                                                  \
                                                                                                                                           \
	static __always_inline __u32 table##_put_in(__u32 number, __u8 family, const struct run *run)                                      \
	{                                                                                                                                  \
		struct decision decision = { .route_epoch = 1, .seen = run->now, .packets = 1 };                                           \
		key_type key;                                                                                                              \
                                                                                                                                           \
		key_from(&key, number, family, run);                                                                                       \
		if (bpf_map_lookup_elem(&table, &key))                                                                                     \
			return 0;                                                                                                          \
		return bpf_map_update_elem(&table, &key, &decision, BPF_ANY) != 0;                                                         \
	}

KERNEL_TABLE(hash, struct flow_id, id_of)
KERNEL_TABLE(hash6, struct flow_key, tuple_of)
KERNEL_TABLE(lru, struct flow_id, id_of)

#define RUN(name, step, number, family)                                                                                                    \
	static long name##_step(__u64 i __unused, struct run *run)                                                                         \
	{                                                                                                                                  \
		run->sum += step(number, family, run);                                                                                     \
		return 0;                                                                                                                  \
	}                                                                                                                                  \
                                                                                                                                           \
	SEC("tc")                                                                                                                          \
	int name(struct __sk_buff *skb)                                                                                                    \
	{                                                                                                                                  \
		__u32 zero = 0, mine = skb->mark & 1;                                                                                      \
		struct cursor *at = cursor_here();                                                                                         \
		struct run run = {                                                                                                         \
			.range = bpf_map_lookup_elem(&ranges, &mine),                                                                      \
			.config = bpf_map_lookup_elem(&flow_config, &zero),                                                                \
		};                                                                                                                         \
                                                                                                                                           \
		if (!at || !run.range || !run.config)                                                                                      \
			return TC_ACT_SHOT;                                                                                                \
		run.state = at->state;                                                                                                     \
		run.now = flow_tick(run.config);                                                                                           \
		bpf_loop(FLOWS_PER_RUN, name##_step, &run, 0);                                                                             \
		at->state = run.state;                                                                                                     \
		at->result += run.sum;                                                                                                     \
		return TC_ACT_OK;                                                                                                          \
	}

/* Pipelined: every number is known before the last result. Dependent: the result is part of the next number. */
#define PIPELINED (cursor_next(&run->state) & (run->range->flows - 1))
#define DEPENDENT ((cursor_next(&run->state) + run->sum) & (run->range->flows - 1))
#define ABSENT (TABLE_FLOWS + PIPELINED)
#define CONSECUTIVE (run->range->next++)

#define ALL_RUNS(table, family)                                                                                                            \
	RUN(table##_pipelined, table##_look_up, PIPELINED, family)                                                                         \
	RUN(table##_dependent, table##_look_up, DEPENDENT, family)                                                                         \
	RUN(table##_absent, table##_look_up, ABSENT, family)                                                                               \
	RUN(table##_fill, table##_put_in, CONSECUTIVE, family)

#define table6_look_up table_look_up
#define table6_put_in table_put_in

ALL_RUNS(table, FAMILY_IPV4)
ALL_RUNS(hash, FAMILY_IPV4)
ALL_RUNS(lru, FAMILY_IPV4)
ALL_RUNS(table6, FAMILY_IPV6)
ALL_RUNS(hash6, FAMILY_IPV6)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
