/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Puts one packet into MP and sends it out of its path.
 *
 *   handle -> session, path -> size -> number, time, tag -> room -> outer headers -> neighbour
 *
 * Single packets only: each gets a number of its own. BPF_F_ADJ_ROOM_ENCAP_* is not used: it marks the skb as encapsulated, which a veth
 * carries into the next namespace, where encapsulating once more is then refused (-EALREADY).
 */
#ifndef BRANCHLINE_ENCAP_H
#define BRANCHLINE_ENCAP_H

#include "checksum.h"
#include "drop.h"
#include "parse.h"
#include "session.h"
#include "tag.h"

#define OUTER_IPV4 (sizeof(struct iphdr) + sizeof(struct udphdr))
#define OUTER_IPV6 (sizeof(struct ipv6hdr) + sizeof(struct udphdr))
#define FAMILY_STEP (sizeof(struct ipv6hdr) - sizeof(struct iphdr))

/* `pad` aligns the MP header to 8 bytes, which its words need on the stack. */
struct outer4 {
	__u32 pad;
	struct iphdr ip;
	struct udphdr udp;
	struct mp_hdr mp;
};
struct outer6 {
	struct ipv6hdr ip;
	struct udphdr udp;
	struct mp_hdr mp;
};

/* Makes `length` bytes of room behind the Ethernet header and lets skb->protocol say the outer family. */
static __always_inline int make_room(struct __sk_buff *skb, bool inner6, bool outer6, __u32 length)
{
	if (inner6 == outer6)
		return bpf_skb_adjust_room(skb, length, BPF_ADJ_ROOM_MAC, 0);
	/* change_proto adds or takes the difference of the two IP headers at the same place. */
	if (bpf_skb_adjust_room(skb, outer6 ? length - FAMILY_STEP : length + FAMILY_STEP, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	return bpf_skb_change_proto(skb, outer6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0);
}

/* Number, time and tag: what every packet gets anew. */
static __always_inline void mp_fill(struct mp_hdr *mp, enum mp_type type, __u32 handle, const struct session *session,
				    struct path_state *state, __u64 now)
{
	__builtin_memset(mp, 0, sizeof(*mp));
	mp->version_type = MP_VERSION << 4 | type;
	mp->path = HANDLE_PATH(handle);
	mp->session = bpf_htonl(session->remote_sid);
	/* Numbers begin at 1, so that rx_highest 0 means "none yet". */
	mp->number = bpf_cpu_to_be64(__sync_fetch_and_add(&state->tx_number, 1) + 1);
	mp->timestamp_us = bpf_htonl(clock_us(now));
}

static __always_inline void path_sent(struct path_state *state, __u32 bytes, __u64 now)
{
	__sync_fetch_and_add(&state->tx_bytes, bytes);
	state->last_tx_ns = now;
	count(COUNT_MP_OUT);
}

static __always_inline int store_outer4(struct __sk_buff *skb, struct outer4 *outer, const struct path_conf *conf, __u8 tos, __u32 length)
{
	outer->ip = (struct iphdr){ .version = 4, .ihl = 5, .tos = tos, .tot_len = bpf_htons(length), .frag_off = bpf_htons(IP_DF),
				    .ttl = conf->ttl, .protocol = IPPROTO_UDP };
	__builtin_memcpy(&outer->ip.saddr, conf->local, 4);
	__builtin_memcpy(&outer->ip.daddr, conf->remote, 4);
	outer->ip.check = ipv4_checksum(&outer->ip);
	outer->udp = (struct udphdr){ .source = conf->local_port, .dest = conf->remote_port,
				      .len = bpf_htons(length - sizeof(struct iphdr)) };
	return bpf_skb_store_bytes(skb, L3, &outer->ip, sizeof(*outer) - sizeof(outer->pad), 0);
}

static __always_inline int store_outer6(struct __sk_buff *skb, struct outer6 *outer, const struct path_conf *conf, __u8 tos, __u32 length)
{
	__u32 payload = length - sizeof(struct ipv6hdr);

	outer->ip = (struct ipv6hdr){ .version = 6, .priority = tos >> 4, .flow_lbl = { tos << 4 }, .payload_len = bpf_htons(payload),
				      .nexthdr = IPPROTO_UDP, .hop_limit = conf->ttl };
	__builtin_memcpy(&outer->ip.saddr, conf->local, 16);
	__builtin_memcpy(&outer->ip.daddr, conf->remote, 16);
	/* Checksum 0: the tag covers what matters (RFC 6935, 6936). */
	outer->udp = (struct udphdr){ .source = conf->local_port, .dest = conf->remote_port, .len = bpf_htons(payload) };
	return bpf_skb_store_bytes(skb, L3, outer, sizeof(*outer), 0);
}

/* The payload is the IP packet behind the Ethernet header. `session` is the handle's own. */
static __always_inline int encap(struct __sk_buff *skb, __u32 handle, const struct session *session, enum mp_type type)
{
	struct path_conf *conf = path_conf_of(handle);
	struct path_state *state = path_state_of(handle);
	__u64 payload[TAG_PAYLOAD_WORDS], now;
	__u32 length, policy_version = 0;
	struct peer *peer;
	bool inner6, outer6;
	int failed;
	__u8 tos;
	union {
		struct outer4 v4;
		struct outer6 v6;
	} outer;

	if (!conf || !state || conf->family == FAMILY_NONE)
		return DROP(DROP_NO_PATH);
	if (skb->gso_size)
		return DROP(DROP_REWRITE);
	outer6 = conf->family == FAMILY_IPV6;
	length = skb->len - L3 + MP_HDR_LEN + (outer6 ? OUTER_IPV6 : OUTER_IPV4);
	if (length > conf->mtu)
		return DROP(DROP_TOO_BIG);
	if (bpf_skb_load_bytes(skb, L3, payload, sizeof(payload)))
		return DROP(DROP_INNER_MALFORMED);
	inner6 = *(__u8 *)payload >> 4 == 6;
	/* RFC 6040, normal mode: DSCP and ECN as they are. */
	tos = inner6 ? *(__u8 *)payload << 4 | ((__u8 *)payload)[1] >> 4 : ((__u8 *)payload)[1];
	peer = peer_of(session->peer);
	if (peer)
		policy_version = peer->policy_version;

	if (make_room(skb, inner6, outer6, length - (skb->len - L3)))
		return DROP(DROP_REWRITE);
	now = clock_precise();
	if (outer6) {
		mp_fill(&outer.v6.mp, type, handle, session, state, now);
		outer.v6.mp.policy_version = bpf_htonl(policy_version);
		outer.v6.mp.tag = tag(session->tx_key, (__u64 *)&outer.v6.mp, payload);
		failed = store_outer6(skb, &outer.v6, conf, tos, length);
	} else {
		mp_fill(&outer.v4.mp, type, handle, session, state, now);
		outer.v4.mp.policy_version = bpf_htonl(policy_version);
		outer.v4.mp.tag = tag(session->tx_key, (__u64 *)&outer.v4.mp, payload);
		failed = store_outer4(skb, &outer.v4, conf, tos, length);
	}
	if (failed)
		return DROP(DROP_REWRITE);
	path_sent(state, length, now);
	/* The handle has done its duty; on the WAN a mark would only match somebody's policy rules. */
	skb->mark = 0;
	return bpf_redirect_neigh(conf->ifindex, NULL, 0, 0);
}

#endif
