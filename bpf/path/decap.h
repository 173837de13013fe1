/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Takes the outer headers off a DATA packet whose tag and number hold. */
#ifndef BRANCHLINE_DECAP_H
#define BRANCHLINE_DECAP_H

#include "outer.h"

/* GO_ON: the inner packet stands behind the Ethernet header, and skb->protocol and the ethertype name its family. */
__noinline int decap(struct __sk_buff *skb, struct arrival *a __nonnull)
{
	__u8 *inner = (__u8 *)a->payload;
	__u32 inner_length = a->length - MP_HDR_LEN;
	__u32 stated, least;
	struct ethhdr *eth;
	__u64 flags = 0;
	bool inner6;

	inner6 = inner[0] >> 4 == 6;
	if (!inner6 && inner[0] >> 4 != 4)
		return DROP(DROP_INNER_MALFORMED);
	least = inner6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	stated = inner6 ? sizeof(struct ipv6hdr) + (inner[4] << 8 | inner[5]) : inner[2] << 8 | inner[3];
	if (stated < least || stated != inner_length)
		return DROP(DROP_INNER_MALFORMED);

	if (inner6 && a->family == FAMILY_IPV4)
		flags = ADJ_ROOM_DECAP_L3_IPV6;
	else if (!inner6 && a->family == FAMILY_IPV6)
		flags = ADJ_ROOM_DECAP_L3_IPV4;
	if (bpf_skb_adjust_room(skb, -(__s32)(a->offset + MP_HDR_LEN - L3), BPF_ADJ_ROOM_MAC, flags))
		return DROP(DROP_REWRITE);
	/* A later veth reads the family from the frame again. */
	eth = reach(skb, 0, sizeof(*eth));
	if (!eth)
		return DROP(DROP_REWRITE);
	eth->h_proto = inner6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	/* RFC 6040: a mark made on the way goes on, where the sender can understand it. */
	if (a->marked)
		bpf_skb_ecn_set_ce(skb);
	return GO_ON;
}

#endif
