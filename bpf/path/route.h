/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where an inner packet goes, for hosts and tunnels and both families alike.
 *
 *   spread by its sender, on a node between tunnels: once more from here when its time has come (hold.h)
 *
 *   flow or FIB -> next hop -+- local: from the LAN stack, from a peer ----------- drop, ICMP
 *                            +- unreachable, prohibited, none ------------------- drop, ICMP
 *                            +- secure and clear kept apart ---------------------- drop
 *                            +- adapter of a service instance: service.h --------- instance
 *                            +- LAN:  TTL --------------------------------------- host
 *                            +- peer: TTL, size, MSS, path -+- secure: mark ------ ipsec0 (XFRM, then mp0)
 *                                                           +- clear:  mark ------ mp0
 */
#ifndef BRANCHLINE_ROUTE_H
#define BRANCHLINE_ROUTE_H

#include "drop.h"
#include "flow.h"
#include "gather.h"
#include "hold.h"
#include "mss.h"
#include "peer.h"
#include "playout.h"
#include "service.h"
#include "ttl.h"

/* Ethernet pads short frames; behind a tunnel header padding would be payload. */
static __always_inline int trim_padding(struct __sk_buff *skb, const struct journey *j)
{
	if (!j->gso_size && skb->len > L3 + j->length && bpf_skb_change_tail(skb, L3 + j->length, 0))
		return DROP(DROP_REWRITE);
	return GO_ON;
}

static __always_inline int to_peer(struct __sk_buff *skb, struct journey *j, const struct nexthop *nexthop)
{
	bool secure = nexthop->flags & NH_F_SECURE;
	struct peer *peer;
	__u32 mtu;
	int result;

	if (j->origin != FROM_LAN && nexthop->target == j->peer)
		return DROP(DROP_LOOP);
	peer = peer_of(nexthop->target);
	if (!peer)
		return DROP(DROP_NO_PEER);
	if (j->ttl <= 1)
		return refuse(j, DROP_TTL, ANSWER_TIME_EXCEEDED);
	mtu = secure ? peer->mtu_secure : peer->mtu_clear;
	/* Without DF a secure packet goes on: the kernel fragments the ESP. Clear MP has no fragments, so the sender learns the MTU either way. */
	if (j->segment > mtu && !(secure && j->may_fragment)) {
		j->answer_mtu = mtu;
		return refuse(j, DROP_TOO_BIG, ANSWER_TOO_BIG);
	}
	result = trim_padding(skb, j);
	if (result == GO_ON)
		result = ttl_decrement(skb, j);
	if (result == GO_ON && is_syn(j))
		result = mss_clamp(skb, j, mtu);
	return result == GO_ON ? hand_to_peer(skb, j, peer, secure) : result;
}

static __always_inline int to_lan(struct __sk_buff *skb, struct journey *j, const struct node_config *config,
				  const struct nexthop *nexthop)
{
	__u32 ifindex = nexthop->target;
	int result;

	if (j->ttl <= 1)
		return refuse(j, DROP_TTL, ANSWER_TIME_EXCEEDED);
	result = ttl_decrement(skb, j);
	if (result != GO_ON)
		return result;
	skb->mark = 0;
	count(COUNT_LAN_OUT);
	/* GRO would hold what has its time. */
	if (j->stamp && playout(skb, j, ifindex))
		return bpf_redirect_neigh(ifindex, NULL, 0, 0);
	if (config->gather_ifindex && j->origin == FROM_PEER_CLEAR && j->key.proto == IPPROTO_TCP && j->fragment == FRAGMENT_NONE)
		return gather(skb, config->gather_ifindex, ifindex);
	return bpf_redirect_neigh(ifindex, NULL, 0, 0);
}

/*
 * What came in clear must not reach a secure next hop, and what came over IPsec must not leave in clear. A LAN port is either's own. The way out of all
 * VRFs is for what passed a service chain alone, and whatever its chain carries.
 */
static __always_inline int keep_apart(const struct journey *j, const struct nexthop *nexthop)
{
	bool secure = nexthop->flags & NH_F_SECURE;

	if (nexthop->flags & NH_F_CHAINED)
		return j->adapter ? GO_ON : DROP(DROP_NOT_CHAINED);
	if (j->origin == FROM_PEER_CLEAR && secure)
		return DROP(DROP_CLEAR_ON_SECURE);
	if (j->origin == FROM_PEER_SECURE && !secure && nexthop->kind != NH_LOCAL)
		return DROP(DROP_SECURE_ON_CLEAR);
	return GO_ON;
}

/* j is parsed, key.vrf and origin are set. */
__noinline int route(struct __sk_buff *skb, struct journey *j __nonnull)
{
	struct node_config *config = node_config();
	struct nexthop *nexthop;
	int result;

	if (!config)
		return DROP(DROP_NO_ROUTE);
	if (j->stamp && config->hold_ifindex) {
		result = hold(skb, j, config->hold_ifindex);
		if (result != GO_ON)
			return result;
	}
	/* Nobody's packet comes from our virtual address: a peer would take it for the node's own. */
	if (j->family == FAMILY_IPV4 && mapped_ipv4(j->key.src) == config->vaddr)
		return DROP(DROP_INNER_SPOOFED);
	result = flow_nexthop(j, config, true, &nexthop);
	if (result != GO_ON)
		return result;
	if (!nexthop || nexthop->kind == NH_NONE)
		return refuse(j, DROP_NO_ROUTE, ANSWER_UNREACHABLE);
	if (nexthop->kind == NH_UNREACHABLE)
		return refuse(j, DROP_UNREACHABLE, ANSWER_UNREACHABLE);
	if (nexthop->kind == NH_PROHIBIT)
		return refuse(j, DROP_PROHIBITED, ANSWER_PROHIBITED);
	if (nexthop->kind == NH_ADAPTER)
		return to_service(skb, j, nexthop->target, nexthop->flags);
	result = keep_apart(j, nexthop);
	if (result == DROP(DROP_NOT_CHAINED))
		return refuse(j, DROP_NOT_CHAINED, ANSWER_PROHIBITED);
	if (result != GO_ON)
		return result;
	if (nexthop->kind == NH_PEER)
		return to_peer(skb, j, nexthop);
	if (nexthop->kind == NH_LAN)
		return to_lan(skb, j, config, nexthop);
	if (nexthop->kind != NH_LOCAL)
		return refuse(j, DROP_NO_ROUTE, ANSWER_UNREACHABLE);
	/* The node's own stack knows no VRF: its answer to another branch would leave by the main table, in clear. */
	return j->origin == FROM_LAN ? TCX_NEXT : refuse(j, DROP_PROHIBITED, ANSWER_PROHIBITED);
}

#endif
