/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet on its way into a clear tunnel that the kernel is to cut (GSO) or to finish (checksum): encapsulated once as a whole, cut, and
 * completed piece by piece.
 *
 *   burst_out, on the LAN: room, outer headers, an MP header of type 0 -> macvlan, whose transmit cuts (its GSO limits admit one segment)
 *   burst_complete, WAN device, tc egress: each piece gets its number, its tag and a type
 *
 * Type 0 is nobody's: a piece that nobody completed is refused by whoever receives it. All pieces carry the time at which the whole left.
 */
#ifndef BRANCHLINE_BURST_H
#define BRANCHLINE_BURST_H

#include "encap.h"
#include "hop.h"

#define MP_INCOMPLETE 0

/* Number, tag and type stay open. */
static __always_inline void burst_header(struct mp_hdr *mp, __u32 handle, const struct session *session, const struct peer *peer)
{
	__builtin_memset(mp, 0, sizeof(*mp));
	mp->version_type = MP_VERSION << 4 | MP_INCOMPLETE;
	mp->path = HANDLE_PATH(handle);
	mp->session = bpf_htonl(session->remote_sid);
	mp->timestamp_us = bpf_htonl(clock_us(clock_precise()));
	mp->policy_version = bpf_htonl(peer->policy_version);
}

/* The segmenter corrects lengths and checksum of each piece. */
static __always_inline int burst_write(struct __sk_buff *skb, const struct ethhdr *eth, const struct path_conf *conf, const struct mp_hdr *mp)
{
	bool outer6 = conf->family == FAMILY_IPV6;
	__u32 length = skb->len - L3;
	struct ethhdr *frame;
	enum traffic_class class;
	struct mp_hdr *to;
	__u8 tos;

	if (outer6) {
		struct outer6 *outer;

		frame = reach(skb, 0, L3 + sizeof(*outer) + MP_HDR_LEN + MP_TAGGED_PAYLOAD);
		if (!frame)
			return DROP(DROP_REWRITE);
		outer = (void *)frame + L3;
		to = (struct mp_hdr *)(outer + 1);
		tos = traffic_class((__u8 *)(to + 1));
		write_outer6(outer, conf, tos, length);
	} else {
		struct outer4 *outer;

		frame = reach(skb, 0, L3 + sizeof(*outer) + MP_HDR_LEN + MP_TAGGED_PAYLOAD);
		if (!frame)
			return DROP(DROP_REWRITE);
		outer = (void *)frame + L3;
		to = (struct mp_hdr *)(outer + 1);
		tos = traffic_class((__u8 *)(to + 1));
		write_outer4(outer, conf, tos, length);
	}
	class = class_of_tos(tos);
	*to = *mp;
	to->qos = class << MP_CLASS_SHIFT;
	skb->priority = queue_of_class(class);
	__builtin_memcpy(frame, eth, 2 * ETH_ALEN);
	frame->h_proto = outer6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	return GO_ON;
}

/*
 * GO_ON: not this way, and nothing was changed: no macvlan, a next hop that has to be asked for, a kind of GSO that the kernel does not
 * encapsulate (a tunnel already). `segment`: size that an inner packet will have.
 */
__noinline int burst_out(struct __sk_buff *skb, __u32 handle, __u32 segment, const struct peer *peer __nonnull)
{
	struct path_conf *conf = path_conf_of(handle);
	struct path_state *state = path_state_of(handle);
	struct session *session = session_of(handle);
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	struct ethhdr eth;
	struct mp_hdr mp;
	__u32 room;

	if (!conf || !state || !session || conf->family == FAMILY_NONE || !conf->segment_ifindex || !hop_address(state, conf, &eth))
		return GO_ON;
	if (conf->family == FAMILY_IPV6) {
		room = MP_HDR_LEN + sizeof(struct outer6);
		flags |= BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	} else {
		room = MP_HDR_LEN + sizeof(struct outer4);
		flags |= BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	}
	if (segment + room > conf->mtu || bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, flags))
		return GO_ON;
	burst_header(&mp, handle, session, peer);
	if (burst_write(skb, &eth, conf, &mp) != GO_ON)
		return DROP(DROP_REWRITE);
	count(COUNT_BURST_OUT);
	skb->mark = handle;
	return bpf_redirect(conf->segment_ifindex, 0);
}

/* The piece whose MP header stands at `mp`, in the packet: number, type, tag over both. */
static __always_inline void burst_complete(struct __sk_buff *skb, struct mp_hdr *mp, const struct session *session,
					   struct path_state *state)
{
	mp->qos |= ask_take(state);
	mp->number = bpf_cpu_to_be64(__sync_fetch_and_add(&state->tx_number, 1) + 1);
	mp->version_type = MP_VERSION << 4 | MP_DATA;
	mp->tag = tag(session->tx_key, state->tx_tag, mp, (__u64 *)(mp + 1));
	__sync_fetch_and_add(&state->tx_bytes, skb->len - L3);
	count(COUNT_MP_OUT);
}

#endif
