/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The table of flows: an array of cache lines of two slots, no chains, no list to keep in order. A flow may be in one of two lines, or in the
 * neighbour of either, which shares its page and is fetched with it. With a million flows in two million slots 85 of 100 are where one looks
 * first, and 3 of 10,000 find all eight slots full. Other data about a flow may be kept under its slot's number.
 *
 * All CPUs share it. Who changes a slot first swaps its id_high for FLOW_CLAIMED, and writes the new id_high last; flow_sweep frees
 * one by swapping it for 0. Readers take no lock: they compare the id, read, and compare again. So a half-written slot is nobody's, and nothing
 * has to wait for a grace period. (Stores become visible in order, as on x86; elsewhere the comparisons want acquire loads.)
 */
#ifndef BRANCHLINE_FLOW_TABLE_H
#define BRANCHLINE_FLOW_TABLE_H

#include "drop.h"
#include "flow-id.h"

#define FLOW_LINES 4 /* that a flow may be in */
#define FLOW_LOCK_TRIES 64
#define FLOW_CLAIM_TRIES 4

/* What flow_enter remembers: next hop and STEP_*. STEP_UNSEEN: no packet of it has come, only of the other direction. */
#define DECISION(nexthop, step) ((__u32)(nexthop) | (__u32)(step) << 16)
#define STEP_UNSEEN 0x80

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))

/* The lines of a flow in the order in which they are searched and filled. */
static __always_inline __u32 line_of(const struct flow_name *name, int i)
{
	return name->line[i / 2] ^ (i & 1);
}

static __always_inline struct flow_line *flow_line(__u32 index)
{
	return bpf_map_lookup_elem(&flows, &index);
}

static __always_inline struct flow *flow_at(__u32 slot)
{
	struct flow_line *line = flow_line(slot / 2);

	if (!line)
		return NULL;
	/* Keeps the sum behind the test, where the verifier wants it. */
	asm volatile("" : "+r"(line));
	return &line->slots[slot & 1];
}

static __always_inline bool flow_is(const struct flow *flow, const struct flow_name *name)
{
	return READ_ONCE(flow->id_high) == name->id_high && READ_ONCE(flow->id_low) == name->id_low;
}

/*
 * 1 or 0, by arithmetic that is hidden from clang: a branch here could not be predicted, and one on what is still on its way from memory
 * costs that way again.
 */
static __always_inline __u64 is_zero(__u64 value)
{
	__u64 negative = -value;

	asm volatile("" : "+r"(negative));
	return (value | negative) >> 63 ^ 1;
}

/* Which of two slots holds the id, if one does: 1 when it is the second. */
static __always_inline __u32 which(const struct flow_line *line, const struct flow_name *name)
{
	return is_zero((line->slots[1].id_low ^ name->id_low) | (line->slots[1].id_high ^ name->id_high));
}

/* NULL: it is not in the table. */
static __always_inline struct flow *flow_find(const struct flow_name *name, __u32 *slot)
{
#pragma unroll
	for (int i = 0; i < FLOW_LINES; i++) {
		__u32 index = line_of(name, i), way;
		struct flow_line *line = flow_line(index);

		if (!line)
			break;
		way = which(line, name);
		if (flow_is(&line->slots[way], name)) {
			*slot = index * 2 + way;
			return &line->slots[way];
		}
	}
	return NULL;
}

static __always_inline __u16 flow_tick(const struct flow_config *config)
{
	return bpf_jiffies64() >> (config->tick_shift & 63);
}

static __always_inline __u32 flow_life(__u8 state)
{
	return state == FLOW_CONNECTED ? FLOW_LIFE_CONNECTED :
	       state == FLOW_ANSWERED  ? FLOW_LIFE_ANSWERED :
	       state == FLOW_CLOSED    ? FLOW_LIFE_CLOSED :
					 FLOW_LIFE_NEW;
}

/* Tables of 16 nibbles: how many of four bits are set, and which is the lowest. */
#define BITS_SET(mask) (0x4332322132212110ULL >> (mask) * 4 & 15)
#define LOWEST_SET(mask) (0x0102010301020100ULL >> (mask) * 4 & 15)

/* Which slots of a line and its neighbour are free: a bit each. */
static __always_inline __u32 pair_free(__u32 line)
{
	struct flow_line *mine = flow_line(line), *neighbour = flow_line(line ^ 1);

	if (!mine || !neighbour)
		return 0;
	return is_zero(READ_ONCE(mine->slots[0].id_high)) | is_zero(READ_ONCE(mine->slots[1].id_high)) << 1 |
	       is_zero(READ_ONCE(neighbour->slots[0].id_high)) << 2 | is_zero(READ_ONCE(neighbour->slots[1].id_high)) << 3;
}

/* The first of the first line and its neighbour, unless they have but one left and the second more. FLOW_NO_SLOT: all are taken. */
static __always_inline __u32 flow_free_slot(const struct flow_name *name)
{
	__u32 line = name->line[0], free = pair_free(line), other;

	if (BITS_SET(free) <= 1) {
		other = pair_free(name->line[1]);
		if (BITS_SET(other) > BITS_SET(free)) {
			line = name->line[1];
			free = other;
		}
	}
	if (!free)
		return FLOW_NO_SLOT;
	return (line * 2 ^ (LOWEST_SET(free) & 2)) + (LOWEST_SET(free) & 1);
}

