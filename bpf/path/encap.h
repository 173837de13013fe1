/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Puts one packet into MP and sends it out of its path.
 *
 *   handle -> session, path -> size -> room -> number, time, outer headers, tag -> next hop
 *
 * Single packets only: each gets a number of its own. BPF_F_ADJ_ROOM_ENCAP_* is not used: it marks the skb as encapsulated, which a veth
 * carries into the next namespace, where encapsulating once more is then refused (-EALREADY).
 */
#ifndef BRANCHLINE_ENCAP_H
#define BRANCHLINE_ENCAP_H

#include "checksum.h"
#include "class.h"
#include "drop.h"
#include "fec-number.h"
#include "hop.h"
#include "liveness.h"
#include "parse.h"
#include "room.h"
#include "session.h"
#include "tag.h"

/* What the one who chose the path knows of the packet already. One word, since a function of its own takes five arguments. */
union sending {
	__u64 word;
	struct {
		__u32 sequence;		/* of lane.h, for a packet that goes twice */
		__u8 type;		/* enum mp_type: DATA or PROBE */
		__u8 class;		/* enum traffic_class */
		__u8 fec;		/* protection that its class asks for; 0: none */
		__u8 flags;		/* MP_F_SPREAD */
	} is;
};

/* The node's own, or what is not spread. */
static __always_inline union sending send_data(enum traffic_class class, __u8 fec)
{
	return (union sending){ .is = { .type = MP_DATA, .class = class, .fec = fec } };
}

static __always_inline bool is_spread(__u8 mode)
{
	return mode == SPREAD_PACKETS || mode == SPREAD_TWICE;
}

/* A host's packet, as its class is sent. */
static __always_inline union sending send_steered(enum traffic_class class, struct steering by)
{
	union sending sending = send_data(class, by.fec);

	sending.is.flags = is_spread(by.mode) ? MP_F_SPREAD : 0;
	return sending;
}

struct outer4 {
	struct iphdr ip;
	struct udphdr udp;
};
struct outer6 {
	struct ipv6hdr ip;
	struct udphdr udp;
};

/* What its sender says of the packet; the rest of the header is the path's. */
static __always_inline void mp_begin(struct mp_hdr *mp, union sending sending, __u32 policy)
{
	__builtin_memset(mp, 0, sizeof(*mp));
	mp->version_type = MP_VERSION << 4 | sending.is.type;
	if (sending.is.type == MP_DATA)
		mp->qos = sending.is.class << MP_CLASS_SHIFT | sending.is.flags;
	mp->fec = sending.is.fec;
	mp->sequence = bpf_htonl(sending.is.sequence);
	mp->policy_version = bpf_htonl(policy);
}

/* Number and time: what every packet gets anew. */
static __always_inline void mp_number(struct mp_hdr *mp, __u32 handle, const struct session *session, struct path_state *state, __u64 now)
{
	mp->path = HANDLE_PATH(handle);
	mp->session = bpf_htonl(session->remote_sid);
	/* Numbers begin at 1, so that rx_highest 0 means "none yet". */
	mp->number = bpf_cpu_to_be64(__sync_fetch_and_add(&state->tx_number, 1) + 1);
	mp->timestamp_us = bpf_htonl(clock_us(now));
}

/* The header of a packet that is of no class. */
static __always_inline void mp_fill(struct mp_hdr *mp, enum mp_type type, __u32 handle, const struct session *session,
				    struct path_state *state, __u64 now)
{
	__builtin_memset(mp, 0, sizeof(*mp));
	mp->version_type = MP_VERSION << 4 | type;
	mp->qos = type == MP_DATA ? ask_take(state) : 0;
	mp_number(mp, handle, session, state, now);
}

/* Writes header and tag in front of the payload; both are in the packet. */
static __always_inline void mp_write(struct mp_hdr *to, const struct mp_hdr *mp, const struct session *session,
				     const struct path_state *state)
{
	*to = *mp;
	to->tag = tag(session->tx_key, state->tx_tag, mp, (const __u64 *)(to + 1));
}

static __always_inline void path_sent(struct path_state *state, __u32 bytes)
{
	__sync_fetch_and_add(&state->tx_bytes, bytes);
	count(COUNT_MP_OUT);
}

static __always_inline void write_outer4(struct outer4 *outer, const struct path_conf *conf, __u8 tos, __u32 length)
{
	__u32 local = *(const __u32 *)conf->local, remote = *(const __u32 *)conf->remote;
	__be16 first = bpf_htons(0x4500 | tos), total = bpf_htons(length), df = bpf_htons(IP_DF);
	__be16 ttl = bpf_htons(conf->ttl << 8 | IPPROTO_UDP);
	__be16 *words = (__be16 *)&outer->ip;

	words[0] = first;
	words[1] = total;
	words[2] = 0;
	words[3] = df;
	words[4] = ttl;
	words[5] = fold((__u64)local + remote + first + total + df + ttl);
	outer->ip.saddr = local;
	outer->ip.daddr = remote;
	outer->udp.source = conf->local_port;
	outer->udp.dest = conf->remote_port;
	outer->udp.len = bpf_htons(length - sizeof(outer->ip));
	outer->udp.check = 0;
}

