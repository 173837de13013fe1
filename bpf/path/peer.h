/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The peer that a packet is for: which of its paths, and the device that leads there. */
#ifndef BRANCHLINE_PEER_H
#define BRANCHLINE_PEER_H

#include "burst.h"
#include "fec-out.h"
#include "lane.h"
#include "spread.h"
#include "twice.h"

/* Handle and state of the path for the peer's next packet; 0: none usable. `flow`, `bytes`: as for spread_path. */
static __always_inline __u32 choose_path(const struct peer *peer, enum traffic_class class, __u32 flow, union weight bytes, struct path_state **at)
{
	union peer_word now = peer_word(peer);
	union steering_word by = steering_word(peer, class);
	__u32 best = by.is.best < MP_PATHS && now.is.mask >> by.is.best & 1 ? by.is.best : now.is.best;
	__u32 handle = now.is.sid | (best & (MP_PATHS - 1));

	*at = path_state_of(handle);
	if (by.is.mode == SPREAD_FLOWS || (by.is.mode == SPREAD_PACKETS && bytes.is.length)) {
		__u32 spread = spread_path(peer, class, flow, bytes.word);

		if (spread) {
			*at = path_state_of(spread);
			return *at ? spread : 0;
		}
	}
	if (now.is.mask >> best & 1 && *at && path_fine(*at))
		return handle;
	handle = search_path(now.is.sid, (__u32)now.is.mask << 16 | by.is.mask, (by.is.second & (MP_PATHS - 1)) << 8 | (best & (MP_PATHS - 1)));
	*at = path_state_of(handle);
	return *at ? handle : 0;
}

#define GO_TWICE 0x201 /* no verdict */

/* Whether each packet of the class is steered by itself, so that it may not leave as part of a larger one. */
static __always_inline bool is_single(union steering_word by)
{
	return is_spread(by.is.mode) || by.is.fec;
}

/*
 * Another path of the class beside `handle`, a live one if there is any; 0: there is none. One that was left is mostly held back, and carries: of all
 * that is sent there, copies alone lose nothing. The second may be none of the mask: good enough for copies alone.
 */
static __always_inline __u32 other_path(const struct peer *peer, union steering_word by, __u32 handle)
{
	__u32 second = by.is.second & (MP_PATHS - 1);
	__u32 mask = peer_word(peer).is.mask & (by.is.mask | 1U << second) & ~(1U << HANDLE_PATH(handle));

	if (!mask)
		return 0;
	return search_path(HANDLE_SID(handle), mask << 16 | mask, second << 8 | second);
}

/* A packet that is single and complete, of a class whose packets go twice; by `handle` and another path where there is one. */
__noinline int send_twice(struct __sk_buff *skb, const struct peer *peer __nonnull, __u32 handle)
{
	enum traffic_class class = class_at_l3(skb) & (CLASSES - 1);
	struct path_state *state = path_state_of(handle);
	union sending sending = send_data(class, 0);
	__u32 other = 0;
	int result = GO_ON;

	if (!state)
		return DROP(DROP_NO_PATH);
	sending.is.sequence = next_sequence(HANDLE_SID(handle));
	sending.is.flags = sending.is.sequence ? MP_F_SPREAD : 0;
	if (sending.is.sequence)
		other = other_path(peer, steering_word(peer, class), handle);
	if (other)
		result = encap_twice(skb, handle, other, sending.word, peer->policy_version);
	return result == GO_ON ? encap_one(skb, handle, sending.word, peer->policy_version, state) : result;
}

/* Any 32 bits that are the same for all packets of a flow. */
static __always_inline __u32 flow_bits(const struct flow_key *key)
{
	const __u32 *src = (const __u32 *)key->src, *dst = (const __u32 *)key->dst;
	__u32 bits = mix(*(const __u32 *)&key->sport ^ key->proto);

	bits = mix(bits ^ src[0] ^ src[2]) ^ src[1] ^ src[3];
	return mix(mix(bits ^ dst[0] ^ dst[2]) ^ dst[1] ^ dst[3]);
}

