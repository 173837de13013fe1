/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Lowers the MSS option of a SYN to what fits the tunnel, so that TCP works where ICMP is filtered. A SYN without the option is
 * left alone: its default (RFC 9293: 536, 1220) fits.
 */
#ifndef BRANCHLINE_MSS_H
#define BRANCHLINE_MSS_H

#include "drop.h"
#include "parse.h"

#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_MSS 2
#define TCP_OPTIONS_MAX 40
#define TCP_CHECKSUM 16 /* offset in the header */

struct mss_search {
	struct __sk_buff *skb;
	__u32 offset; /* of the option at hand */
	__u32 end;    /* of the TCP header */
	__be16 mss;   /* its value when found */
	bool found;
};

/* One option a call. 1 ends the search. A callback of bpf_loop is verified once, a C loop over option lengths a million times. */
static long mss_step(__u32 index __attribute__((unused)), struct mss_search *search)
{
	struct { __u8 kind, length; __be16 mss; } option;

	if (search->offset + sizeof(option) > search->end)
		return 1;
	if (bpf_skb_load_bytes(search->skb, search->offset, &option, sizeof(option)) || option.kind == TCP_OPTION_END)
		return 1;
	if (option.kind == TCP_OPTION_NOP) {
		search->offset += 1;
		return 0;
	}
	if (option.kind == TCP_OPTION_MSS && option.length == 4) {
		search->mss = option.mss;
		search->found = true;
		return 1;
	}
	search->offset += option.length;
	return option.length < 2;
}

static __always_inline bool is_syn(const struct journey *j)
{
	return j->key.proto == IPPROTO_TCP && j->tcp_flags & TCP_SYN && j->fragment == FRAGMENT_NONE;
}

/* Of a SYN. `mtu`: largest inner packet. GO_ON, or DROP_REWRITE. */
__noinline int mss_clamp(struct __sk_buff *skb, struct journey *j __nonnull, __u32 mtu)
{
	__u32 limit = mtu - sizeof(struct tcphdr) - (j->family == FAMILY_IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	struct mss_search search = { .skb = skb, .offset = j->l4 + sizeof(struct tcphdr) };
	__u8 data_offset;
	__be16 from, to;

	if (bpf_skb_load_bytes(skb, j->l4 + 12, &data_offset, 1))
		return GO_ON;
	search.end = j->l4 + (data_offset >> 4) * 4;
	bpf_loop(TCP_OPTIONS_MAX, mss_step, &search, 0);
	if (!search.found || bpf_ntohs(search.mss) <= limit)
		return GO_ON;

	from = search.mss;
	to = bpf_htons(limit);
	if (bpf_skb_store_bytes(skb, search.offset + 2, &to, sizeof(to), 0))
		return DROP(DROP_REWRITE);
	/* At an odd offset the value's bytes belong to two words of the sum: swapped, they add up to the same (RFC 1071). */
	if ((search.offset - j->l4) & 1) {
		from = __builtin_bswap16(from);
		to = __builtin_bswap16(to);
	}
	if (bpf_l4_csum_replace(skb, j->l4 + TCP_CHECKSUM, from, to, sizeof(to)))
		return DROP(DROP_REWRITE);
	count(COUNT_MSS_CLAMPED);
	return GO_ON;
}

#endif
