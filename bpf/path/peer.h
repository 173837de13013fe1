/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The peer that a packet is for: which of its paths, and the device that leads there. */
#ifndef BRANCHLINE_PEER_H
#define BRANCHLINE_PEER_H

#include "burst.h"
#include "fec-out.h"
#include "steer.h"

/*
 * Last step of a packet towards a peer. A clear one that is single and complete becomes MP here and now; one that is to be cut, or lacks its
 * checksum, becomes MP as it is and is completed later (burst.h), or goes to mp0 where that is not possible. Secure ones go to ipsec0
 * for XFRM. The mark carries the handle there, through XFRM, and over mp0 and mp1.
 */
__noinline int hand_to_peer(struct __sk_buff *skb, const struct peer *peer __nonnull, bool secure, __u32 segment)
{
	struct node_config *config = node_config();
	struct path_state *state;
	__u32 handle = choose_path(peer, CLASS_DEFAULT, &state);
	int result;

	if (!config || (secure && (!(peer->flags & PEER_F_ESP) || !config->ipsec_ifindex)))
		return DROP(DROP_NO_ESP);
	if (!handle || !state)
		return DROP(DROP_NO_PATH);
	if (secure) {
		count(COUNT_TO_PEER_SECURE);
		skb->mark = handle;
		return bpf_redirect_neigh(config->ipsec_ifindex, NULL, 0, 0);
	}
	count(COUNT_TO_PEER_CLEAR);
	if (!skb->gso_size && !checksum_pending(skb))
		return encap(skb, handle, MP_DATA, state);
	/* The pieces of a burst have no sequence; on mp1 they are single packets. */
	if (!any_protected(peer) || !is_protected(peer, class_at_l3(skb))) {
		result = burst_out(skb, handle, segment, peer);
		if (result != GO_ON)
			return result;
	}
	skb->mark = handle;
	return bpf_redirect(config->mp0_ifindex, 0);
}

#endif
