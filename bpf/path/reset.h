/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The reset that a TCP segment becomes when the instance that knew its connection died: what the other end would answer had it forgotten the
 * connection (RFC 9293, 3.10.7.1). So the sender learns at once what it would else learn when its timers end.
 */
#ifndef BRANCHLINE_RESET_H
#define BRANCHLINE_RESET_H

#include "checksum.h"
#include "journey.h"
#include "parse.h"

#define RESET_TTL 64

/* From the packet's destination to its source. GO_ON, or DROP_REWRITE: not of a segment like this. */
__noinline int reset_write(struct __sk_buff *skb, const struct journey *j __nonnull)
{
	bool v4 = j->family == FAMILY_IPV4, pending = checksum_pending(skb);
	__u32 head = v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr), length;
	struct tcphdr was, now = {};
	__u64 pseudo;

	/* Behind options or extension headers a checksum that is pending would be completed at another place than the new header's. */
	if (j->key.proto != IPPROTO_TCP || j->l4 != L3 + head || j->fragment != FRAGMENT_NONE || j->tcp_flags & TCP_RST ||
	    bpf_skb_load_bytes(skb, j->l4, &was, sizeof(was)))
		return DROP(DROP_REWRITE);
	now.source = was.dest;
	now.dest = was.source;
	now.doff = sizeof(now) / 4;
	now.rst = 1;
	length = j->length - head - was.doff * 4 + was.syn + was.fin;
	if (was.ack) {
		now.seq = was.ack_seq;
	} else {
		now.ack = 1;
		now.ack_seq = bpf_htonl(bpf_ntohl(was.seq) + length);
	}
	pseudo = v4 ? (__u64)mapped_ipv4(j->key.src) + mapped_ipv4(j->key.dst) : (__u32)bpf_csum_diff(NULL, 0, (__be32 *)j->key.src, 32, 0);
	pseudo += bpf_htonl(sizeof(now) + IPPROTO_TCP);
	now.check = pending ? (__be16)~fold(pseudo) : fold(pseudo + bpf_csum_diff(NULL, 0, (__be32 *)&now, sizeof(now), 0));
	if (bpf_skb_change_tail(skb, L3 + head + sizeof(now), 0) || bpf_skb_store_bytes(skb, L3 + head, &now, sizeof(now), 0))
		return DROP(DROP_REWRITE);
	if (v4) {
		struct iphdr ip = { .version = 4, .ihl = 5, .tot_len = bpf_htons(head + sizeof(now)), .frag_off = bpf_htons(IP_DF),
				    .ttl = RESET_TTL, .protocol = IPPROTO_TCP, .saddr = mapped_ipv4(j->key.dst),
				    .daddr = mapped_ipv4(j->key.src) };

		ip.check = ipv4_checksum(&ip);
		return bpf_skb_store_bytes(skb, L3, &ip, sizeof(ip), 0) ? DROP(DROP_REWRITE) : GO_ON;
	}
	struct ipv6hdr ip = { .version = 6, .payload_len = bpf_htons(sizeof(now)), .nexthdr = IPPROTO_TCP, .hop_limit = RESET_TTL };

	__builtin_memcpy(&ip.saddr, j->key.dst, 16);
	__builtin_memcpy(&ip.daddr, j->key.src, 16);
	return bpf_skb_store_bytes(skb, L3, &ip, sizeof(ip), 0) ? DROP(DROP_REWRITE) : GO_ON;
}

#endif
