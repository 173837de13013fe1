/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The sending half of path/fec.h, second part: what happens to a packet that is complete.
 *
 *   added to the sum of its column -+- leaves
 *                                   +- last of its group: a copy leaves, and the packet itself becomes the parity, on the class's second path if it can
 *
 * Nothing waits: a group that is never finished has no parity.
 */
#ifndef BRANCHLINE_FEC_OUT_H
#define BRANCHLINE_FEC_OUT_H

#include "encap.h"
#include "fec-number.h"

/* The path for a group's parity: the class's second one, where what is there already can be rewritten for it. */
static __always_inline __u32 fec_path(const struct session *session, __u32 handle, const struct path_conf *conf, enum traffic_class class,
				      __u32 length)
{
	struct peer *peer = peer_of(session->peer);
	__u32 second, other;
	struct path_state *state;
	struct path_conf *its;

	if (!peer || peer->sid != HANDLE_SID(handle))
		return handle;
	second = peer->steering[class & (CLASSES - 1)].second & (MP_PATHS - 1);
	other = HANDLE_SID(handle) | second;
	its = path_conf_of(other);
	state = path_state_of(other);
	if (!its || !state || state->left || !(peer->path_mask >> second & 1) || its->family != conf->family || its->mtu < length)
		return handle;
	return other;
}

/* Outer and MP header over what came there with the group's last member. */
static __always_inline int fec_header(struct __sk_buff *skb, const struct session *session, const struct path_conf *conf,
				      struct path_state *state, const struct mp_hdr *mp)
{
	__u32 length = skb->len - L3;
	struct mp_hdr *to;

	if (conf->family == FAMILY_IPV6) {
		struct outer6 *outer = reach(skb, L3, sizeof(*outer) + MP_HDR_LEN + MP_TAGGED_PAYLOAD);

		if (!outer)
			return DROP(DROP_REWRITE);
		to = (struct mp_hdr *)(outer + 1);
		write_outer6(outer, conf, traffic_class((__u8 *)outer), length);
	} else {
		struct outer4 *outer = reach(skb, L3, sizeof(*outer) + MP_HDR_LEN + MP_TAGGED_PAYLOAD);

		if (!outer)
			return DROP(DROP_REWRITE);
		to = (struct mp_hdr *)(outer + 1);
		write_outer4(outer, conf, outer->ip.tos, length);
	}
	mp_write(to, mp, session, state);
	return GO_ON;
}

/* The packet, whose copy has left as data with header `mp`, becomes the sum of its group, and so does the header: the stack has no room for two. */
static __always_inline int fec_parity(struct __sk_buff *skb, __u32 handle, struct mp_hdr *mp, const struct fec_sum *sum, __u32 offset)
{
	enum traffic_class class = class_at_l3(skb);
	struct session *session = session_of(handle);
	struct path_state *state = path_state_of(handle);
	struct path_conf *conf = path_conf_of(handle);
	__u32 longest = sum->longest;
	__be32 sequence = mp->sequence;
	__u8 qos = mp->qos & ~MP_F_ASK, fec = mp->fec;

	asm volatile("" : "+r"(longest));
	if (!session || !conf || longest < MP_TAGGED_PAYLOAD || longest > FEC_BYTES)
		return DROP(DROP_NO_PATH);
	handle = fec_path(session, handle, conf, class, offset - L3 + longest);
	conf = path_conf_of(handle);
	state = path_state_of(handle);
	if (!conf || !state)
		return DROP(DROP_NO_PATH);
	if ((skb->len != offset + longest && bpf_skb_change_tail(skb, offset + longest, 0)) ||
	    bpf_skb_store_bytes(skb, offset, sum->words, longest, 0))
		return DROP(DROP_REWRITE);
	mp_fill(mp, MP_PARITY, handle, session, state, 0);
	mp->qos = qos;
	mp->fec = fec | MP_FEC_PARITY;
	mp->sequence = sequence;
	mp->timestamp_us = sum->timestamp_us;
	mp->policy_version = bpf_htonl(sum->length_qos);
	if (fec_header(skb, session, conf, state, mp) != GO_ON)
		return DROP(DROP_REWRITE);
	path_sent(state, skb->len - L3);
	count(COUNT_PARITY_OUT);
	return leave(skb, handle, conf, state, conf->family == FAMILY_IPV6);
}

/* Sends the packet itself, as a copy. False: it has not left. A copy cannot ask the kernel for the next hop. */
static __always_inline bool fec_send_member(struct __sk_buff *skb, __u32 handle)
{
	struct path_state *state = path_state_of(handle);
	struct path_conf *conf = path_conf_of(handle);
	struct ethhdr *eth = reach(skb, 0, sizeof(*eth));

	if (!conf || !state || !eth || !hop_address(state, conf, eth))
		return false;
	eth->h_proto = conf->family == FAMILY_IPV6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	skb->mark = 0;
	return !bpf_clone_redirect(skb, conf->ifindex, 0);
}

/* GO_ON: the packet, complete, is to leave as it is. Else a verdict, or a reason to drop what would have been parity. */
static __always_inline int fec_add_out(struct __sk_buff *skb, __u32 handle, struct mp_hdr *mp, __u32 offset)
{
	__u32 sequence = bpf_ntohl(mp->sequence), code = mp->fec, at;
	struct fec_block *block = fec_block_of(HANDLE_SID(handle), sequence >> MP_LANE_SHIFT);
	struct fec_sum *sum;

	if (!block || block->sid != HANDLE_SID(handle) || block->code != code)
		return GO_ON;
	at = (sequence & FEC_NUMBER_MASK) - block->first;
	sum = &block->columns[at & ((1U << fec_depth_shift(code)) - 1) & (FEC_COLUMNS - 1)];
	if (!fec_fold(skb, sum, offset)) {
		sum->timestamp_us ^= mp->timestamp_us;
		sum->length_qos ^= (skb->len - offset) << 8 | mp->qos;
	}
	if (at >> fec_depth_shift(code) != fec_k(code) - 1)
		return GO_ON;
	if (sum->count == fec_k(code) && fec_send_member(skb, handle))
		return fec_parity(skb, handle, mp, sum, offset);
	count(COUNT_UNPROTECTED);
	return GO_ON;
}

/* A packet that encap_one() has completed. In a frame of its own, beside that of encap_one(). */
__noinline int fec_out(struct __sk_buff *skb, __u32 handle)
{
	struct path_state *state = path_state_of(handle);
	struct path_conf *conf = path_conf_of(handle);
	bool outer6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	__u32 at = L3 + (outer6 ? sizeof(struct outer6) : sizeof(struct outer4));
	struct mp_hdr mp;
	int result;

	if (!conf || !state || bpf_skb_load_bytes(skb, at, &mp, sizeof(mp)))
		return DROP(DROP_NO_PATH);
	result = fec_add_out(skb, handle, &mp, at + MP_HDR_LEN);
	return result == GO_ON ? leave(skb, handle, conf, state, outer6) : result;
}

/* Puts the packet behind the Ethernet header into MP and sends it. */
static __always_inline int encap(struct __sk_buff *skb, __u32 handle, union sending sending, __u32 policy, struct path_state *state)
{
	int result = encap_one(skb, handle, sending.word, policy, state);

	return result == ENCAP_PROTECTED ? fec_out(skb, handle) : result;
}

#endif
