/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Forward error correction by XOR: of k + 1 packets any one may be lost.
 *
 * Packets of a lane with numbers n to n + k * depth - 1 are a *block*, n - 1 a multiple of its size. A *group* is what has the same remainder modulo
 * depth, a column below: so depth losses in a row hit a group once each. Behind a group's last packet follows its parity.
 *
 *   depth 2, k 3:   1   2
 *                   3   4
 *                   5P  6P     P: and the parity of the column
 *
 * A parity's payload is the XOR of the members' payloads, shorter ones filled up with zeros, and so no longer than the longest. What else a
 * member needs to come back is in the header's fields that a parity has no use for: timestamp_us is the XOR of the timestamps, policy_version that of
 * payload length << 8 | qos. Sequence and fec are those of the group's last member, with MP_FEC_PARITY.
 */
#ifndef BRANCHLINE_FEC_H
#define BRANCHLINE_FEC_H

#include "../maps.h"
#include "kernel.h"

#define FEC_NUMBER_MASK ((1U << MP_LANE_SHIFT) - 1)
#define FEC_PARITY_SEEN (1U << 31)

static __always_inline __u32 fec_k(__u32 code)
{
	return code & MP_FEC_K;
}

static __always_inline __u32 fec_depth_shift(__u32 code)
{
	return code >> MP_FEC_DEPTH_SHIFT & 3;
}

/* Packets of a block. */
static __always_inline __u32 fec_block_size(__u32 code)
{
	return fec_k(code) << fec_depth_shift(code);
}

/* Where a packet stands in its block. */
struct fec_place {
	__u32 block;	/* the lane's so manieth */
	__u32 row, column;
};

static __always_inline struct fec_place fec_place_of(__u32 number, __u32 code)
{
	__u32 size = fec_block_size(code), shift = fec_depth_shift(code);
	__u32 block = size ? (number - 1) / size : 0;
	__u32 at = number - 1 - block * size;

	return (struct fec_place){ .block = block, .row = at >> shift, .column = at & ((1U << shift) - 1) };
}

/* Begins a sum of nothing. What was the last one's, `longest` bytes, stays until the first packet is put over it. */
static __always_inline void fec_clear(struct fec_sum *sum)
{
	sum->count = 0;
	sum->timestamp_us = 0;
	sum->length_qos = 0;
}

/* Words from the `i`th on, 8 at least and as many as are not 0. clang must not see that this is a memset. */
static __noinline void fec_zero(struct fec_sum *sum, __u32 i)
{
	__u64 zero = 0;

	for (; i < FEC_WORDS; i += 8) {
		__u64 *to = sum->words + i;

		asm volatile("" : "+r"(zero));
#pragma unroll
		for (int j = 0; j < 8; j++)
			to[j] = zero;
		if (i * 8 + 64 >= sum->longest)
			break;
	}
}

/* The last bytes, fewer than 64, into `to`, which has room for them. */
static __always_inline void fec_fold_rest(__u64 *to, const void *from, const void *end)
{
#pragma unroll
	for (int i = 0; i < 7; i++) {
		if (from + 8 > end)
			break;
		*to++ ^= *(const __u64 *)from;
		from += 8;
	}
	if (from + 4 <= end) {
		*(__u32 *)to ^= *(const __u32 *)from;
		to = (void *)to + 4;
		from += 4;
	}
	if (from + 2 <= end) {
		*(__u16 *)to ^= *(const __u16 *)from;
		to = (void *)to + 2;
		from += 2;
	}
	if (from + 1 <= end)
		*(__u8 *)to ^= *(const __u8 *)from;
}

/* The first packet of a sum takes the place of what was there: half the work of adding it to zeros. */
static __always_inline void fec_put(struct fec_sum *sum, const void *from, const void *end)
{
	for (__u32 i = 0; i < FEC_WORDS; i += 8) {
		__u64 *to = sum->words + i;
		const __u64 *words = from;

		if (from + 64 > end) {
			fec_zero(sum, i);
			fec_fold_rest(to, from, end);
			break;
		}
#pragma unroll
		for (int j = 0; j < 8; j++)
			to[j] = words[j];
		from += 64;
	}
	sum->longest = 0;
}

/* 64 bytes at a time, of which each takes 4 instructions for 8 bytes. */
static __always_inline void fec_add_bytes(struct fec_sum *sum, const void *from, const void *end)
{
	for (__u32 i = 0; i < FEC_WORDS; i += 8) {
		__u64 *to = sum->words + i;
		const __u64 *words = from;

		if (from + 64 > end) {
			fec_fold_rest(to, from, end);
			break;
		}
#pragma unroll
		for (int j = 0; j < 8; j++)
			to[j] ^= words[j];
		from += 64;
	}
}

/* Adds the bytes from `offset` to the packet's end. Not 0: the packet cannot be read, or is too long; the sum is as before. */
__noinline int fec_fold(struct __sk_buff *skb, struct fec_sum *sum __nonnull, __u32 offset)
{
	__u32 length = skb->len - offset;
	void *from, *end;

	if (offset > 255 || skb->len <= offset || length > FEC_BYTES)
		return -1;
	if (packet_data(skb) + skb->len > packet_end(skb) && bpf_skb_pull_data(skb, skb->len))
		return -1;
	from = packet_data(skb) + offset;
	end = packet_end(skb);
	if (sum->count)
		fec_add_bytes(sum, from, end);
	else
		fec_put(sum, from, end);
	if (length > sum->longest)
		sum->longest = length;
	sum->count++;
	return 0;
}

#endif
