/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The ICMP error that a dropped packet becomes (RFC 792, 1812, 4443), made in its place and sent back: to a host the way it
 * came, through a tunnel by its VRF's route to the source and never less secure than the packet was. The kernel's own errors would
 * follow the main table, which knows nothing of VRFs.
 */
#ifndef BRANCHLINE_ICMP_H
#define BRANCHLINE_ICMP_H

#include "checksum.h"
#include "reset.h"
#include "route.h"

/* linux/icmp.h would draw in libc headers, which the target bpf has not; the names are the kernel's. */
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_REDIRECT 5
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_NET_UNREACH 0
#define ICMP_FRAG_NEEDED 4
#define ICMP_PKT_FILTERED 13
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PKT_TOOBIG 2
#define ICMPV6_TIME_EXCEED 3
#define ICMPV6_NOROUTE 0
#define ICMPV6_ADM_PROHIBITED 1

#define ICMP_QUOTE 128			 /* bytes of the packet that are sent back: all headers of any sane one */
#define ICMP_INTERVAL_NS 10000000ULL	 /* 100 a second and CPU ... */
#define ICMP_BURST 20			 /* ... after so many at once */
#define ICMP_TTL 64
#define ICMP_TOS 0xc0 /* CS6, as Linux sends errors; over IPv4 */

struct icmp_error {
	__u8 type, code;
	__be16 checksum;
	__be32 rest; /* MTU: low 16 bits in IPv4, all in IPv6 */
};

static __always_inline bool icmp_turn(void)
{
	struct pace *here = pace_here();
	__u64 now = clock_coarse();

	if (!here)
		return false;
	if (here->icmp_ns > now + (ICMP_BURST - 1) * ICMP_INTERVAL_NS)
		return false;
	here->icmp_ns = (here->icmp_ns > now ? here->icmp_ns : now) + ICMP_INTERVAL_NS;
	return true;
}

/* Never about errors, later fragments, or on behalf of what is not one host (RFC 1122, 3.2.2; RFC 4443, 2.4). */
static __always_inline bool icmp_permitted(const struct journey *j)
{
	const __u8 *src = j->key.src;

	if (j->fragment == FRAGMENT_LATER)
		return false;
	if (j->family == FAMILY_IPV4) {
		__u32 ipv4 = bpf_ntohl(mapped_ipv4(src));
		__u8 type = j->icmp_type;

		if (j->key.proto == IPPROTO_ICMP && (type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT ||
						      type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB))
			return false;
		return ipv4 >> 24 != 0 && ipv4 >> 24 != 127 && ipv4 < 0xe0000000;
	}
	if (j->key.proto == IPPROTO_ICMPV6 && j->icmp_type < 128)
		return false;
	/* ::/8 holds the unspecified and loopback addresses and no host. */
	return src[0] != 0xff && src[0] != 0;
}

static __always_inline struct icmp_error icmp_head(const struct journey *j)
{
	bool v4 = j->family == FAMILY_IPV4;
	struct icmp_error error = {};

	switch (j->answer) {
	case ANSWER_TIME_EXCEEDED:
		error.type = v4 ? ICMP_TIME_EXCEEDED : ICMPV6_TIME_EXCEED;
		break;
	case ANSWER_TOO_BIG:
		error.type = v4 ? ICMP_DEST_UNREACH : ICMPV6_PKT_TOOBIG;
		error.code = v4 ? ICMP_FRAG_NEEDED : 0;
		error.rest = bpf_htonl(j->answer_mtu);
		break;
	case ANSWER_PROHIBITED:
		error.type = v4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH;
		error.code = v4 ? ICMP_PKT_FILTERED : ICMPV6_ADM_PROHIBITED;
		break;
	default:
		error.type = v4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH;
		error.code = v4 ? ICMP_NET_UNREACH : ICMPV6_NOROUTE;
	}
	return error;
}

/* The error's source address into `src` (16 bytes, IPv4 mapped). False: this node has none of the family. */
static __always_inline bool icmp_source(struct __sk_buff *skb, const struct journey *j, __u8 *src)
{
	__be32 ipv4 = 0;

	if (j->origin == FROM_LAN) {
		struct port *port = port_of(skb->ifindex);

		if (!port)
			return false;
		ipv4 = port->addr4;
		__builtin_memcpy(src, port->addr6, 16);
	} else {
		struct node_config *config = node_config();

		if (!config)
			return false;
		ipv4 = config->vaddr;
		__builtin_memcpy(src, config->icmp_src6, 16);
	}
	if (j->family == FAMILY_IPV4) {
		map_ipv4(src, ipv4);
		return ipv4;
	}
	return src[0] != 0; /* no address in ::/8 is a host's */
}

/*
 * Sum of the quoted bytes, `length` of them from `offset`, as they will be on the wire. A checksum that is still to be completed
 * makes all from its start add up to the complement of what its field holds now (local checksum offload,
 * Documentation/networking/checksum-offloads.rst).
 */
__noinline __u32 icmp_sum(struct __sk_buff *skb, __u32 offset, __u32 length)
{
	__u32 end = offset + length, start = end, store = 0, sum = 0;
	bool pending = checksum_pending(skb);
	__u16 word;

	if (pending)
		checksum_place(skb, &start, &store);

	for (int i = 0; i < ICMP_QUOTE / 2; i++, offset += 2) {
		if (offset >= end || offset >= start)
			break;
		if (bpf_skb_load_bytes(skb, offset, &word, sizeof(word)))
			break;
		sum += word;
	}
	if (pending && !bpf_skb_load_bytes(skb, store, &word, sizeof(word)))
		sum += (__u16)~word;
	return sum;
}

