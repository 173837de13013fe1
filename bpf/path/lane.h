/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sequences: numbers of packets over all paths of a session, for those that are sent twice or protected. Each CPU of the sender counts in a lane of its own
 * (CPUs that share one count atomically); the receiver takes each number of a lane once, by a window like that of window.h, of 512 numbers.
 *
 * 29 bits of a number are on the wire. The receiver completes them to the nearest number to its highest.
 */
#ifndef BRANCHLINE_LANE_H
#define BRANCHLINE_LANE_H

#include "fec-number.h"

#define LANE_NUMBER_BITS MP_LANE_SHIFT
#define LANE_NUMBERS (1U << LANE_NUMBER_BITS)
#define LANE_TRIES 8

/* Of the session's next packet that goes twice; 0: the session has one path, or numbers nothing. */
static __always_inline __u32 next_sequence(__u32 sid)
{
	__u32 at = bpf_get_smp_processor_id() % MP_LANES;
	struct bundle *bundle = bundle_of(sid);

	return bundle ? at << MP_LANE_SHIFT | lane_next(&bundle->lanes[at], 1) : 0;
}

/* The number whose low bits these are, nearest to the highest. One round above 0, so that none is before the first. */
static __always_inline __u64 lane_number(__u32 low, __u64 highest)
{
	__s32 ahead = (__s32)((low - (__u32)highest) << (32 - LANE_NUMBER_BITS)) >> (32 - LANE_NUMBER_BITS);

	return highest ? highest + ahead : LANE_NUMBERS + low;
}

/* GO_ON: the first of its number. SHOT: a copy, it has come before. A drop: others of its lane are so far ahead that nobody knows which. `sequence` is not 0. */
static __always_inline int lane_accept(struct bundle *bundle, __u32 sequence)
{
	struct lane *lane = &bundle->lanes[sequence >> MP_LANE_SHIFT & (MP_LANES - 1)];
	volatile __u64 *highest = &lane->rx_highest;
	__u64 number = lane_number(sequence & (LANE_NUMBERS - 1), *highest);
	__u64 epoch = number >> 9, bit = 1ULL << (number & 31);
	__u64 *word = &lane->window[number >> 5 & (LANE_WORDS - 1)];

	if (number + LANE_WORDS * 32 <= *highest)
		return DROP(DROP_MP_TOO_OLD);
	for (int i = 0; i < LANE_TRIES; i++) {
		__u64 seen = *(volatile __u64 *)word;
		__u64 next = seen >> 32 == epoch ? seen | bit : epoch << 32 | bit;

		if (seen >> 32 > epoch)
			return DROP(DROP_MP_TOO_OLD);
		if (next == seen)
			return TC_ACT_SHOT;
		if (__sync_val_compare_and_swap(word, seen, next) != seen)
			continue;
		if (number > *highest)
			*highest = number;
		return GO_ON;
	}
	/* As in window.h: rather one packet too few than one twice. */
	return DROP(DROP_MP_REPLAY);
}

#endif
