/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which member of a next hop set a flow gets, on its first packet; the flow table remembers it. The member with the highest score of flow and member
 * wins (rendezvous hashing, Thaler and Ravishankar 1998), so when one comes or goes only the flows that it gets or had move. A member that is
 * listed n times gets n shares. One that cannot be used is passed over as long as another can.
 */
#ifndef BRANCHLINE_NEXTHOP_SET_H
#define BRANCHLINE_NEXTHOP_SET_H

#include "session.h"

/* Would a packet that goes there now leave the node? */
static __always_inline bool nexthop_usable(__u32 index)
{
	struct nexthop *nexthop = bpf_map_lookup_elem(&nexthops, &index);
	struct peer *peer;

	if (!nexthop)
		return false;
	if (nexthop->kind != NH_PEER)
		return nexthop->kind == NH_LAN;
	peer = peer_of(nexthop->target);
	return peer && peer->path_mask && (!(nexthop->flags & NH_F_SECURE) || peer->flags & PEER_F_ESP);
}

/* The 32-bit finalizer of MurmurHash3: every bit of the input changes every bit of the score. */
static __always_inline __u32 member_score(__u32 x)
{
	x = (x ^ x >> 16) * 0x85ebca6b;
	x = (x ^ x >> 13) * 0xc2b2ae35;
	return x ^ x >> 16;
}

/* The better of the best so far and this member, each as score << 32 | member. Usable ones score above all others. */
__noinline __u64 nexthop_better(__u64 best, __u32 member, __u32 share, __u32 flow)
{
	__u64 score = member_score(flow ^ member_score(member | share << 16)) >> 1;
	__u64 candidate = score << 32 | member;

	if (nexthop_usable(member))
		candidate |= 1ULL << 63;
	return candidate > best ? candidate : best;
}

/* Index of the member's next hop; 0: the set is empty. `flow`: any 32 bits that are the same for all packets of a flow. */
__noinline __u32 nexthop_member(__u32 set_index, __u32 flow)
{
	struct nexthop_set *set = bpf_map_lookup_elem(&nexthop_sets, &set_index);
	__u32 member, before = 0, share = 0, differs;
	__u64 best = 0;

	if (!set)
		return 0;
	for (int i = 0; i < NEXTHOP_SET_MEMBERS; i++) {
		member = set->members[i];
		if (!member)
			break;
		/* By arithmetic: a number that depended on branches would make the verifier walk every combination. */
		differs = member ^ before;
		asm("" : "+r"(differs));
		share = (share + 1) & -((differs - 1) >> 31);
		best = nexthop_better(best, member, share, flow);
		before = member;
	}
	return best;
}

#endif
