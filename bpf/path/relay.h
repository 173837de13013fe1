/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet from one clear tunnel into the next, at XDP: the common case of what wan.bpf.c does, on the frame itself.
 *
 * `struct relay` collects what is known while nothing has been written. Everything that is not plain answers PASS and goes the tc way,
 * which drops, reports, answers and learns; so every reason has one place.
 */
#ifndef BRANCHLINE_RELAY_H
#define BRANCHLINE_RELAY_H

#include "delay.h"
#include "flow.h"
#include "encap.h"
#include "hop.h"
#include "peer.h"
#include "window.h"

#define PASS false
#define RELAY true

struct relay {
	struct journey j;		/* of the inner packet */
	struct session *from, *to;
	struct path_conf *came, *leaves;
	struct path_state *rx, *tx;
	struct peer *peer;
	enum traffic_class class;
	__u32 handle;			/* path it leaves by */
	__u32 length;			/* of the outer packet */
	struct ethhdr eth;		/* for the next hop */
};

struct frame {
	void *data, *end;
};

static __always_inline struct frame frame_of(struct xdp_md *ctx)
{
	return (struct frame){ (void *)(long)ctx->data, (void *)(long)ctx->data_end };
}

/* The addresses that the path has now: one that moved is for tc to report. */
static __always_inline bool same_ends4(const struct path_conf *conf, const struct outer4 *outer)
{
	return conf->family == FAMILY_IPV4 && conf->remote_port == outer->udp.source && *(__u32 *)conf->remote == outer->ip.saddr &&
	       *(__u32 *)conf->local == outer->ip.daddr;
}

static __always_inline bool same_ends6(const struct path_conf *conf, const struct outer6 *outer)
{
	const __u64 *remote = (const __u64 *)conf->remote, *local = (const __u64 *)conf->local;
	const __u64 *src = (const __u64 *)&outer->ip.saddr, *dst = (const __u64 *)&outer->ip.daddr;

	return conf->family == FAMILY_IPV6 && conf->remote_port == outer->udp.source && remote[0] == src[0] && remote[1] == src[1] &&
	       local[0] == dst[0] && local[1] == dst[1];
}

/* Session, path and addresses that the MP header names. */
static __always_inline bool relay_session(struct relay *r, const struct mp_hdr *mp)
{
	__u32 sid = bpf_ntohl(mp->session);
	__u32 handle = sid | mp->path;

	if (!is_plain(mp) || mp->path >= MP_PATHS)
		return PASS;
	r->from = session_by_id(sid);
	r->rx = path_state_of(handle);
	r->came = path_conf_of(handle);
	if (!r->from || !r->rx || !r->came || !(r->from->path_mask >> mp->path & 1))
		return PASS;
	/* A policy that the agent does not know yet. */
	if (bpf_ntohl(mp->policy_version) > r->from->policy_version)
		return PASS;
	r->j.key.vrf = r->from->vrf;
	r->j.peer = r->from->peer;
	r->j.origin = FROM_PEER_CLEAR;
	return r->from->vrf ? RELAY : PASS;
}

/* Outer headers without options, fragments, marks and bytes behind; `outer_length` is theirs. Finds session and path. */
static __always_inline bool relay_outer(struct relay *r, struct frame f, __u32 outer_length)
{
	if (f.data + L3 + outer_length + MP_HDR_LEN + sizeof(struct iphdr) > f.end)
		return PASS;
	r->length = f.end - f.data - L3;
	if (outer_length == sizeof(struct outer4)) {
		struct outer4 *outer = f.data + L3;

		if (*(__u8 *)outer != 0x45 || outer->ip.protocol != IPPROTO_UDP || outer->udp.dest != bpf_htons(MP_PORT) ||
		    outer->ip.frag_off & bpf_htons(IP_MF | IP_OFFSET) || (outer->ip.tos & 3) == 3 || bpf_ntohs(outer->ip.tot_len) != r->length ||
		    bpf_ntohs(outer->udp.len) + sizeof(outer->ip) != r->length)
			return PASS;
		return relay_session(r, (struct mp_hdr *)(outer + 1)) && same_ends4(r->came, outer);
	}
	struct outer6 *outer = f.data + L3;

	if (outer->ip.version != 6 || outer->ip.nexthdr != IPPROTO_UDP || outer->udp.dest != bpf_htons(MP_PORT) ||
	    (((__u8 *)outer)[1] >> 4 & 3) == 3 || bpf_ntohs(outer->ip.payload_len) + sizeof(outer->ip) != r->length ||
	    outer->udp.len != outer->ip.payload_len)
		return PASS;
	return relay_session(r, (struct mp_hdr *)(outer + 1)) && same_ends6(r->came, outer);
}

/* Ports and flags. A SYN goes by tc, where its MSS is looked at. */
static __always_inline bool relay_l4(struct journey *j, __u8 protocol, const void *l4, const void *end)
{
	j->key.proto = protocol;
	if (protocol == IPPROTO_TCP) {
		const struct tcphdr *tcp = l4;

		if (l4 + sizeof(*tcp) > end || tcp->doff < 5)
			return PASS;
		j->tcp_flags = ((const __u8 *)tcp)[13];
		if (j->tcp_flags & TCP_SYN)
			return PASS;
	} else if (protocol != IPPROTO_UDP) {
		return PASS;
	} else if (l4 + sizeof(struct udphdr) > end) {
		return PASS;
	}
	j->key.sport = ((const __be16 *)l4)[0];
	j->key.dport = ((const __be16 *)l4)[1];
	return RELAY;
}

