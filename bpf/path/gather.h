/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Joins TCP segments that leave a clear tunnel for a LAN, so that host and port see them by the dozen: GRO runs before the WAN device's tc
 * ingress and cannot look into MP, so the decapsulated packet passes it again, at the receiving end of a veth pair (mpg0 -> mpg1).
 *
 * GRO joins what looks alike from the Ethernet header up. Two tenants may use one 5-tuple, so the frame names the port that it is for.
 */
#ifndef BRANCHLINE_GATHER_H
#define BRANCHLINE_GATHER_H

#include "journey.h"

struct gather_frame {
	__u8 dest[ETH_ALEN];
	__u8 local; /* 02: locally administered */
	__u8 zero;
	__u8 port[4];
	__be16 proto;
} __attribute__((packed));

static __always_inline int gather(struct __sk_buff *skb, __u32 gather_ifindex, __u32 port)
{
	struct gather_frame *frame = reach(skb, 0, sizeof(*frame));

	if (!frame)
		return DROP(DROP_REWRITE);
	frame->local = 2;
	frame->zero = 0;
	*(__u32 *)frame->port = port;
	return bpf_redirect(gather_ifindex, 0);
}

/* 0: not a frame of gather(). */
static __always_inline __u32 gathered_port(struct __sk_buff *skb)
{
	struct gather_frame *frame = reach(skb, 0, sizeof(*frame));

	return frame && frame->local == 2 ? *(__u32 *)frame->port : 0;
}

#endif
