/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The structures that fib.h goes through: where a word's lie, and the value of a bitmap or of ranges for the bits ahead. Structures of up to 64
 * bytes never cross a cache line. Places are checked by the map: damage costs a route, never more.
 */
#ifndef BRANCHLINE_FIB_BLOCK_H
#define BRANCHLINE_FIB_BLOCK_H

#include "../maps.h"

#define FIB_WORD_KIND(word) ((word) >> 29)
#define FIB_WORD_BITS(word) ((word) >> 23 & 0x3f)
#define FIB_WORD_BYTE(word) (((word) & 0x7fffff) * FIB_UNIT)

static __always_inline struct fib_line *fib_line(__u32 byte)
{
	__u32 index = byte / FIB_LINE_BYTES;

	return bpf_map_lookup_elem(&fib_lines, &index);
}

static __always_inline __u32 fib_word(__u32 byte)
{
	struct fib_line *line = fib_line(byte);

	return line ? ((__u32 *)line)[byte / 4 % 16] : 0;
}

static __always_inline __u16 fib_value(__u32 byte)
{
	struct fib_line *line = fib_line(byte);

	return line ? ((__u16 *)line)[byte / 2 % 32] : 0;
}

/* Set bits, counted in parallel: BPF has no instruction for it (Knuth, The Art of Computer Programming 4A, 7.1.3). */
static __always_inline __u32 fib_popcount(__u64 x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return x * 0x0101010101010101ULL >> 56;
}

static __always_inline __u16 fib_bitmap(__u32 byte, __u64 ahead)
{
	struct fib_line *line = fib_line(byte);

	if (!line)
		return 0;
	/* Bits up to the address's own, of which the first is always set: values begin behind the bitmap. */
	return fib_value(byte + 6 + 2 * fib_popcount(line->words[byte / 8 % 8] << (63 - (ahead >> 58))));
}

/* How many of `count` bounds lie below the key. clang 14 would make branches of it, which random addresses mispredict. */
static __always_inline __u32 fib_rank(const __u32 *bounds, __u32 count, __u64 key)
{
	__u32 rank = 0;

	for (__u32 i = 0; i < count; i++) {
		__u64 below = (__u64)bounds[i] - key;

		asm("" : "+r"(below));
		rank += below >> 63;
	}
	return rank;
}

static __always_inline __u16 fib_short(__u32 byte, __u64 ahead)
{
	struct fib_line *line = fib_line(byte);

	return line ? fib_value(byte + 8 + 2 * fib_rank((__u32 *)&line->words[byte / 8 % 8 & 6], 2, ahead >> 32)) : 0;
}

static __always_inline __u16 fib_one_line(__u32 byte, __u64 ahead)
{
	struct fib_line *line = fib_line(byte);

	return line ? fib_value(byte + 40 + 2 * fib_rank((__u32 *)line, 10, ahead >> 32)) : 0;
}

static __always_inline __u16 fib_lines_of(__u32 byte, __u64 ahead)
{
	struct fib_line *line = fib_line(byte);

	return line ? fib_one_line(byte + FIB_LINE_BYTES * (1 + fib_rank((__u32 *)line, 15, ahead >> 32)), ahead) : 0;
}

/* The value for the range that the bits ahead fall into. A global function, as those below: the verifier walks each once by itself. */
__noinline __u32 fib_ranges(__u32 word, __u64 ahead)
{
	__u32 byte = FIB_WORD_BYTE(word);

	switch (FIB_WORD_KIND(word)) {
	case FIB_SHORT:
		return fib_short(byte, ahead);
	case FIB_LINE:
		return fib_one_line(byte, ahead);
	case FIB_LINES:
		return fib_lines_of(byte, ahead);
	default:
		return 0;
	}
}

#endif
