/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The peer that a packet is for: which of its paths, and the device that leads there. */
#ifndef BRANCHLINE_PEER_H
#define BRANCHLINE_PEER_H

#include "burst.h"

/* Path handle for the peer's next packet, 0: none usable. */
static __always_inline __u32 choose_path(const struct peer *peer)
{
	/* One load, see abi.h: with one session's id and another's paths, a packet would be lost. */
	union {
		__u64 word;
		struct { __u32 sid; __u16 mask; __u8 best, flags; } is;
	} now = { .word = *(const volatile __u64 *)peer };

	if (now.is.best < MP_PATHS && now.is.mask >> now.is.best & 1)
		return now.is.sid | now.is.best;
	for (__u32 path = 0; path < MP_PATHS; path++)
		if (now.is.mask >> path & 1)
			return now.is.sid | path;
	return 0;
}

/*
 * Last step of a packet towards a peer. A clear one that is single and complete becomes MP here and now; one that is to be cut, or lacks its
 * checksum, becomes MP as it is and is completed later (burst.h), or goes to mp0 where that is not possible. Secure ones go to ipsec0
 * for XFRM. The mark carries the handle there, through XFRM, and over mp0 and mp1.
 */
static __always_inline int hand_to_peer(struct __sk_buff *skb, const struct node_config *config, const struct peer *peer, bool secure,
					__u32 segment)
{
	__u32 handle = choose_path(peer);
	int result;

	if (secure && (!(peer->flags & PEER_F_ESP) || !config->ipsec_ifindex))
		return DROP(DROP_NO_ESP);
	if (!handle)
		return DROP(DROP_NO_PATH);
	if (secure) {
		count(COUNT_TO_PEER_SECURE);
		skb->mark = handle;
		return bpf_redirect_neigh(config->ipsec_ifindex, NULL, 0, 0);
	}
	count(COUNT_TO_PEER_CLEAR);
	if (!skb->gso_size && !checksum_pending(skb))
		return encap(skb, handle, MP_DATA);
	result = burst_out(skb, handle, segment, peer);
	if (result != GO_ON)
		return result;
	skb->mark = handle;
	return bpf_redirect(config->mp0_ifindex, 0);
}

#endif
