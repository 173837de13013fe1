/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets from one tunnel to the next, put in order in between: else the next end would see them as they came here, and its own paths' delays
 * would say nothing of it. Between the two ends of a veth pair whose first has an fq they wait until their time (playout.h).
 *
 * The frame takes along what its packet is: the handle of the path that it came by, and how it came.
 */
#ifndef BRANCHLINE_HOLD_H
#define BRANCHLINE_HOLD_H

#include "journey.h"
#include "playout.h"

struct hold_frame {
	__u8 dest[ETH_ALEN];
	__u8 local; /* 06: locally administered, and another than gather.h's */
	__u8 origin; /* enum origin */
	__u8 handle[4];
	__be16 proto;
} __attribute__((packed));

#define HOLD_LOCAL 6

/* Result of the program, or GO_ON: it need not wait, and nothing was changed. */
__noinline int hold(struct __sk_buff *skb, const struct journey *j __nonnull, __u32 ifindex)
{
	struct hold_frame *frame;

	if (!playout_time(skb, j, COUNT_HELD))
		return GO_ON;
	frame = reach(skb, 0, sizeof(*frame));
	if (!frame)
		return DROP(DROP_REWRITE);
	frame->local = HOLD_LOCAL;
	frame->origin = j->origin;
	*(__u32 *)frame->handle = j->handle;
	skb->mark = 0;
	return bpf_redirect(ifindex, 0);
}

/* The other way round. False: not a frame of hold(). */
static __always_inline bool held(struct __sk_buff *skb, struct journey *j)
{
	struct hold_frame *frame = reach(skb, 0, sizeof(*frame));

	if (!frame || frame->local != HOLD_LOCAL || (frame->origin != FROM_PEER_CLEAR && frame->origin != FROM_PEER_SECURE))
		return false;
	j->handle = *(__u32 *)frame->handle;
	j->origin = frame->origin;
	return true;
}

#endif
