/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the benchmark programs share. They are no part of the product: scripts/bench loads them and runs them by BPF_PROG_TEST_RUN.
 * They include the product's own headers wherever they measure the product.
 */
#ifndef BRANCHLINE_BENCH_H
#define BRANCHLINE_BENCH_H

#include "../path/kernel.h"

#define __unused __attribute__((unused))

/* Where a round stands in its random sequence: written by scripts/bench/programs.ts before each round. */
struct cursor {
	__u64 state;
	__u64 result; /* of the last run: what was looked up ends here, so that the compiler keeps it */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cursor);
} cursor SEC(".maps");

static __always_inline struct cursor *cursor_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cursor, &zero);
}

/* Next number of the sequence (Marsaglia's xorshift64 with a multiplied output): a few instructions, no call. The state is never 0. */
static __always_inline __u32 cursor_next(__u64 *state)
{
	__u64 x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dULL >> 32;
}

#endif
