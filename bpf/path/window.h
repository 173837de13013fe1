/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The replay window of a path: 64 words of 32 packet numbers each. Number n belongs to word (n >> 5) mod 64 and to its epoch
 * n >> 11; a word is epoch << 32 | one bit per number. A later epoch takes the word over, an earlier one is too old, so 2016 to 2047
 * numbers behind the newest are still welcome. A word changes by compare-and-swap, so no two CPUs accept one number.
 */
#ifndef BRANCHLINE_WINDOW_H
#define BRANCHLINE_WINDOW_H

#include "journey.h"

#define WINDOW_NUMBER_END (1ULL << 43) /* from here on the epoch needs more than 32 bits */
#define WINDOW_TRIES 8

/* GO_ON: accepted, and never again. */
static __always_inline int window_accept(struct path_state *state, __u64 number)
{
	__u64 epoch = number >> 11;
	__u64 bit = 1ULL << (number & 31);
	__u64 *word;

	if (number >= WINDOW_NUMBER_END)
		return DROP(DROP_MP_REPLAY);
	if (number + WINDOW_WORDS * 32 <= state->rx_highest)
		return DROP(DROP_MP_TOO_OLD);
	word = &state->window[(number >> 5) & (WINDOW_WORDS - 1)];
	for (int i = 0; i < WINDOW_TRIES; i++) {
		__u64 seen = *(volatile __u64 *)word;
		__u64 next;

		if (seen >> 32 > epoch)
			return DROP(DROP_MP_TOO_OLD);
		if (seen >> 32 == epoch) {
			if (seen & bit)
				return DROP(DROP_MP_REPLAY);
			next = seen | bit;
		} else {
			next = epoch << 32 | bit;
		}
		if (__sync_val_compare_and_swap(word, seen, next) == seen)
			return GO_ON;
	}
	/* Eight losses in a row: rather one packet too few than one twice. */
	return DROP(DROP_MP_REPLAY);
}

/* Of classes that overtake each other in the sender's queue nothing is wrong with the path. */
static __always_inline void count_reordered(struct path_state *state, __u32 class, __u64 number)
{
	volatile __u32 *highest = &state->highest_of[class & (CLASSES - 1)];

	if ((__s32)((__u32)number - *highest) < 0)
		__sync_fetch_and_add(&state->reordered, 1);
	else
		*highest = number;
}

/*
 * Raises rx_highest. Returns whether `number` is the newest of its path. A plain store: of two CPUs at once the older number may stay until
 * the next packet, which lets in no number twice, since a word that is ahead refuses by its epoch. An atomic one would cost 5 ns.
 */
static __always_inline bool window_advance(struct path_state *state, __u64 number)
{
	volatile __u64 *highest = &state->rx_highest;

	if (number <= *highest)
		return false;
	*highest = number;
	return true;
}

#endif
