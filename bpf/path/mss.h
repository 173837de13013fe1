/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Lowers the MSS option of a SYN to what fits the tunnel, so that TCP works where ICMP is filtered. A SYN without the option is left alone: its default (RFC 9293: 536, 1220) fits. */
#ifndef BRANCHLINE_MSS_H
#define BRANCHLINE_MSS_H

#include "drop.h"
#include "parse.h"

#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_MSS 2
#define TCP_OPTIONS_MAX 40
#define TCP_CHECKSUM 16 /* offset in the header */

/* `mtu`: largest inner packet. GO_ON, or DROP_REWRITE. */
__noinline int mss_clamp(struct __sk_buff *skb, struct journey *j __nonnull, __u32 mtu)
{
	__u32 limit = mtu - sizeof(struct tcphdr) - (j->family == FAMILY_IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	__u32 offset = j->l4 + sizeof(struct tcphdr);
	__u8 data_offset;
	__u32 end;

	if (j->key.proto != IPPROTO_TCP || !(j->tcp_flags & TCP_SYN) || j->fragment != FRAGMENT_NONE)
		return GO_ON;
	if (bpf_skb_load_bytes(skb, j->l4 + 12, &data_offset, 1))
		return GO_ON;
	end = j->l4 + (data_offset >> 4) * 4;

	for (int i = 0; i < TCP_OPTIONS_MAX && offset + 4 <= end; i++) {
		struct { __u8 kind, length; __be16 mss; } option;
		__be16 from, to;

		if (bpf_skb_load_bytes(skb, offset, &option, sizeof(option)) || option.kind == TCP_OPTION_END)
			return GO_ON;
		if (option.kind == TCP_OPTION_NOP) {
			offset += 1;
			continue;
		}
		if (option.length < 2)
			return GO_ON;
		if (option.kind != TCP_OPTION_MSS) {
			offset += option.length;
			continue;
		}
		if (option.length != 4 || bpf_ntohs(option.mss) <= limit)
			return GO_ON;
		from = option.mss;
		option.mss = to = bpf_htons(limit);
		/* At an odd offset the value's bytes belong to two words of the sum: swapped, they add up to the same (RFC 1071). */
		if ((offset - j->l4) & 1) {
			from = __builtin_bswap16(from);
			to = __builtin_bswap16(to);
		}
		if (bpf_skb_store_bytes(skb, offset, &option, sizeof(option), 0) ||
		    bpf_l4_csum_replace(skb, j->l4 + TCP_CHECKSUM, from, to, 2))
			return DROP(DROP_REWRITE);
		count(COUNT_MSS_CLAMPED);
		return GO_ON;
	}
	return GO_ON;
}

#endif
