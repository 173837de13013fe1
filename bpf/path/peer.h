/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The peer that a packet is for: which of its paths, and the device that leads there. */
#ifndef BRANCHLINE_PEER_H
#define BRANCHLINE_PEER_H

#include "drop.h"

static __always_inline struct node_config *node_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&node, &zero);
}

/* Path handle for the peer's next packet, 0: none usable. */
static __always_inline __u32 choose_path(const struct peer *peer)
{
	if (peer->path_best < MP_PATHS && peer->path_mask >> peer->path_best & 1)
		return peer->sid | peer->path_best;
	for (__u32 path = 0; path < MP_PATHS; path++)
		if (peer->path_mask >> path & 1)
			return peer->sid | path;
	return 0;
}

/* Last step of a packet towards a peer. The mark carries the handle to ipsec0, through XFRM, and over mp0 and mp1. */
static __always_inline int hand_to_peer(struct __sk_buff *skb, const struct node_config *config, const struct peer *peer, bool secure)
{
	__u32 handle = choose_path(peer);

	if (secure && (!(peer->flags & PEER_F_ESP) || !config->ipsec_ifindex))
		return DROP(DROP_NO_ESP);
	if (!handle)
		return DROP(DROP_NO_PATH);
	skb->mark = handle;
	if (secure) {
		count(COUNT_TO_PEER_SECURE);
		return bpf_redirect_neigh(config->ipsec_ifindex, NULL, 0, 0);
	}
	count(COUNT_TO_PEER_CLEAR);
	return bpf_redirect(config->mp0_ifindex, 0);
}

#endif
