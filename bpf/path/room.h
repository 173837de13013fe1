/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Room for outer headers in front of a single packet. */
#ifndef BRANCHLINE_ROOM_H
#define BRANCHLINE_ROOM_H

#define FAMILY_STEP (sizeof(struct ipv6hdr) - sizeof(struct iphdr))

/* Makes `length` bytes of room behind the Ethernet header and lets skb->protocol say the outer family. */
static __always_inline int make_room(struct __sk_buff *skb, bool inner6, bool outer6, __u32 length)
{
	if (inner6 == outer6)
		return bpf_skb_adjust_room(skb, length, BPF_ADJ_ROOM_MAC, 0);
	/* change_proto adds or takes the difference of the two IP headers at the same place. */
	if (bpf_skb_adjust_room(skb, outer6 ? length - FAMILY_STEP : length + FAMILY_STEP, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	return bpf_skb_change_proto(skb, outer6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0);
}

#endif
