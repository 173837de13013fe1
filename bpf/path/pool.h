/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which adapter of a pool the next connection gets. The agent decides by how it fills the slots: weights, warm-up, an instance that is full. Here one is
 * picked: in turns, with the fewest connections, or by the flow. One that died a moment ago is passed over, for the next slot.
 */
#ifndef BRANCHLINE_POOL_H
#define BRANCHLINE_POOL_H

#include "flow-table.h"

union pool_word {
	__u64 word;
	struct pool is;
};

struct pool_search {
	__u32 first_line;
	__u32 slots;
	__u32 start;
	__u32 place;	/* chain << 8 | hop: an adapter of another place is not taken, however it got here */
	__u32 adapter;	/* found; 0: none */
	__u64 fewest;
};

static __always_inline struct adapter *adapter_of(__u32 index)
{
	struct adapter *adapter = index ? bpf_map_lookup_elem(&adapters, &index) : NULL;

	return adapter && adapter->kind != ADAPTER_NONE ? adapter : NULL;
}

static __always_inline __u32 pool_slot(const struct pool_search *search, __u32 slot)
{
	__u32 index = search->first_line + slot / POOL_LINE_SLOTS;
	struct pool_line *line = bpf_map_lookup_elem(&pool_lines, &index);

	return line ? line->adapters[slot % POOL_LINE_SLOTS] : 0;
}

static __always_inline struct adapter *pool_usable(const struct pool_search *search, __u32 index)
{
	struct adapter *adapter = adapter_of(index);

	if (!adapter || adapter->flags & ADAPTER_F_DEAD || ((__u32)adapter->chain << 8 | adapter->hop) != search->place)
		return NULL;
	return adapter;
}

/* 1 ends the search. */
static long pool_next(__u32 i, struct pool_search *search)
{
	__u32 index = pool_slot(search, (search->start + i) % search->slots);

	if (!pool_usable(search, index))
		return 0;
	search->adapter = index;
	return 1;
}

static long pool_least(__u32 i, struct pool_search *search)
{
	__u32 index = pool_slot(search, i), instance;
	struct adapter *adapter = pool_usable(search, index);
	struct instance_state *state;

	if (!adapter)
		return 0;
	instance = adapter->instance;
	state = bpf_map_lookup_elem(&instance_state, &instance);
	if (!state || state->connections >= search->fewest)
		return 0;
	search->fewest = state->connections;
	search->adapter = index;
	return 0;
}

/*
 * 64 bits of the flow that are the same for both directions, and that nobody outside can compute. `salt` keeps those of one purpose from those of
 * another. By words: which end comes first is the smaller address, then the smaller port.
 */
__noinline __u64 flow_both_ways(const struct journey *j __nonnull, __u32 salt)
{
	__u32 zero = 0;
	struct flow_config *config = bpf_map_lookup_elem(&flow_config, &zero);
	struct flow_key key = j->key;
	const __u32 *src = (const __u32 *)j->key.src, *dst = (const __u32 *)j->key.dst;
	struct flow_name name;
	bool swap = bpf_ntohs(j->key.sport) > bpf_ntohs(j->key.dport);

	if (!config)
		return 0;
#pragma unroll
	for (int i = 3; i >= 0; i--)
		if (src[i] != dst[i])
			swap = src[i] > dst[i];
	if (swap)
		flow_reverse(&key, &j->key);
	key.vrf = salt;
	flow_digest(&name, &key, config->digest_key);
	return name.id_low;
}

/* Number of an adapter; 0: nobody takes the connection. `place`: as in struct pool_search. `by_flow`: whatever the pool's own way. */
__noinline __u32 pool_member(const struct journey *j __nonnull, __u32 index, __u32 place, bool by_flow)
{
	struct pool *pool = bpf_map_lookup_elem(&pools, &index);
	struct pool_search search = { .place = place, .fewest = ~0ULL };
	union pool_word now;
	__u64 *turn;

	if (!pool)
		return 0;
	now.word = *(volatile __u64 *)pool;
	if (!now.is.slots)
		return 0;
	search.first_line = now.is.first_line;
	search.slots = now.is.slots;
	if (now.is.balance == BALANCE_LEAST && !by_flow) {
		bpf_loop(search.slots < POOL_MEMBERS ? search.slots : POOL_MEMBERS, pool_least, &search, 0);
		return search.adapter;
	}
	turn = bpf_map_lookup_elem(&pool_turns, &index);
	if (now.is.balance == BALANCE_HASH || by_flow)
		search.start = (flow_both_ways(j, VRF_OF(j->key.vrf)) >> 32) % search.slots;
	else if (turn)
		search.start = __sync_fetch_and_add(turn, 1) % search.slots;
	bpf_loop(search.slots, pool_next, &search, 0);
	return search.adapter;
}

#endif
