/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Reads what the WAN delivers: IPv4 or IPv6, UDP to the MP port, MP header. Nothing is changed. */
#ifndef BRANCHLINE_OUTER_H
#define BRANCHLINE_OUTER_H

#include "encap.h"

/* An MP packet with the addresses it came from. */
struct arrival {
	struct mp_hdr mp;
	__u64 payload[MP_TAGGED_PAYLOAD / 8]; /* under the tag; read together with the header */
	__u8 src[16];			      /* IPv4 in the first four bytes, as in path_conf */
	__u8 dst[16];
	struct udphdr udp;
	__u32 offset;  /* of the MP header */
	__u32 length;  /* UDP payload: MP header and what it carries */
	__u32 handle;  /* set when session and path are known */
	__u8 family;
	__u8 marked;   /* congestion experienced on the way (RFC 3168) */
	__u8 rebuilt;  /* it did not come: parity did (fec-decode.h) */
};

#define ECN_CE 3

/* Whether UDP at `offset`, behind options or a fragment header, is for the MP port. */
static __always_inline bool to_mp_port(struct __sk_buff *skb, __u32 offset)
{
	__be16 dport;

	return !bpf_skb_load_bytes(skb, offset + offsetof(struct udphdr, dest), &dport, sizeof(dport)) && dport == bpf_htons(MP_PORT);
}

/* GO_ON: UDP to the MP port directly behind the IP header, of `length` bytes with its header. TCX_NEXT: not for us. */
static __always_inline int outer_ipv4(struct __sk_buff *skb, struct arrival *a)
{
	struct outer4 *outer = reach(skb, L3, sizeof(*outer));
	__u32 header, total;
	__u16 fragment;
	bool ours;

	if (!outer || outer->ip.version != 4 || outer->ip.protocol != IPPROTO_UDP)
		return TCX_NEXT;
	fragment = bpf_ntohs(outer->ip.frag_off);
	header = outer->ip.ihl * 4;
	total = bpf_ntohs(outer->ip.tot_len);
	/* Only a first fragment has a port to be known by. */
	if (fragment & IP_OFFSET)
		return TCX_NEXT;
	a->family = FAMILY_IPV4;
	a->marked = (outer->ip.tos & ECN_CE) == ECN_CE;
	__builtin_memcpy(a->src, &outer->ip.saddr, 4);
	__builtin_memcpy(a->dst, &outer->ip.daddr, 4);
	a->udp = outer->udp;
	ours = header == sizeof(outer->ip) ? outer->udp.dest == bpf_htons(MP_PORT) : to_mp_port(skb, L3 + header);
	if (!ours)
		return TCX_NEXT;
	if (fragment & IP_MF)
		return DROP(DROP_OUTER_FRAGMENT);
	/* Nobody sends MP with IP options, and every offset below is simpler without. */
	if (header != sizeof(outer->ip) || total < sizeof(*outer) || total > skb->len - L3)
		return DROP(DROP_OUTER_MALFORMED);
	a->length = total - sizeof(outer->ip);
	a->offset = L3 + sizeof(*outer);
	return GO_ON;
}

static __always_inline int outer_ipv6(struct __sk_buff *skb, struct arrival *a)
{
	struct outer6 *outer = reach(skb, L3, sizeof(*outer));
	struct { __u8 next, reserved; __be16 offset; } fragment;

	if (!outer || outer->ip.version != 6)
		return TCX_NEXT;
	if (outer->ip.nexthdr == IPPROTO_FRAGMENT) {
		if (!bpf_skb_load_bytes(skb, L3 + sizeof(outer->ip), &fragment, sizeof(fragment)) && fragment.next == IPPROTO_UDP &&
		    !(fragment.offset & bpf_htons(IP6_OFFSET)) && to_mp_port(skb, L3 + sizeof(outer->ip) + 8))
			return DROP(DROP_OUTER_FRAGMENT);
		return TCX_NEXT;
	}
	if (outer->ip.nexthdr != IPPROTO_UDP || outer->udp.dest != bpf_htons(MP_PORT))
		return TCX_NEXT;
	a->length = bpf_ntohs(outer->ip.payload_len);
	if (a->length < sizeof(struct udphdr) || a->length > skb->len - L3 - sizeof(outer->ip))
		return DROP(DROP_OUTER_MALFORMED);
	a->family = FAMILY_IPV6;
	/* The traffic class lies across the first two bytes; its ECN bits in the second. */
	a->marked = (((__u8 *)&outer->ip)[1] >> 4 & ECN_CE) == ECN_CE;
	__builtin_memcpy(a->src, &outer->ip.saddr, 16);
	__builtin_memcpy(a->dst, &outer->ip.daddr, 16);
	a->udp = outer->udp;
	a->offset = L3 + sizeof(*outer);
	return GO_ON;
}

/* Header and tagged payload into `a`, in one: they stand next to each other in both places. False: the packet ends before. */
static __always_inline bool mp_read(struct __sk_buff *skb, struct arrival *a)
{
	const __u64 *from;

	if (a->length < MP_HDR_LEN + MP_TAGGED_PAYLOAD)
		return false;
	if (a->family == FAMILY_IPV4)
		from = reach(skb, L3 + sizeof(struct outer4), MP_HDR_LEN + MP_TAGGED_PAYLOAD);
	else
		from = reach(skb, L3 + sizeof(struct outer6), MP_HDR_LEN + MP_TAGGED_PAYLOAD);
	if (!from)
		return false;
	__builtin_memcpy(a, from, MP_HDR_LEN + MP_TAGGED_PAYLOAD);
	return true;
}

/* GO_ON: a tagged type with its header in a->mp. TCX_NEXT: somebody else's, or a handshake for the agent's socket. `a` is zeroed. */
__noinline int outer_parse(struct __sk_buff *skb, struct arrival *a __nonnull)
{
	__u8 *first, type;
	int result;

	if (ethertype_of(skb).value == bpf_htons(ETH_P_IP))
		result = outer_ipv4(skb, a);
	else
		result = outer_ipv6(skb, a);
	if (result != GO_ON)
		return result;
	if (skb->gso_size || bpf_ntohs(a->udp.len) != a->length)
		return DROP(DROP_OUTER_MALFORMED);
	a->length -= sizeof(a->udp);
	if (a->length < 1)
		return DROP(DROP_MP_TRUNCATED);
	first = a->family == FAMILY_IPV4 ? reach(skb, L3 + sizeof(struct outer4), 1) : reach(skb, L3 + sizeof(struct outer6), 1);
	if (!first)
		return DROP(DROP_MP_TRUNCATED);
	if (*first >> 4 != MP_VERSION)
		return DROP(DROP_MP_VERSION);
	type = *first & 0xf;
	if (type >= MP_FIRST_HANDSHAKE) {
		count(COUNT_HANDSHAKE_IN);
		return TCX_NEXT;
	}
	if (type < MP_DATA || type > MP_PARITY)
		return DROP(DROP_MP_TYPE);
	return mp_read(skb, a) ? GO_ON : DROP(DROP_MP_TRUNCATED);
}

#endif
