/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Reads an IP packet behind an Ethernet header into a journey. Nothing is changed; lengths that lie are DROP_INNER_MALFORMED. */
#ifndef BRANCHLINE_PARSE_H
#define BRANCHLINE_PARSE_H

#include "class.h"
#include "journey.h"

#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff
#define IP6_OFFSET 0xfff8
#define IP6_MF 1

#define MAX_EXTENSIONS 6 /* RFC 8200 names six; a longer chain is refused */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Distinct types, so that an ethertype never lands where a protocol is meant. */
struct ethertype {
	__be16 value;
};
struct protocol {
	__u8 value;
};

static __always_inline struct ethertype ethertype_of(struct __sk_buff *skb)
{
	return (struct ethertype){ skb->protocol };
}

static __always_inline bool is_ip(struct ethertype type)
{
	return type.value == bpf_htons(ETH_P_IP) || type.value == bpf_htons(ETH_P_IPV6);
}

/* ::ffff:a.b.c.d. By words: a flow_key's addresses are aligned to no more. */
static __always_inline void map_ipv4(__u8 *address, __be32 ipv4)
{
	__u32 *words = (__u32 *)address;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = ipv4;
}

static __always_inline __be32 mapped_ipv4(const __u8 *address)
{
	return *(const __be32 *)(address + 12);
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct journey *j, struct protocol *protocol)
{
	struct iphdr *ip = reach(skb, L3, sizeof(*ip));
	__u16 fragment;

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return DROP(DROP_INNER_MALFORMED);
	/* BIG TCP: a GSO packet above 64 kB says 0. */
	j->length = j->gso_size ? skb->len - L3 : bpf_ntohs(ip->tot_len);
	if (j->length < ip->ihl * 4 || j->length > skb->len - L3)
		return DROP(DROP_INNER_MALFORMED);
	fragment = bpf_ntohs(ip->frag_off);
	j->family = FAMILY_IPV4;
	j->ttl = ip->ttl;
	j->tos = ip->tos;
	j->may_fragment = !(fragment & IP_DF);
	j->fragment = fragment & IP_OFFSET ? FRAGMENT_LATER : fragment & IP_MF ? FRAGMENT_FIRST : FRAGMENT_NONE;
	j->l4 = L3 + ip->ihl * 4;
	map_ipv4(j->key.src, ip->saddr);
	map_ipv4(j->key.dst, ip->daddr);
	protocol->value = ip->protocol;
	return GO_ON;
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, struct journey *j, struct protocol *protocol)
{
	struct ipv6hdr *ip = reach(skb, L3, sizeof(*ip));
	struct { __u8 next, length; __be16 offset; } extension;
	__u32 offset = L3 + sizeof(*ip);
	__u8 next;

	if (!ip || ip->version != 6)
		return DROP(DROP_INNER_MALFORMED);
	j->length = j->gso_size ? skb->len - L3 : sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (j->length > skb->len - L3)
		return DROP(DROP_INNER_MALFORMED);
	j->family = FAMILY_IPV6;
	j->ttl = ip->hop_limit;
	j->tos = traffic_class((__u8 *)ip);
	j->may_fragment = 0;
	j->fragment = FRAGMENT_NONE;
	__builtin_memcpy(j->key.src, &ip->saddr, 16);
	__builtin_memcpy(j->key.dst, &ip->daddr, 16);
	next = ip->nexthdr;

	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			break;
		if (i == MAX_EXTENSIONS - 1 || bpf_skb_load_bytes(skb, offset, &extension, sizeof(extension)))
			return DROP(DROP_INNER_MALFORMED);
		if (next == IPPROTO_FRAGMENT) {
			__u16 field = bpf_ntohs(extension.offset);

			j->fragment = field & IP6_OFFSET ? FRAGMENT_LATER : field & IP6_MF ? FRAGMENT_FIRST : FRAGMENT_NONE;
			offset += 8;
		} else {
			offset += (extension.length + 1) * 8;
		}
		next = extension.next;
		if (j->fragment == FRAGMENT_LATER)
			break;
	}
	if (offset > L3 + j->length)
		return DROP(DROP_INNER_MALFORMED);
	j->l4 = offset;
	protocol->value = next;
	return GO_ON;
}

#define L4_HEAD 14 /* of TCP: up to its flags */