/* Whose slot a new flow may take: the longest silent one's of those that are not established or have outlived themselves. */
static __always_inline __u32 flow_victim(const struct flow_name *name, __u16 now)
{
	__u32 victim = FLOW_NO_SLOT, longest = 0;

	for (int i = 0; i < 2 * FLOW_LINES; i++) {
		__u32 slot = line_of(name, i / 2) * 2 + i % 2;
		struct flow *flow = flow_at(slot);
		__u32 silent;

		if (!flow)
			continue;
		silent = (__u16)(now - flow->seen);
		if ((flow->state >= FLOW_ANSWERED && silent <= flow_life(flow->state)) || silent < longest)
			continue;
		victim = slot;
		longest = silent;
	}
	return victim;
}

/* Bytes 28 to 31 of a flow change together where a bit of `step` is taken, so that of two CPUs one does what follows from it. */
union flow_word {
	__u32 word;
	struct {
		__u8 qos, step, packets, state;
	} is;
};

/* A connection leaves the instance that its flow goes to: once, whoever notices. */
__noinline int flow_uncount(struct flow *flow __nonnull)
{
	union flow_word was, now;
	struct instance_state *state;
	struct nexthop *nexthop;
	struct adapter *adapter;
	__u32 index, *word = (__u32 *)&flow->qos;

	for (int i = 0; i < FLOW_CLAIM_TRIES; i++) {
		was.word = READ_ONCE(*word);
		now = was;
		now.is.step &= ~STEP_COUNTED;
		if (!(was.is.step & STEP_COUNTED))
			return 0;
		if (__sync_val_compare_and_swap(word, was.word, now.word) != was.word)
			continue;
		index = flow->nexthop;
		nexthop = bpf_map_lookup_elem(&nexthops, &index);
		if (!nexthop || nexthop->kind != NH_ADAPTER)
			return 0;
		index = nexthop->target;
		adapter = bpf_map_lookup_elem(&adapters, &index);
		index = adapter ? adapter->instance : 0;
		state = bpf_map_lookup_elem(&instance_state, &index);
		/* An instance that is gone, or new under the number, has forgotten the connection. */
		if (adapter && adapter->kind && state && READ_ONCE(state->connections))
			__sync_fetch_and_add(&state->connections, -1);
		return 0;
	}
	return 0;
}

/* Its next packet begins it anew. */
static __always_inline void flow_forget(struct flow *flow)
{
	__u64 id_high = READ_ONCE(flow->id_high);

	if (flow->step & STEP_COUNTED)
		flow_uncount(flow);
	if (id_high != FLOW_CLAIMED)
		__sync_val_compare_and_swap(&flow->id_high, id_high, 0);
}

static __always_inline bool flow_lock(__u32 *lock)
{
	for (int i = 0; i < FLOW_LOCK_TRIES; i++)
		if (!READ_ONCE(*lock) && !__sync_val_compare_and_swap(lock, 0, 1))
			return true;
	return false;
}

/* Makes a slot this CPU's to write: the flow's own, a free one, or another flow's. `held`: its id_high before. */
static __always_inline struct flow *flow_claim(const struct flow_name *name, __u16 now, __u32 *slot, __u64 *held)
{
	for (int i = 0; i < FLOW_CLAIM_TRIES; i++) {
		struct flow *flow = flow_find(name, slot);

		if (!flow) {
			*slot = flow_free_slot(name);
			if (*slot == FLOW_NO_SLOT)
				*slot = flow_victim(name, now);
			flow = *slot == FLOW_NO_SLOT ? NULL : flow_at(*slot);
			if (!flow) {
				*slot = FLOW_FULL;
				return NULL;
			}
		}
		*held = READ_ONCE(flow->id_high);
		if (*held != FLOW_CLAIMED && __sync_val_compare_and_swap(&flow->id_high, *held, FLOW_CLAIMED) == *held)
			return flow;
	}
	*slot = FLOW_BUSY;
	return NULL;
}

/* Enters a flow, or what is new of a known one. `decision`: DECISION(). Its slot, FLOW_FULL or FLOW_BUSY. */
__noinline __u32 flow_enter(struct flow_name *name __nonnull, __u16 now, __u32 decision, __u32 route_epoch, __u32 policy_version)
{
	__u32 index = name->line[0] & (FLOW_LOCKS - 1), slot;
	__u32 *lock = bpf_map_lookup_elem(&flow_locks, &index);
	struct flow *flow;
	__u64 held = 0;

	/* Of two CPUs that enter the same flow the second finds it entered. Neither waits long. */
	if (!lock || !flow_lock(lock))
		return FLOW_BUSY;
	flow = flow_claim(name, now, &slot, &held);
	if (flow) {
		if (held && flow->step & STEP_COUNTED)
			flow_uncount(flow);
		if (held != name->id_high || flow->id_low != name->id_low) {
			count(held ? COUNT_FLOW_REPLACED : COUNT_FLOW_NEW);
			flow->qos = 0;
			flow->packets = !(decision >> 16 & STEP_UNSEEN);
			flow->state = FLOW_NEW;
		}
		flow->route_epoch = route_epoch;
		flow->nexthop = decision;
		flow->step = decision >> 16 & ~STEP_UNSEEN;
		flow->seen = now;
		flow->policy_version = policy_version;
		WRITE_ONCE(flow->id_low, name->id_low);
		/* A full barrier: what the id stands for is there before it, and the lock is not free before. */
		__sync_lock_test_and_set(&flow->id_high, name->id_high);
	}
	WRITE_ONCE(*lock, 0);
	return slot;
}

#endif
