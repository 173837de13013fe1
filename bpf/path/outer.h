/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Reads what the WAN delivers: IPv4 or IPv6, UDP to the MP port, MP header. Nothing is changed. */
#ifndef BRANCHLINE_OUTER_H
#define BRANCHLINE_OUTER_H

#include "parse.h"

/* An MP packet with the addresses it came from. */
struct arrival {
	struct mp_hdr mp;
	__u64 payload[MP_TAGGED_PAYLOAD / 8]; /* under the tag; read together with the header */
	__u8 src[16];			      /* IPv4 in the first four bytes, as in path_conf */
	__u8 dst[16];
	__be16 sport, dport;
	__u32 offset;  /* of the MP header */
	__u32 length;  /* UDP payload: MP header and what it carries */
	__u32 handle;  /* set when session and path are known */
	__u8 family;
	__u8 marked;   /* congestion experienced on the way (RFC 3168) */
};

#define ECN_CE 3

static __always_inline bool to_mp_port(struct __sk_buff *skb, __u32 udp)
{
	__be16 dport;

	return !bpf_skb_load_bytes(skb, udp + __builtin_offsetof(struct udphdr, dest), &dport, sizeof(dport)) &&
	       dport == bpf_htons(MP_PORT);
}

/* GO_ON: UDP without options at L3 + 20; `length` is that of the IP payload. TCX_NEXT: not for us. */
static __always_inline int outer_ipv4(struct __sk_buff *skb, struct arrival *a)
{
	struct iphdr *ip = reach(skb, L3, OUTER_IPV4);
	__u32 header, total;
	__u16 fragment;

	if (!ip || ip->version != 4 || ip->protocol != IPPROTO_UDP)
		return TCX_NEXT;
	fragment = bpf_ntohs(ip->frag_off);
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	/* Only a first fragment has a port to be known by. */
	if (fragment & IP_OFFSET)
		return TCX_NEXT;
	a->family = FAMILY_IPV4;
	a->marked = (ip->tos & ECN_CE) == ECN_CE;
	__builtin_memcpy(a->src, &ip->saddr, 4);
	__builtin_memcpy(a->dst, &ip->daddr, 4);
	if (!to_mp_port(skb, L3 + header))
		return TCX_NEXT;
	if (fragment & IP_MF)
		return DROP(DROP_OUTER_FRAGMENT);
	/* Nobody sends MP with IP options, and every offset below is simpler without. */
	if (header != sizeof(struct iphdr) || total < OUTER_IPV4 || total > skb->len - L3)
		return DROP(DROP_OUTER_MALFORMED);
	a->length = total - sizeof(struct iphdr);
	return GO_ON;
}

static __always_inline int outer_ipv6(struct __sk_buff *skb, struct arrival *a)
{
	struct ipv6hdr *ip = reach(skb, L3, OUTER_IPV6);
	struct { __u8 next, reserved; __be16 offset; } fragment;

	if (!ip || ip->version != 6)
		return TCX_NEXT;
	if (ip->nexthdr == IPPROTO_FRAGMENT) {
		if (!bpf_skb_load_bytes(skb, L3 + sizeof(*ip), &fragment, sizeof(fragment)) && fragment.next == IPPROTO_UDP &&
		    !(fragment.offset & bpf_htons(IP6_OFFSET)) && to_mp_port(skb, L3 + sizeof(*ip) + 8))
			return DROP(DROP_OUTER_FRAGMENT);
		return TCX_NEXT;
	}
	if (ip->nexthdr != IPPROTO_UDP || !to_mp_port(skb, L3 + sizeof(*ip)))
		return TCX_NEXT;
	a->length = bpf_ntohs(ip->payload_len);
	if (a->length < sizeof(struct udphdr) || a->length > skb->len - L3 - sizeof(*ip))
		return DROP(DROP_OUTER_MALFORMED);
	a->family = FAMILY_IPV6;
	/* The traffic class lies across the first two bytes; its ECN bits in the second. */
	a->marked = (((__u8 *)ip)[1] >> 4 & ECN_CE) == ECN_CE;
	__builtin_memcpy(a->src, &ip->saddr, 16);
	__builtin_memcpy(a->dst, &ip->daddr, 16);
	return GO_ON;
}

/* GO_ON: a tagged type with its header in a->mp. TCX_NEXT: somebody else's, or a handshake for the agent's socket. `a` is zeroed. */
__noinline int outer_parse(struct __sk_buff *skb, struct arrival *a __nonnull)
{
	struct udphdr udp;
	__u32 offset;
	__u8 type;
	int result;

	if (ethertype_of(skb).value == bpf_htons(ETH_P_IP))
		result = outer_ipv4(skb, a);
	else
		result = outer_ipv6(skb, a);
	if (result != GO_ON)
		return result;
	offset = L3 + (a->family == FAMILY_IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	if (skb->gso_size || bpf_skb_load_bytes(skb, offset, &udp, sizeof(udp)) || bpf_ntohs(udp.len) != a->length)
		return DROP(DROP_OUTER_MALFORMED);
	a->sport = udp.source;
	a->dport = udp.dest;
	a->offset = offset + sizeof(udp);
	a->length -= sizeof(udp);

	if (a->length < 1 || bpf_skb_load_bytes(skb, a->offset, &type, 1))
		return DROP(DROP_MP_TRUNCATED);
	if (type >> 4 != MP_VERSION)
		return DROP(DROP_MP_VERSION);
	type &= 0xf;
	if (type >= MP_FIRST_HANDSHAKE) {
		count(COUNT_HANDSHAKE_IN);
		return TCX_NEXT;
	}
	if (type != MP_DATA && type != MP_PROBE && type != MP_PROBE_REPLY)
		return DROP(DROP_MP_TYPE);
	/* One read for header and tagged payload: they stand next to each other in both places. */
	if (a->length < MP_HDR_LEN + MP_TAGGED_PAYLOAD || bpf_skb_load_bytes(skb, a->offset, a, MP_HDR_LEN + MP_TAGGED_PAYLOAD))
		return DROP(DROP_MP_TRUNCATED);
	return GO_ON;
}

#endif
