/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The Internet checksum (RFC 1071). Sums are of words as they lie in memory, so the result needs no swapping either. */
#ifndef BRANCHLINE_CHECKSUM_H
#define BRANCHLINE_CHECKSUM_H

#include "kernel.h"

/* A sum of 16- and 32-bit words as the field that makes everything add up. */
static __always_inline __be16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Of a header without options; its check field must be 0. */
static __always_inline __be16 ipv4_checksum(const struct iphdr *ip)
{
	return fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

#endif