/* The first bytes of the layer 4 header: in the packet where they stand behind a plain IP header, else copied. NULL: not all there. */
static __always_inline const __u8 *l4_head(struct __sk_buff *skb, const struct journey *j, __u32 length, __u8 *copy)
{
	void *data = packet_data(skb), *end = packet_end(skb);

	if (j->l4 == L3 + sizeof(struct iphdr) && data + L3 + sizeof(struct iphdr) + length <= end)
		return data + L3 + sizeof(struct iphdr);
	if (j->l4 == L3 + sizeof(struct ipv6hdr) && data + L3 + sizeof(struct ipv6hdr) + length <= end)
		return data + L3 + sizeof(struct ipv6hdr);
	return bpf_skb_load_bytes(skb, j->l4, copy, length) ? NULL : copy;
}

/* Ports, TCP flags, ICMP type, and the size that a segment will have. */
static __always_inline int parse_l4(struct __sk_buff *skb, struct journey *j, struct protocol protocol)
{
	__u8 copy[L4_HEAD + 2];
	const __u8 *l4;
	__u32 header = 8;

	j->segment = j->length;
	j->key.proto = protocol.value;
	if (j->fragment == FRAGMENT_LATER)
		return GO_ON;
	switch (protocol.value) {
	case IPPROTO_TCP:
		l4 = l4_head(skb, j, L4_HEAD, copy);
		if (j->l4 + sizeof(struct tcphdr) > L3 + j->length || !l4)
			return DROP(DROP_INNER_MALFORMED);
		header = (l4[12] >> 4) * 4;
		if (header < sizeof(struct tcphdr) || j->l4 + header > L3 + j->length)
			return DROP(DROP_INNER_MALFORMED);
		j->tcp_flags = l4[13];
		break;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		l4 = l4_head(skb, j, 4, copy);
		if (j->l4 + 8 > L3 + j->length || !l4)
			return DROP(DROP_INNER_MALFORMED);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (j->l4 + 8 > L3 + j->length || bpf_skb_load_bytes(skb, j->l4, &j->icmp_type, 1))
			return DROP(DROP_INNER_MALFORMED);
		return GO_ON;
	default:
		return GO_ON;
	}
	if (j->gso_size)
		j->segment = j->l4 - L3 + header + j->gso_size;
	/* All fragments of a packet are one flow, and only the first knows its ports. */
	if (j->fragment != FRAGMENT_NONE)
		return GO_ON;
	j->key.sport = ((const __be16 *)l4)[0];
	j->key.dport = ((const __be16 *)l4)[1];
	return GO_ON;
}

/* j is zeroed but for what the caller knows already (key.vrf, origin ...). */
__noinline int parse(struct __sk_buff *skb, struct journey *j __nonnull)
{
	struct protocol protocol;
	int result;

	j->gso_size = skb->gso_size;
	if (ethertype_of(skb).value == bpf_htons(ETH_P_IP))
		result = parse_ipv4(skb, j, &protocol);
	else
		result = parse_ipv6(skb, j, &protocol);
	return result == GO_ON ? parse_l4(skb, j, protocol) : result;
}

/* Addresses that never leave a link, or belong to no one host: such packets are the stack's. */
static __always_inline bool is_link_scope(const struct journey *j)
{
	__u32 src, dst;

	if (j->family == FAMILY_IPV6)
		return j->key.dst[0] == 0xff || (j->key.dst[0] == 0xfe && (j->key.dst[1] & 0xc0) == 0x80) ||
		       (j->key.src[0] == 0xfe && (j->key.src[1] & 0xc0) == 0x80);
	src = bpf_ntohl(mapped_ipv4(j->key.src));
	dst = bpf_ntohl(mapped_ipv4(j->key.dst));
	return dst >= 0xe0000000 || dst >> 16 == 0xa9fe || src >> 16 == 0xa9fe || src == 0;
}

#define ND_FIRST 133 /* router solicitation to redirect, RFC 4861 */
#define ND_LAST 137

/* What neighbours say to each other, also by global addresses: the kernel asks from an address that it lends to an instance. */
static __always_inline bool is_neighbour_discovery(const struct journey *j)
{
	return j->key.proto == IPPROTO_ICMPV6 && j->icmp_type >= ND_FIRST && j->icmp_type <= ND_LAST;
}

#endif
