// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What a packet's stages are made of, each alone: the floor that the other benchmarks are compared to. Look-ups go to random entries: hot
 * ones to those of a small table, cold ones to those of a table far larger than the caches, so that each costs its cache misses.
 */
#include "bench.h"

#define HOT_ENTRIES 64
#define COLD_ENTRIES (1 << 22) /* array: 64 bytes each, 256 MiB; the hash a quarter of that */
#define LOOKUPS 16	       /* of one run, so that the empty program weighs little */

struct line {
	__u64 words[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HOT_ENTRIES);
	__type(key, __u32);
	__type(value, struct line);
} hot_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COLD_ENTRIES);
	__type(key, __u32);
	__type(value, struct line);
} cold_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HOT_ENTRIES);
	__type(key, __u32);
	__type(value, struct line);
} hot_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, COLD_ENTRIES / 4);
	__type(key, __u32);
	__type(value, struct line);
} cold_hash SEC(".maps");

SEC("tc")
int empty(struct __sk_buff *skb __unused)
{
	return TC_ACT_OK;
}

SEC("xdp")
int empty_xdp(struct xdp_md *xdp __unused)
{
	return XDP_PASS;
}

SEC("tc")
int clock_precise_read(struct __sk_buff *skb __unused)
{
	return bpf_ktime_get_ns() == 0 ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc")
int clock_coarse_read(struct __sk_buff *skb __unused)
{
	return bpf_ktime_get_coarse_ns() == 0 ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc")
int jiffies_read(struct __sk_buff *skb __unused)
{
	return bpf_jiffies64() == 0 ? TC_ACT_SHOT : TC_ACT_OK;
}

/*
 * LOOKUPS look-ups in `map` of `entries`. Pipelined: each place is known before the last answer. Dependent: the answer, which is 0, is part
 * of the next place, as one header's look-up follows from another's.
 */
#define LOOK_UP(name, map, entries, dependent)                                                                                             \
	SEC("tc")                                                                                                                          \
	int name(struct __sk_buff *skb __unused)                                                                                           \
	{                                                                                                                                  \
		struct cursor *at = cursor_here();                                                                                         \
		__u64 state, sum = 0;                                                                                                      \
                                                                                                                                           \
		if (!at)                                                                                                                   \
			return TC_ACT_SHOT;                                                                                                \
		state = at->state;                                                                                                         \
		for (int i = 0; i < LOOKUPS; i++) {                                                                                        \
			__u32 index = (cursor_next(&state) + (dependent ? sum : 0)) & ((entries) - 1);                                     \
			struct line *line = bpf_map_lookup_elem(&map, &index);                                                             \
                                                                                                                                           \
			if (!line)                                                                                                         \
				return TC_ACT_SHOT;                                                                                        \
			sum += line->words[0];                                                                                             \
		}                                                                                                                          \
		at->state = state;                                                                                                         \
		at->result = sum;                                                                                                          \
		return TC_ACT_OK;                                                                                                          \
	}

LOOK_UP(array_hot, hot_array, HOT_ENTRIES, 0)
LOOK_UP(array_cold, cold_array, COLD_ENTRIES, 0)
LOOK_UP(array_cold_dependent, cold_array, COLD_ENTRIES, 1)
LOOK_UP(hash_hot, hot_hash, HOT_ENTRIES, 0)
LOOK_UP(hash_cold, cold_hash, COLD_ENTRIES / 4, 0)
LOOK_UP(hash_cold_dependent, cold_hash, COLD_ENTRIES / 4, 1)

/* The same without a look-up: what the loops above cost by themselves. */
SEC("tc")
int no_lookup(struct __sk_buff *skb __unused)
{
	struct cursor *at = cursor_here();
	__u64 state, sum = 0;

	if (!at)
		return TC_ACT_SHOT;
	state = at->state;
	for (int i = 0; i < LOOKUPS; i++)
		sum += cursor_next(&state) & (COLD_ENTRIES - 1);
	at->state = state;
	at->result = sum;
	return TC_ACT_OK;
}

#define BARE 36 /* IPv4, UDP and an 8-byte header: what VXLAN adds behind the Ethernet header */

/* Room, one store of constant headers, and the room taken away again: what every tunnel does at least. */
SEC("tc")
int bare_encapsulation(struct __sk_buff *skb)
{
	__u8 header[BARE] = { 0x45 };

	if (bpf_skb_adjust_room(skb, BARE, BPF_ADJ_ROOM_MAC, 0))
		return TC_ACT_SHOT;
	if (bpf_skb_store_bytes(skb, ETH_HLEN, header, BARE, 0))
		return TC_ACT_SHOT;
	return bpf_skb_adjust_room(skb, -BARE, BPF_ADJ_ROOM_MAC, 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("xdp")
int bare_encapsulation_xdp(struct xdp_md *xdp)
{
	__u64 *data;

	if (bpf_xdp_adjust_head(xdp, -BARE))
		return XDP_ABORTED;
	data = (void *)(long)xdp->data;
	if ((void *)data + BARE > (void *)(long)xdp->data_end)
		return XDP_ABORTED;
	data[0] = 0x45;
	data[1] = data[2] = data[3] = 0;
	*(__u32 *)(data + 4) = 0;
	return bpf_xdp_adjust_head(xdp, BARE) ? XDP_ABORTED : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
