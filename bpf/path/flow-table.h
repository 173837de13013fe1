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
 * Which of two slots holds the id, if one does: 1 when it is the second. Arithmetic, hidden from clang, where a branch would do: it could not
 * be predicted, and one on what is still on its way from memory costs that way again.
 */
static __always_inline __u32 which(const struct flow_line *line, const struct flow_name *name)
{
	__u64 differs = (line->slots[1].id_low ^ name->id_low) | (line->slots[1].id_high ^ name->id_high);
	__u64 negative = -differs;

	asm volatile("" : "+r"(negative));
	return (differs | negative) >> 63 ^ 1;
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

/* How many slots of a line and its neighbour are free, and the best of them. */
static __always_inline __u32 pair_free(__u32 line, __u32 *slot)
{
	__u32 free = 0;

	for (__u32 i = 4; i-- > 0;) {
		__u32 candidate = (line ^ i / 2) * 2 + i % 2;
		struct flow *flow = flow_at(candidate);

		if (!flow || READ_ONCE(flow->id_high))
			continue;
		free++;
		*slot = candidate;
	}
	return free;
}

/* At the first line, unless that pair has but one slot left and the second has more. FLOW_NO_SLOT: all are taken. */
static __always_inline __u32 flow_free_slot(const struct flow_name *name)
{
	__u32 slot = FLOW_NO_SLOT, other = FLOW_NO_SLOT;
	__u32 free = pair_free(name->line[0], &slot);

	if (free > 1)
		return slot;
	return pair_free(name->line[1], &other) > free ? other : slot;
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

/* Enters a flow, or what is new of a known one. Its slot, FLOW_FULL or FLOW_BUSY. */
__noinline __u32 flow_enter(struct flow_name *name __nonnull, __u16 now, __u16 nexthop, __u32 route_epoch, __u32 policy_version)
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
		if (held != name->id_high || flow->id_low != name->id_low) {
			count(held ? COUNT_FLOW_REPLACED : COUNT_FLOW_NEW);
			flow->qos = 0;
			flow->step = 0;
			flow->packets = 1;
			flow->state = FLOW_NEW;
		}
		flow->route_epoch = route_epoch;
		flow->nexthop = nexthop;
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
