/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Geneve (RFC 8926) as AWS Gateway Load Balancer speaks it to appliances: an IP packet behind three options of class 0x0108. */
#ifndef BRANCHLINE_GENEVE_H
#define BRANCHLINE_GENEVE_H

#include "pool.h"

#define GENEVE_PORT 6081
#define GENEVE_CLASS 0x0108

enum geneve_type {
	GENEVE_ENDPOINT = 1,
	GENEVE_ATTACHMENT = 2,
	GENEVE_COOKIE = 3,
};

struct geneve_hdr {
	__u8 version_length;	/* 2 bits, 6 bits: words of options */
	__u8 flags;
	__be16 protocol;
	__be32 vni;
};

struct geneve_option {
	__be16 class;
	__u8 type;
	__u8 length;		/* words behind this one; the high three bits are reserved */
};

/* What we send: 40 bytes. */
struct geneve_sent {
	struct geneve_hdr head;
	struct geneve_option endpoint_is;
	__be32 endpoint[2];
	struct geneve_option attachment_is;
	__be32 attachment[2];
	struct geneve_option cookie_is;
	__be32 cookie;
};

/* Salt of what is derived from a flow for an adapter. A VRF's is below MAX_VRFS. */
#define ADAPTER_SALT(index) (0x80000000U | (index))

/* 32 bits that nobody else can know: of the flow in either direction, and of the adapter. */
static __always_inline __u32 geneve_cookie(__u64 both_ways)
{
	return both_ways;
}

/* Of the dynamic range, RFC 6335: an ECMP or RSS on the way sees flows. */
static __always_inline __be16 geneve_source_port(__u64 both_ways)
{
	return bpf_htons(0xc000 | (both_ways >> 32 & 0x3fff));
}

static __always_inline struct geneve_option geneve_option(enum geneve_type type, __u32 bytes)
{
	return (struct geneve_option){ .class = bpf_htons(GENEVE_CLASS), .type = type, .length = bytes / 4 };
}

#endif
