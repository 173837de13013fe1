/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The structures that fib.h goes through: where a word's lie, and the value of a bitmap or of ranges for the bits ahead. Structures of up to 64
 * bytes never cross a cache line. Places are checked where they are taken from a word: damage costs a route, never more.
 */
#ifndef BRANCHLINE_FIB_BLOCK_H
#define BRANCHLINE_FIB_BLOCK_H

#include "../maps.h"

#define FIB_WORD_KIND(word) ((word) >> 29)
#define FIB_WORD_BITS(word) ((word) >> 23 & 0x3f)
#define FIB_WORD_BYTE(word) (((word) & 0x7fffff) * FIB_UNIT)

/* All of `fib`, which begins with struct fib. */
static __always_inline const __u8 *fib_memory(void)
{
	__u32 index = 0;

	return bpf_map_lookup_elem(&fib, &index);
}

/* The word at a place; an answer, none, where there is no such place. */
static __always_inline __u32 fib_word(const __u8 *memory, __u32 byte)
{
	return byte < fib_bytes - FIB_SLACK ? *(const __u32 *)(memory + byte) : 0;
}

/* Set bits, counted in parallel: BPF has no instruction for it (Knuth, The Art of Computer Programming 4A, 7.1.3). */
static __always_inline __u32 fib_popcount(__u64 x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return x * 0x0101010101010101ULL >> 56;
}

/* @slot: 0 to 63 */
static __always_inline __u16 fib_bitmap(const __u8 *memory, __u32 byte, __u32 slot)
{
	const __u8 *block = memory + byte;

	if (byte >= fib_bytes - FIB_SLACK)
		return 0;
	/* Bits up to the address's own, of which the first is always set: values begin behind the bitmap. */
	return *(const __u16 *)(block + 6 + 2 * fib_popcount(*(const __u64 *)block << (63 - slot)));
}

/* How many of `count` bounds lie below the key. clang 14 would make branches of it, which random addresses mispredict. */
static __always_inline __u32 fib_rank(const __u8 *bounds, __u32 count, __u64 key)
{
	__u32 rank = 0;

	for (__u32 i = 0; i < count; i++) {
		__u64 below = (__u64)((const __u32 *)bounds)[i] - key;

		asm("" : "+r"(below));
		rank += below >> 63;
	}
	return rank;
}

static __always_inline __u16 fib_one_line(const __u8 *line, __u64 key)
{
	return *(const __u16 *)(line + 40 + 2 * fib_rank(line, 10, key));
}

/* The value for the range that the bits ahead fall into. A global function: the verifier walks it once by itself. */
__noinline __u32 fib_ranges(__u32 word, __u64 ahead)
{
	const __u8 *memory = fib_memory(), *block;
	__u32 byte = FIB_WORD_BYTE(word);
	__u64 key = ahead >> 32;

	if (!memory || byte >= fib_bytes - FIB_SLACK)
		return 0;
	block = memory + byte;
	switch (FIB_WORD_KIND(word)) {
	case FIB_SHORT:
		return *(const __u16 *)(block + 8 + 2 * fib_rank(block, 2, key));
	case FIB_LINE:
		return fib_one_line(block, key);
	case FIB_LINES:
		return fib_one_line(block + FIB_LINE_BYTES * (1 + fib_rank(block, 15, key)), key);
	default:
		return 0;
	}
}

#endif
