/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Into an instance that is somewhere else: IP in IP (RFC 2003, 2473, 4213) or Geneve (geneve.h).
 *
 *   room; for what is GSO marked as a tunnel's, so that the kernel can cut it -> outer headers -> the kernel's route to the instance
 */
#ifndef BRANCHLINE_TUNNEL_H
#define BRANCHLINE_TUNNEL_H

#include "checksum.h"
#include "drop.h"
#include "geneve.h"
#include "room.h"

#define TUNNEL_TTL 64

struct tunnel_udp {
	struct udphdr udp;
	struct geneve_sent geneve;
};

static __always_inline int tunnel_ip(struct __sk_buff *skb, const struct adapter *adapter, __u8 tos, __u8 protocol, __u32 length)
{
	if (adapter->family == FAMILY_IPV4) {
		struct iphdr ip = { .version = 4, .ihl = 5, .tos = tos, .tot_len = bpf_htons(length), .frag_off = bpf_htons(IP_DF),
				    .ttl = TUNNEL_TTL, .protocol = protocol, .saddr = *(const __be32 *)adapter->local,
				    .daddr = *(const __be32 *)adapter->remote };

		ip.check = ipv4_checksum(&ip);
		return bpf_skb_store_bytes(skb, L3, &ip, sizeof(ip), 0);
	}
	struct ipv6hdr ip = { .payload_len = bpf_htons(length - sizeof(ip)), .nexthdr = protocol, .hop_limit = TUNNEL_TTL };

	*(__be32 *)&ip = bpf_htonl(6 << 28 | (__u32)tos << 20);
	__builtin_memcpy(&ip.saddr, adapter->local, 16);
	__builtin_memcpy(&ip.daddr, adapter->remote, 16);
	return bpf_skb_store_bytes(skb, L3, &ip, sizeof(ip), 0);
}

static __always_inline int tunnel_geneve(struct __sk_buff *skb, const struct journey *j, const struct adapter *adapter, __u32 index,
					 __u32 offset, __u32 length)
{
	__u64 both_ways = flow_both_ways(j, ADAPTER_SALT(index));
	struct tunnel_udp to = {
		.udp = { .source = geneve_source_port(both_ways), .dest = bpf_htons(GENEVE_PORT), .len = bpf_htons(length) },
		.geneve = {
			.head = { .version_length = (sizeof(struct geneve_sent) - sizeof(struct geneve_hdr)) / 4,
				  .protocol = j->family == FAMILY_IPV4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6) },
			.endpoint_is = geneve_option(GENEVE_ENDPOINT, 8),
			.endpoint = { bpf_htonl(adapter->endpoint >> 32), bpf_htonl(adapter->endpoint) },
			.attachment_is = geneve_option(GENEVE_ATTACHMENT, 8),
			.attachment = { bpf_htonl(adapter->attachment >> 32), bpf_htonl(adapter->attachment) },
			.cookie_is = geneve_option(GENEVE_COOKIE, 4),
			.cookie = bpf_htonl(geneve_cookie(both_ways)),
		},
	};

	return bpf_skb_store_bytes(skb, offset, &to, sizeof(to), 0);
}

/* The mark stays where nothing takes it off, as on a veth, and the kernel refuses a second one: what needs none gets none. */
static __always_inline int tunnel_room(struct __sk_buff *skb, const struct journey *j, bool v4, bool geneve, __u32 more)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;

	if (!j->gso_size)
		return make_room(skb, j->family == FAMILY_IPV6, !v4, more);
	flags |= v4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	if (geneve)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	return bpf_skb_adjust_room(skb, more, BPF_ADJ_ROOM_MAC, flags);
}

__noinline int to_tunnel(struct __sk_buff *skb, const struct journey *j __nonnull, __u32 index)
{
	struct adapter *adapter = adapter_of(index);
	bool v4 = adapter && adapter->family == FAMILY_IPV4, geneve = adapter && adapter->kind == ADAPTER_GENEVE;
	__u32 head = v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr), more = head + (geneve ? sizeof(struct tunnel_udp) : 0);
	__u32 length = skb->len - L3 + more;
	__u8 protocol = geneve ? IPPROTO_UDP : j->family == FAMILY_IPV4 ? IPPROTO_IPIP : IPPROTO_IPV6;

	if (!adapter)
		return DROP(DROP_NO_CHAIN);
	if (tunnel_room(skb, j, v4, geneve, more) || tunnel_ip(skb, adapter, j->tos, protocol, length))
		return DROP(DROP_REWRITE);
	if (geneve && tunnel_geneve(skb, j, adapter, index, L3 + head, length - head))
		return DROP(DROP_REWRITE);
	skb->mark = 0;
	return bpf_redirect_neigh(adapter->inside_ifindex, NULL, 0, 0);
}

#endif
