/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The routing table of a VRF: longest prefix match to an index into `nexthops`. Only this file and fib-block.h know how the
 * structure is read.
 *
 *   root of the VRF -- word -- TABLE[next bits] -- word -- BITMAP or RANGES -- value: an answer, or the next word -- ...
 *
 * Prefixes are expanded into what they cover, so the first answer is the longest match and a look-up never goes back. A large IPv4 VRF is one
 * TABLE of 2^18 words over BITMAPs of 6 bits: most addresses cost two cache lines (after DXR, Zec and others 2012, and Poptrie, Asai and
 * Ohara 2015). Ranges need few lines where prefixes are few or long, which is IPv6 and small VRFs.
 *
 * The agent changes a structure by writing another beside it and one store of the word that led to it; memory is used again only after a grace
 * period, so whatever a program reads within one run is whole.
 */
#ifndef BRANCHLINE_FIB_H
#define BRANCHLINE_FIB_H

#include "fib-block.h"
#include "journey.h"
#include "parse.h"

#define FIB_DIRECTORY_BITS 18
#define FIB_DIRECTORY (FIB_TABLE << 6 | FIB_DIRECTORY_BITS) /* kind and bits of a large table's root */
#define FIB_STEPS 18 /* the deepest path of 128 bits: tables of 3 bits and then of 8 */

/* An address of up to 128 bits, left-aligned, and where matching goes on: below 32, so that 32 bits from there on are in `high`. */
struct fib_cursor {
	__u64 high;
	__u64 low;
	__u32 offset;
};

static __always_inline void fib_advance(struct fib_cursor *cursor, __u32 bits)
{
	cursor->offset += bits;
	if (cursor->offset < 32)
		return;
	cursor->offset &= 31;
	cursor->high = cursor->high << 32 | cursor->low >> 32;
	cursor->low <<= 32;
}

/* The bits ahead, left-aligned. */
static __always_inline __u64 fib_ahead(const struct fib_cursor *cursor)
{
	return cursor->high << cursor->offset;
}

/* All ones for 0, else 0. By arithmetic: whether there is a route is as good as random, and a mispredicted branch costs more than the look-up. */
static __always_inline __u32 fib_if_zero(__u32 answer)
{
	__s32 sign = answer - 1;

	asm("" : "+r"(sign));
	return sign >> 31;
}

/* From a word to the answer, step by step; 0: no prefix fits. `offset`: bits of the address that led to the word. */
__noinline __u32 fib_walk(__u32 word, __u64 high, __u64 low, __u32 offset)
{
	struct fib_cursor cursor = { high, low, offset & 31 };
	const __u8 *memory = fib_memory();

	if (!memory)
		return 0;
	for (int step = 0; step < FIB_STEPS && FIB_WORD_KIND(word) != FIB_ANSWER; step++) {
		__u32 kind = FIB_WORD_KIND(word), bits = FIB_WORD_BITS(word), next;
		__u64 ahead = fib_ahead(&cursor);

		if (kind == FIB_TABLE) {
			next = ahead >> (64 - bits);
		} else {
			next = kind == FIB_BITMAP ? fib_bitmap(memory, FIB_WORD_BYTE(word), ahead >> 58) : fib_ranges(word, ahead);
			if (!(next & FIB_DEEPER))
				return next;
			next &= ~FIB_DEEPER;
		}
		word = fib_word(memory, FIB_WORD_BYTE(word) + next * sizeof(word));
		fib_advance(&cursor, bits);
	}
	return word & ~FIB_DEEPER;
}

/*
 * The same from an IPv4 root, short for a large table: in the directory an address finds an answer or a bitmap, which of both nobody can predict. So
 * the bitmap is read in either case, and masked out.
 */
static __always_inline __u32 fib_match4(const __u8 *memory, __u32 root, __u32 address)
{
	__u32 word, mask, value;

	if (root >> 23 != FIB_DIRECTORY)
		return fib_walk(root, (__u64)address << 32, 0, 0);
	word = fib_word(memory, FIB_WORD_BYTE(root) + (address >> 14) * sizeof(word));
	if (FIB_WORD_KIND(word) > FIB_BITMAP)
		return fib_walk(word, (__u64)address << 32, 0, FIB_DIRECTORY_BITS);
	mask = -FIB_WORD_KIND(word);
	value = (fib_bitmap(memory, FIB_WORD_BYTE(word & mask), address >> 8 & 63) & mask) | (word & ~mask);
	return value & FIB_DEEPER ? fib_walk(word, (__u64)address << 32, 0, FIB_DIRECTORY_BITS) : value;
}

static __always_inline const struct fib_root *fib_root_of(const __u8 *memory, __u32 vrf)
{
	const struct fib *fib = (const struct fib *)memory;
	__u32 byte;

	if (!fib || vrf >= fib->vrfs)
		return NULL;
	byte = fib->roots + vrf * sizeof(struct fib_root);
	return byte < fib_bytes - FIB_SLACK ? (const struct fib_root *)(memory + byte) : NULL;
}

__noinline __u32 fib_find4(__u32 vrf, __u32 address)
{
	const __u8 *memory = fib_memory();
	const struct fib_root *root = fib_root_of(memory, vrf);
	__u32 answer;

	if (!root)
		return 0;
	answer = fib_match4(memory, root->word4, address);
	return answer | (root->default4 & fib_if_zero(answer));
}

__noinline __u32 fib_find6(__u32 vrf, __u64 high, __u64 low)
{
	const struct fib_root *root = fib_root_of(fib_memory(), vrf);
	__u32 answer;

	if (!root)
		return 0;
	answer = fib_walk(root->word6, high, low, 0);
	return answer | (root->default6 & fib_if_zero(answer));
}

/* Index into nexthops; 0: no route. `address` is 16 bytes, an IPv4 one mapped. */
static __always_inline __u32 fib_lookup(__u32 vrf, __u32 family, const __u8 *address)
{
	const __be32 *words = (const __be32 *)address;

	if (family == FAMILY_IPV4)
		return fib_find4(vrf, bpf_ntohl(mapped_ipv4(address)));
	return fib_find6(vrf, (__u64)bpf_ntohl(words[0]) << 32 | bpf_ntohl(words[1]),
			 (__u64)bpf_ntohl(words[2]) << 32 | bpf_ntohl(words[3]));
}

#endif
