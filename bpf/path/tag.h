/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The header's tag: SipHash-2-4 (Aumasson, Bernstein 2012) of exactly 48 bytes, the header's first 32 and 16 of payload.
 * Words are little-endian as in the paper; every 64-bit word of the input is one load.
 */
#ifndef BRANCHLINE_TAG_H
#define BRANCHLINE_TAG_H

#include "../wire.h"
#include "kernel.h"

#define TAG_HEADER_WORDS 4
#define TAG_PAYLOAD_WORDS (MP_TAGGED_PAYLOAD / 8)
#define TAG_LAST_WORD ((__u64)48 << 56) /* no bytes are left over: the length alone */

#define ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))

struct sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline struct sip sip_keyed(const __u64 key[2])
{
	return (struct sip){
		.v0 = key[0] ^ 0x736f6d6570736575ULL,
		.v1 = key[1] ^ 0x646f72616e646f6dULL,
		.v2 = key[0] ^ 0x6c7967656e657261ULL,
		.v3 = key[1] ^ 0x7465646279746573ULL,
	};
}

static __always_inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = ROTATE(s->v1, 13) ^ s->v0;
	s->v0 = ROTATE(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = ROTATE(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = ROTATE(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = ROTATE(s->v1, 17) ^ s->v2;
	s->v2 = ROTATE(s->v2, 32);
}

static __always_inline void sip_word(struct sip *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

static __always_inline __u64 little(__u64 word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return __builtin_bswap64(word);
#else
	return word;
#endif
}

/*
 * Whether the first two header words are those that most packets of the path have: DATA without class, sequence and chain. Session and path are the
 * path's own already.
 */
static __always_inline bool is_plain(const struct mp_hdr *mp)
{
	return mp->version_type == (MP_VERSION << 4 | MP_DATA) && !mp->qos && !mp->fec && !mp->sequence && !mp->service_path;
}

/*
 * The tag as it stands on the wire. `mp` and `payload` (16 bytes): in the packet or on the stack. `plain` is the state behind the key and
 * those two words (path_state.tx_tag or rx_tag), where a plain packet may begin: BPF has no rotate instruction, so each of the 18 rounds
 * takes 2 ns, and this leaves 14.
 */
static __always_inline __be64 tag(const __u64 key[2], const __u64 plain[4], const struct mp_hdr *mp, const __u64 *payload)
{
	const __u64 *header = (const __u64 *)mp;
	struct sip s;

	if (is_plain(mp)) {
		s = (struct sip){ plain[0], plain[1], plain[2], plain[3] };
	} else {
		s = sip_keyed(key);
		sip_word(&s, little(header[0]));
		sip_word(&s, little(header[1]));
	}
#pragma unroll
	for (int i = 2; i < TAG_HEADER_WORDS; i++)
		sip_word(&s, little(header[i]));
#pragma unroll
	for (int i = 0; i < TAG_PAYLOAD_WORDS; i++)
		sip_word(&s, little(payload[i]));
	sip_word(&s, TAG_LAST_WORD);
	s.v2 ^= 0xff;
#pragma unroll
	for (int i = 0; i < 4; i++)
		sip_round(&s);
	return bpf_cpu_to_be64(s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
}

#endif
