/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * One packet over two paths, under one sequence: the receiver takes what comes first (path/lane.h).
 *
 *   room, headers of one path -> clone -> WAN device;  headers of the other path over them -> as any packet
 *
 * The clone goes past the kernel's neighbour table, so it takes the path whose next hop is known; the packet itself asks for the other's. Where
 * neither is known, or the other path does not carry the size, the packet goes once.
 */
#ifndef BRANCHLINE_TWICE_H
#define BRANCHLINE_TWICE_H

#include "encap.h"

/* Whether a frame for the path could leave now; its next hop into `eth`. */
static __always_inline bool ready(__u32 handle, struct ethhdr *eth)
{
	struct path_state *state = path_state_of(handle);
	struct path_conf *conf = path_conf_of(handle);

	return state && conf && conf->family != FAMILY_NONE && hop_address(state, conf, eth);
}

static __always_inline bool carries(__u32 handle, __u32 length)
{
	struct path_conf *conf = path_conf_of(handle);

	return conf && conf->family != FAMILY_NONE && length + headers_length(conf) <= conf->mtu;
}

/* Leaves by `handle` of `session`, whose headers the packet has, as a clone. */
static __always_inline void leave_clone(struct __sk_buff *skb, const struct path_conf *conf, const struct ethhdr *next)
{
	struct ethhdr *eth = reach(skb, 0, sizeof(*eth));

	if (!eth)
		return;
	__builtin_memcpy(eth, next, 2 * ETH_ALEN);
	eth->h_proto = conf->family == FAMILY_IPV6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	skb->mark = 0;
	if (!bpf_clone_redirect(skb, conf->ifindex, 0))
		count(COUNT_COPY_OUT);
}

/* A single packet on two paths of one session. GO_ON: that is not possible, and nothing was changed. */
__noinline int encap_twice(struct __sk_buff *skb, __u32 handle, __u32 other, __u64 word, __u32 policy)
{
	bool inner6 = ethertype_of(skb).value == bpf_htons(ETH_P_IPV6), first6, last6;
	__u32 first = other, last = handle, length = skb->len - L3;
	union sending sending = { .word = word };
	struct session *session = session_of(handle);
	struct path_state *state;
	struct path_conf *conf;
	struct ethhdr next;
	struct mp_hdr mp;
	int result;

	if (!session || skb->gso_size || !carries(handle, length) || !carries(other, length))
		return GO_ON;
	if (!ready(other, &next)) {
		first = handle;
		last = other;
		if (!ready(handle, &next))
			return GO_ON;
	}
	conf = path_conf_of(first);
	state = path_state_of(first);
	if (!conf || !state)
		return GO_ON;
	first6 = conf->family == FAMILY_IPV6;
	if (make_room(skb, inner6, first6, headers_length(conf)))
		return DROP(DROP_REWRITE);
	skb->priority = queue_of_class(sending.is.class);
	mp_begin(&mp, sending, policy);
	result = put_headers(skb, first, &mp, session, conf, state, length + headers_length(conf));
	if (result != GO_ON)
		return result;
	leave_clone(skb, conf, &next);

	conf = path_conf_of(last);
	state = path_state_of(last);
	if (!conf || !state)
		return DROP(DROP_NO_PATH);
	last6 = conf->family == FAMILY_IPV6;
	if (first6 != last6 && bpf_skb_change_proto(skb, last6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0))
		return DROP(DROP_REWRITE);
	mp_begin(&mp, sending, policy);
	result = put_headers(skb, last, &mp, session, conf, state, length + headers_length(conf));
	return result == GO_ON ? leave(skb, last, conf, state, last6) : result;
}

#endif