static __always_inline void write_outer6(struct outer6 *outer, const struct path_conf *conf, __u8 tos, __u32 length)
{
	__be16 payload = bpf_htons(length - sizeof(outer->ip));

	*(__be32 *)&outer->ip = bpf_htonl(6 << 28 | tos << 20);
	outer->ip.payload_len = payload;
	outer->ip.nexthdr = IPPROTO_UDP;
	outer->ip.hop_limit = conf->ttl;
	__builtin_memcpy(&outer->ip.saddr, conf->local, 16);
	__builtin_memcpy(&outer->ip.daddr, conf->remote, 16);
	outer->udp.source = conf->local_port;
	outer->udp.dest = conf->remote_port;
	outer->udp.len = payload;
	/* The tag covers what matters (RFC 6935, 6936). */
	outer->udp.check = 0;
}

/* Class of the packet behind the Ethernet header, inner or outer: either wears the same DSCP. */
static __always_inline enum traffic_class class_at_l3(struct __sk_buff *skb)
{
	__u8 head[2];

	return bpf_skb_load_bytes(skb, L3, head, sizeof(head)) ? CLASS_DEFAULT : class_of_tos(traffic_class(head));
}

/* Out of the path's WAN device: straight to the next hop that the kernel named a moment ago, else by asking it. */
static __always_inline int leave(struct __sk_buff *skb, __u32 handle, const struct path_conf *conf, struct path_state *state,
				 bool outer6)
{
	struct ethhdr *eth = reach(skb, 0, sizeof(*eth));

	if (eth && hop_address(state, conf, eth)) {
		eth->h_proto = outer6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
		skb->mark = 0;
		return bpf_redirect(conf->ifindex, 0);
	}
	/* For wan_egress, which learns the next hop and clears it. */
	skb->mark = handle;
	return bpf_redirect_neigh(conf->ifindex, NULL, 0, 0);
}

#define ENCAP_PROTECTED 0x200 /* no verdict: complete, but its group has to know of it before it leaves: fec-out.h */

/* Bytes in front of the payload on a path. */
static __always_inline __u32 headers_length(const struct path_conf *conf)
{
	return MP_HDR_LEN + (conf->family == FAMILY_IPV6 ? sizeof(struct outer6) : sizeof(struct outer4));
}

/* Into the room that is there, or over other headers of the same length. `mp`: begun. `length`: of the outer packet. */
static __always_inline int put_headers(struct __sk_buff *skb, __u32 handle, struct mp_hdr *mp, const struct session *session,
				       const struct path_conf *conf, struct path_state *state, __u32 length)
{
	struct mp_hdr *to;
	__u64 now;

	/* The clock and the atomics wait for all that is under way: behind them the tag can be computed beside what follows. */
	now = clock_precise();
	mp_number(mp, handle, session, state, now);
	path_sent(state, length);
	if (mp->version_type == (MP_VERSION << 4 | MP_DATA))
		mp->qos |= ask_take(state);
	if (conf->family == FAMILY_IPV6) {
		struct outer6 *outer = reach(skb, L3, sizeof(*outer) + MP_HDR_LEN + MP_TAGGED_PAYLOAD);

		if (!outer)
			return DROP(DROP_REWRITE);
		to = (struct mp_hdr *)(outer + 1);
		write_outer6(outer, conf, traffic_class((__u8 *)(to + 1)), length);
	} else {
		struct outer4 *outer = reach(skb, L3, sizeof(*outer) + MP_HDR_LEN + MP_TAGGED_PAYLOAD);

		if (!outer)
			return DROP(DROP_REWRITE);
		to = (struct mp_hdr *)(outer + 1);
		write_outer4(outer, conf, traffic_class((__u8 *)(to + 1)), length);
	}
	mp_write(to, mp, session, state);
	return GO_ON;
}

/*
 * The payload is the IP packet behind the Ethernet header. `state`: of the path, as the caller found it. `policy`: version of the peer's that the
 * sender knows. `word`: union sending.
 */
__noinline int encap_one(struct __sk_buff *skb, __u32 handle, __u64 word, __u32 policy, struct path_state *state __nonnull)
{
	union sending sending = { .word = word };
	struct path_conf *conf;
	struct session *session;
	bool inner6, outer6;
	__u32 length, more;
	struct mp_hdr mp;

	skb->priority = queue_of_class(sending.is.class);
	mp_begin(&mp, sending, policy);
	session = session_of(handle);
	conf = path_conf_of(handle);
	if (!session || !conf || conf->family == FAMILY_NONE)
		return DROP(DROP_NO_PATH);
	if (skb->gso_size)
		return DROP(DROP_REWRITE);
	inner6 = ethertype_of(skb).value == bpf_htons(ETH_P_IPV6);
	outer6 = conf->family == FAMILY_IPV6;
	more = headers_length(conf);
	length = skb->len - L3 + more;
	if (length > conf->mtu && sending.is.type != MP_PROBE)
		return DROP(DROP_TOO_BIG);
	if (make_room(skb, inner6, outer6, more))
		return DROP(DROP_REWRITE);
	if (mp.fec)
		fec_protect(&mp, session->sid);
	if (put_headers(skb, handle, &mp, session, conf, state, length) != GO_ON)
		return DROP(DROP_REWRITE);
	return mp.fec ? ENCAP_PROTECTED : leave(skb, handle, conf, state, outer6);
}

#endif
