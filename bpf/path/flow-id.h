/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Names of flows. An id is 16 bytes whatever the family, so all that follows has one path: of IPv4 the 5-tuple itself, of IPv6 a keyed
 * digest that nobody outside can compute. The VRF stands in both: no digest can mistake one tenant's flow for another's.
 */
#ifndef BRANCHLINE_FLOW_ID_H
#define BRANCHLINE_FLOW_ID_H

#include "../maps.h"
#include "journey.h"
#include "tag.h"

#define FLOW_KEY_WORDS (sizeof(struct flow_key) / sizeof(__u32))

/* A flow's id, and where to look for it. */
struct flow_name {
	__u64 id_low;
	__u64 id_high;
	__u32 line[2]; /* two choices; each has its neighbour, line ^ 1, for a second */
};

static __always_inline __u64 flow_id_high(__u8 proto, __u32 vrf, __u32 low)
{
	return (__u64)proto << 56 | (__u64)(vrf & 0xffffff) << 32 | low;
}

/* SipHash-1-3 with 128 bits of result, of which 96 are used: they never leave the node, so fewer rounds than for a tag will do. */
static __always_inline void flow_digest(struct flow_name *name, const struct flow_key *key, const __u64 secret[2])
{
	const __u32 *words = (const __u32 *)key;
	struct sip s = {
		.v0 = secret[0] ^ 0x736f6d6570736575ULL,
		.v1 = secret[1] ^ 0x646f72616e646f6dULL ^ 0xee,
		.v2 = secret[0] ^ 0x6c7967656e657261ULL,
		.v3 = secret[1] ^ 0x7465646279746573ULL,
	};
	__u64 word;

	/* All messages are of one length, which needs no word of its own. */
#pragma unroll
	for (__u32 i = 0; i < FLOW_KEY_WORDS; i += 2) {
		word = words[i];
		if (i + 1 < FLOW_KEY_WORDS)
			word |= (__u64)words[i + 1] << 32;
		s.v3 ^= word;
		sip_round(&s);
		s.v0 ^= word;
	}
	s.v2 ^= 0xee;
#pragma unroll
	for (int i = 0; i < 3; i++)
		sip_round(&s);
	name->id_low = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
	s.v1 ^= 0xdd;
#pragma unroll
	for (int i = 0; i < 3; i++)
		sip_round(&s);
	name->id_high = flow_id_high(FLOW_PROTO_DIGEST, key->vrf, s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
}

/*
 * NH of UMAC (RFC 4418, 5.2.2) over the id's four words, then two rounds of multiply and shift. Who does not know the key cannot aim
 * flows at one line better than by chance: the sums of two ids are equal with a chance of 2^-32.
 */
static __always_inline void flow_hash(struct flow_name *name, const struct flow_config *config)
{
	__u64 low = name->id_low, high = name->id_high, h;

	h = (__u64)((__u32)low + (__u32)config->line_key[0]) * (__u32)((low >> 32) + (config->line_key[0] >> 32));
	h += (__u64)((__u32)high + (__u32)config->line_key[1]) * (__u32)((high >> 32) + (config->line_key[1] >> 32));
	h = (h ^ h >> 32) * config->line_key[2];
	h = (h ^ h >> 29) * config->line_key[3];
	h ^= h >> 32;
	name->line[0] = h & config->line_mask;
	name->line[1] = h >> 32 & config->line_mask;
}

static __always_inline void flow_name(struct flow_name *name, const struct flow_key *key, __u8 family, const struct flow_config *config)
{
	const __u32 *src = (const __u32 *)key->src, *dst = (const __u32 *)key->dst;

	/* Protocol 255 is reserved, but may come: as a digest it keeps apart from IPv6. */
	if (family == FAMILY_IPV4 && key->proto != FLOW_PROTO_DIGEST) {
		name->id_low = (__u64)src[3] << 32 | dst[3];
		name->id_high = flow_id_high(key->proto, key->vrf, (__u32)key->sport << 16 | key->dport);
	} else {
		flow_digest(name, key, config->digest_key);
	}
	flow_hash(name, config);
}

/* The key of the same flow's other direction. */
static __always_inline void flow_reverse(struct flow_key *reverse, const struct flow_key *key)
{
	reverse->vrf = key->vrf;
	reverse->proto = key->proto;
	__builtin_memset(reverse->reserved, 0, sizeof(reverse->reserved));
	reverse->sport = key->dport;
	reverse->dport = key->sport;
	__builtin_memcpy(reverse->src, key->dst, sizeof(reverse->src));
	__builtin_memcpy(reverse->dst, key->src, sizeof(reverse->dst));
}

#endif