/* Inner packet: TCP or UDP of a host, whole, for a host. */
static __always_inline bool relay_inner(struct relay *r, struct frame f, __u32 outer_length, const struct node_config *config)
{
	struct journey *j = &r->j;
	void *inner = f.data + L3 + outer_length + MP_HDR_LEN;

	j->length = r->length - outer_length - MP_HDR_LEN;
	j->segment = j->length;
	if (inner + sizeof(struct iphdr) > f.end)
		return PASS;
	if (*(__u8 *)inner == 0x45) {
		struct iphdr *ip = inner;

		if (bpf_ntohs(ip->tot_len) != j->length || ip->frag_off & bpf_htons(IP_MF | IP_OFFSET))
			return PASS;
		j->family = FAMILY_IPV4;
		j->ttl = ip->ttl;
		r->class = class_of_tos(ip->tos);
		map_ipv4(j->key.src, ip->saddr);
		map_ipv4(j->key.dst, ip->daddr);
		if (ip->daddr == r->from->vaddr_local || ip->saddr == config->vaddr || is_link_scope(j))
			return PASS;
		return relay_l4(j, ip->protocol, ip + 1, f.end);
	}
	if (*(__u8 *)inner >> 4 == 6 && inner + sizeof(struct ipv6hdr) <= f.end) {
		struct ipv6hdr *ip = inner;

		if (bpf_ntohs(ip->payload_len) + sizeof(*ip) != j->length)
			return PASS;
		j->family = FAMILY_IPV6;
		j->ttl = ip->hop_limit;
		r->class = class_of_tos(traffic_class(inner));
		__builtin_memcpy(j->key.src, &ip->saddr, 16);
		__builtin_memcpy(j->key.dst, &ip->daddr, 16);
		return is_link_scope(j) ? PASS : relay_l4(j, ip->nexthdr, ip + 1, f.end);
	}
	return PASS;
}

/* The next tunnel, with a neighbour that is known. */
static __always_inline bool relay_onward(struct relay *r, const struct node_config *config)
{
	struct nexthop *nexthop;
	union steering_word by;
	__u32 outer, length;

	if (flow_nexthop(&r->j, config, false, &nexthop) != GO_ON)
		return PASS;
	if (!nexthop || nexthop->kind != NH_PEER || nexthop->flags & NH_F_SECURE || nexthop->target == r->j.peer || r->j.ttl <= 1)
		return PASS;
	r->peer = peer_of(nexthop->target);
	if (!r->peer || r->j.length > r->peer->mtu_clear)
		return PASS;
	by = steering_word(r->peer, r->class);
	if (is_single(by))
		return PASS;
	r->handle = choose_path(r->peer, r->class, by.is.mode == SPREAD_FLOWS ? flow_bits(&r->j.key) : 0, weigh(0, 0), &r->tx);
	r->to = session_of(r->handle);
	r->leaves = path_conf_of(r->handle);
	if (!r->to || !r->leaves || !r->tx || r->leaves->family == FAMILY_NONE)
		return PASS;
	outer = r->leaves->family == FAMILY_IPV6 ? sizeof(struct outer6) : sizeof(struct outer4);
	length = r->j.length + MP_HDR_LEN + outer;
	/* The device is chosen now, while there is a way back; it stays chosen until the verdict. */
	return length <= r->leaves->mtu && bpf_redirect_map(&frame_devices, r->leaves->ifindex, XDP_PASS) == XDP_REDIRECT &&
	       hop_address(r->tx, r->leaves, &r->eth);
}

/* Both families' TTL lies in the tagged bytes, so this comes before the tag. */
static __always_inline void relay_ttl(void *inner, __u8 family)
{
	if (family == FAMILY_IPV4) {
		struct iphdr *ip = inner;
		/* RFC 1141, as in ttl.h. */
		__u32 sum = (__u32)bpf_ntohs(ip->check) + 0x0100;

		ip->check = bpf_htons(sum + (sum >> 16));
		ip->ttl--;
	} else {
		((struct ipv6hdr *)inner)->hop_limit--;
	}
}

/* Counters of both paths; `now` is one read for all. */
static __always_inline void relay_account(struct relay *r, __u64 number, __be32 timestamp, __u64 now)
{
	count(COUNT_MP_IN);
	count(COUNT_FROM_PEER_CLEAR);
	count(COUNT_TO_PEER_CLEAR);
	count(COUNT_RELAYED);
	if (measure_due(r->rx, number, now))
		measure(r->rx, r->rx->handle, timestamp, now);
	r->rx->last_rx_ns = now;
	__sync_fetch_and_add(&r->rx->rx_packets, 1);
	__sync_fetch_and_add(&r->rx->rx_bytes, r->length);
	count_reordered(r->rx, CLASS_DEFAULT, number);
	window_advance(r->rx, number);
}

#endif
