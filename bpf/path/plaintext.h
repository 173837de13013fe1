/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Backstop against esp4_offload: an SA made while that module is loaded leaves its packets at mp0 as ESP header, IV and the plain
 * packet, to be encrypted by a device later. Here they must already be ciphertext. A false alarm needs a cipher block that starts
 * like an IP header, states exactly the length left, and (IPv4) has a right checksum or (IPv6) names a common protocol: 1 packet in
 * 10^12, or in 10^8.
 */
#ifndef BRANCHLINE_PLAINTEXT_H
#define BRANCHLINE_PLAINTEXT_H

#include "encap.h"

#define ESP_HEAD 16 /* SPI, sequence number, 8 bytes of IV (RFC 4106) */

static __always_inline bool looks_unencrypted(struct __sk_buff *skb, const struct journey *j)
{
	__u32 left = L3 + j->length - j->l4 - ESP_HEAD;
	__u8 next;
	union {
		struct iphdr v4;
		__u16 words[10];
	} ip;
	__u32 sum = 0;

	if (j->fragment == FRAGMENT_LATER || bpf_skb_load_bytes(skb, j->l4 + ESP_HEAD, &ip, sizeof(ip)))
		return false;
	if (ip.v4.version == 4) {
		if (ip.v4.ihl != 5 || bpf_ntohs(ip.v4.tot_len) != left)
			return false;
#pragma unroll
		for (int i = 0; i < 10; i++)
			sum += ip.words[i];
		sum = (sum & 0xffff) + (sum >> 16);
		return (__u16)(sum + (sum >> 16)) == 0xffff;
	}
	if (ip.v4.version != 6 || bpf_ntohs(ip.words[2]) + sizeof(struct ipv6hdr) != left)
		return false;
	next = ((__u8 *)&ip)[6];
	return next == IPPROTO_TCP || next == IPPROTO_UDP || next == IPPROTO_ICMPV6;
}

#endif