/* ipsec0; 0: this kernel or the peer has no ESP. */
static __always_inline __u32 secure_device(const struct peer *peer)
{
	struct node_config *config = node_config();

	return config && peer->flags & PEER_F_ESP ? config->ipsec_ifindex : 0;
}

/* A clear one that the kernel is to cut or to finish. The pieces of a burst have no sequence and one path; on mp1 they are single packets. */
static __always_inline int hand_whole(struct __sk_buff *skb, const struct journey *j, const struct peer *peer, __u32 handle, bool single)
{
	int result = single ? GO_ON : burst_out(skb, handle, j->segment, peer);
	struct node_config *config = node_config();

	if (result != GO_ON)
		return result;
	skb->mark = handle;
	return config ? bpf_redirect(config->mp0_ifindex, 0) : DROP(DROP_NO_PATH);
}

/*
 * What the packet costs a link. Of a secure one the path is chosen now, GSO or not, and it stays on it: the SA is the path's, and a replay window is no
 * place for packets of two paths. A clear one that is to be cut is steered piece by piece, later.
 */
static __always_inline union weight weight_of(struct __sk_buff *skb, const struct journey *j, bool secure, bool whole)
{
	__u32 pieces = 1;

	if (whole && !secure)
		return weigh(0, 0);
	if (j->gso_size)
		pieces = (j->length + j->gso_size - 1) / j->gso_size;
	return weigh(skb->len - L3 + (secure ? pieces * ESP_BYTES : 0), pieces);
}

/*
 * Last step of a packet towards a peer. A clear one that is single and complete becomes MP here and now; one that is to be cut, or lacks its
 * checksum, becomes MP as it is and is completed later (burst.h), or goes to mp0 where that is not possible, or where its pieces are to be steered
 * each by itself. Secure ones go to ipsec0 for XFRM. The mark carries the handle there, through XFRM, and over mp0 and mp1.
 * ENCAP_PROTECTED, GO_TWICE: not done yet, and the handle is in the mark.
 */
__noinline int hand_over(struct __sk_buff *skb, const struct journey *j __nonnull, const struct peer *peer __nonnull, bool secure)
{
	enum traffic_class class = class_of_tos(j->tos);
	union steering_word by = steering_word(peer, class);
	bool whole = secure || skb->gso_size || checksum_pending(skb);
	struct path_state *state;
	__u32 handle, flow = 0;
	int result = GO_TWICE;

	if (secure && !secure_device(peer))
		return DROP(DROP_NO_ESP);
	if (by.is.mode == SPREAD_FLOWS)
		flow = flow_bits(&j->key);
	handle = choose_path(peer, class, flow, weight_of(skb, j, secure, whole), &state);
	if (!handle || !state)
		return DROP(DROP_NO_PATH);
	if (secure) {
		count(COUNT_TO_PEER_SECURE);
		skb->mark = handle;
		return bpf_redirect_neigh(secure_device(peer), NULL, 0, 0);
	}
	count(COUNT_TO_PEER_CLEAR);
	if (whole)
		return hand_whole(skb, j, peer, handle, is_single(by));
	if (by.is.mode != SPREAD_TWICE)
		result = encap_one(skb, handle, send_steered(class, by.is).word, peer->policy_version, state);
	if (result == GO_TWICE || result == ENCAP_PROTECTED)
		skb->mark = handle;
	return result;
}

/* The same to its end: the frame above is gone when parity or a copy needs the stack. */
static __always_inline int hand_to_peer(struct __sk_buff *skb, const struct journey *j, const struct peer *peer, bool secure)
{
	int result = hand_over(skb, j, peer, secure);

	if (result == GO_TWICE)
		return send_twice(skb, peer, skb->mark);
	return result == ENCAP_PROTECTED ? fec_out(skb, skb->mark) : result;
}

#endif
