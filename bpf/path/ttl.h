/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* TTL and hop limit: a routed packet loses one, whatever carries it on. */
#ifndef BRANCHLINE_TTL_H
#define BRANCHLINE_TTL_H

#include "journey.h"

/* The caller has checked that more than one is left. */
static __always_inline int ttl_decrement(struct __sk_buff *skb, const struct journey *j)
{
	if (j->family == FAMILY_IPV4) {
		struct iphdr *ip = reach(skb, L3, sizeof(*ip));
		__u32 sum;

		if (!ip)
			return DROP(DROP_REWRITE);
		/* RFC 1141: the TTL is the high byte of its word, so the sum grows by 0x0100. */
		sum = (__u32)bpf_ntohs(ip->check) + 0x0100;
		ip->check = bpf_htons(sum + (sum >> 16));
		ip->ttl--;
	} else {
		struct ipv6hdr *ip = reach(skb, L3, sizeof(*ip));

		if (!ip)
			return DROP(DROP_REWRITE);
		ip->hop_limit--;
		/* No header checksum makes up for it: tell a sum that the device took over the whole packet. */
		bpf_csum_update(skb, bpf_htons(0xfffe));
	}
	return GO_ON;
}

#endif