/* Turns the packet into the error about it. */
__noinline int icmp_write(struct __sk_buff *skb, struct journey *j __nonnull)
{
	__u32 quote = (j->length < ICMP_QUOTE ? j->length : ICMP_QUOTE) & ~3U;
	struct icmp_error error = icmp_head(j);
	__u8 src[16];
	__u32 head, sum;

	head = (j->family == FAMILY_IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) + sizeof(error);
	if (!icmp_source(skb, j, src) || bpf_skb_change_tail(skb, L3 + quote, 0) ||
	    bpf_skb_adjust_room(skb, head, BPF_ADJ_ROOM_MAC, 0))
		return DROP(DROP_REWRITE);
	sum = icmp_sum(skb, L3 + head, quote);

	if (j->family == FAMILY_IPV4) {
		struct iphdr ip = { .version = 4, .ihl = 5, .tos = ICMP_TOS, .tot_len = bpf_htons(head + quote), .frag_off = bpf_htons(IP_DF),
				    .ttl = ICMP_TTL, .protocol = IPPROTO_ICMP, .saddr = mapped_ipv4(src), .daddr = mapped_ipv4(j->key.src) };

		ip.check = ipv4_checksum(&ip);
		error.checksum = fold((__u64)sum + bpf_csum_diff(NULL, 0, (__be32 *)&error, sizeof(error), 0));
		if (bpf_skb_store_bytes(skb, L3, &ip, sizeof(ip), 0))
			return DROP(DROP_REWRITE);
	} else {
		struct ipv6hdr ip = { .version = 6, .payload_len = bpf_htons(sizeof(error) + quote), .nexthdr = IPPROTO_ICMPV6,
				      .hop_limit = ICMP_TTL };
		__u64 pseudo;

		__builtin_memcpy(&ip.saddr, src, 16);
		__builtin_memcpy(&ip.daddr, j->key.src, 16);
		pseudo = bpf_csum_diff(NULL, 0, (__be32 *)&ip.saddr, 32, bpf_htonl(IPPROTO_ICMPV6));
		pseudo += bpf_htonl(sizeof(error) + quote);
		error.checksum = fold(pseudo + sum + bpf_csum_diff(NULL, 0, (__be32 *)&error, sizeof(error), 0));
		if (bpf_skb_store_bytes(skb, L3, &ip, sizeof(ip), 0))
			return DROP(DROP_REWRITE);
	}
	if (bpf_skb_store_bytes(skb, L3 + head - sizeof(error), &error, sizeof(error), 0))
		return DROP(DROP_REWRITE);
	return GO_ON;
}

/* Back out of the port it came in, to the station it came from: no table is asked, so overlapping VRFs cannot confuse it. */
static __always_inline int icmp_to_host(struct __sk_buff *skb)
{
	struct ethhdr *eth = reach(skb, 0, sizeof(*eth));
	__u8 station[ETH_ALEN];

	if (!eth)
		return TC_ACT_SHOT;
	__builtin_memcpy(station, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, station, ETH_ALEN);
	return bpf_redirect(skb->ifindex, 0);
}

/* Into the tunnel that the VRF names for the source, which is as a rule the one it came by. */
static __always_inline int icmp_to_peer(struct __sk_buff *skb, struct journey *j)
{
	struct nexthop *nexthop = NULL;
	struct peer *peer;
	__u32 index;

	index = fib_lookup(VRF_OF(j->key.vrf), j->family, j->key.src);
	if (index)
		nexthop = bpf_map_lookup_elem(&nexthops, &index);
	if (nexthop && nexthop->kind == NH_SET) {
		index = nexthop_member(nexthop->target, 0);
		nexthop = index ? bpf_map_lookup_elem(&nexthops, &index) : NULL;
	}
	if (!nexthop || nexthop->kind != NH_PEER || keep_apart(j, nexthop) != GO_ON)
		return TC_ACT_SHOT;
	peer = peer_of(nexthop->target);
	if (!peer)
		return TC_ACT_SHOT;
	/* The journey was the other packet's. */
	j->tos = j->family == FAMILY_IPV4 ? ICMP_TOS : 0;
	j->segment = 0;
	return hand_to_peer(skb, j, peer, nexthop->flags & NH_F_SECURE);
}

/*
 * The exit of the programs that answer: `verdict` is what finish() said. A drop is counted before this is asked, so an error that
 * cannot be sent changes nothing but silence.
 */
__noinline int answer(struct __sk_buff *skb, struct journey *j __nonnull, int verdict)
{
	int result;

	if (verdict != TC_ACT_SHOT || j->answer == ANSWER_NONE)
		return verdict;
	if (!icmp_permitted(j) || !icmp_turn())
		return TC_ACT_SHOT;
	if ((j->answer == ANSWER_RESET ? reset_write(skb, j) : icmp_write(skb, j)) != GO_ON)
		return TC_ACT_SHOT;
	/* Into the instance that it came out of: what was translated there is translated back. */
	if (j->adapter)
		result = into_adapter(skb, j, j->adapter, j->arm == ARM_OUTSIDE);
	else
		result = j->origin == FROM_LAN ? icmp_to_host(skb) : icmp_to_peer(skb, j);
	if (IS_DROP(result) || result == TC_ACT_SHOT)
		return TC_ACT_SHOT;
	count(j->answer == ANSWER_RESET ? COUNT_RESET_SENT : COUNT_ICMP_SENT);
	return result;
}

#endif
