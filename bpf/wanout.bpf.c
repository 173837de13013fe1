// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * WAN device, tc egress: the last look at MP packets, in the order in which they leave.
 *
 *   no mark, or not ours: on
 *   complete MP packet with its path's handle in the mark: the kernel has just addressed it -> hop.h remembers
 *   piece of a burst: number, tag, type -> wire
 *
 * A piece whose path has ended, or that is still several, is dropped: without a tag nobody would take it.
 */
#include "maps.h"
#include "path/drop.h"
#include "path/burst.h"

/* The MP header in the packet, NULL: this is no MP packet, or not all of its head is there. */
static __always_inline struct mp_hdr *mp_header(struct __sk_buff *skb, const struct ethhdr **eth)
{
	void *data;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip;

		data = reach(skb, 0, L3 + sizeof(struct outer4) + MP_HDR_LEN + MP_TAGGED_PAYLOAD);
		if (!data)
			return NULL;
		ip = data + L3;
		*eth = data;
		return ip->ihl == 5 && ip->protocol == IPPROTO_UDP ? data + L3 + sizeof(struct outer4) : NULL;
	}
	data = reach(skb, 0, L3 + sizeof(struct outer6) + MP_HDR_LEN + MP_TAGGED_PAYLOAD);
	if (!data || skb->protocol != bpf_htons(ETH_P_IPV6))
		return NULL;
	*eth = data;
	return ((struct ipv6hdr *)(data + L3))->nexthdr == IPPROTO_UDP ? data + L3 + sizeof(struct outer6) : NULL;
}

/* Somebody else's packet may bear a mark too; nobody else's comes from our port with our version and no type. */
static __always_inline bool is_piece(const struct mp_hdr *mp)
{
	const struct udphdr *udp = (const void *)mp - sizeof(*udp);

	return mp->version_type == (MP_VERSION << 4 | MP_INCOMPLETE) && udp->source == bpf_htons(MP_PORT);
}

static __always_inline int depart(struct __sk_buff *skb, __u32 handle)
{
	struct path_state *state = path_state_of(handle);
	struct path_conf *conf = path_conf_of(handle);
	struct session *session = session_of(handle);
	const struct ethhdr *eth;
	struct mp_hdr *mp;

	mp = mp_header(skb, &eth);
	if (!mp || mp->version_type >> 4 != MP_VERSION)
		return TCX_NEXT;
	/* Somebody else's mark, or a path that has just ended. */
	if (!state || !conf || !session || mp->session != bpf_htonl(session->remote_sid))
		return is_piece(mp) ? DROP(DROP_NO_PATH) : TCX_NEXT;
	/* The handle has done its duty; further down a mark would only match somebody's rules. */
	skb->mark = 0;
	if (!is_piece(mp)) {
		hop_learn(state, conf, eth);
		return TCX_NEXT;
	}
	/* A device that wanted the segments joined: they would share one number. */
	if (skb->gso_size)
		return DROP(DROP_REWRITE);
	burst_complete(skb, mp, session, state);
	return TCX_NEXT;
}

SEC("tc")
int wan_egress(struct __sk_buff *skb)
{
	__u32 handle = skb->mark;

	return handle ? finish(skb, depart(skb, handle), handle) : TCX_NEXT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
