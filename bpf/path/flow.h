/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flows: the decision of a flow's first packet, kept until routes change.
 *
 *   name -> find -+- known, routes unchanged: its next hop ------ touch, settle
 *                 +- else: FIB ---------------------------------- enter
 */
#ifndef BRANCHLINE_FLOW_H
#define BRANCHLINE_FLOW_H

#include "fib.h"
#include "flow-table.h"
#include "nexthop-set.h"
#include "session.h"

/* Is the other direction in the table? */
static __always_inline bool flow_answered(const struct journey *j, const struct flow_config *config)
{
	struct flow_key key;
	struct flow_name name;
	__u32 slot;

	flow_reverse(&key, &j->key);
	flow_name(&name, &key, j->family, config);
	return flow_find(&name, &slot) != NULL;
}

/*
 * Asks whether a flow is established: at its 4th packet, once more at the 16th, and at the 64th it is in any case. The question costs cache
 * misses, and shorter flows are gone before it matters. Of TCP a packet counts that acknowledges: the answer to a forged SYN, repeated as it may be, does not.
 */
#define TIME_TO_SETTLE(packets) ((packets) == 4 || (packets) == 16 || (packets) == FLOW_MANY)

__noinline int flow_settle(struct journey *j __nonnull)
{
	__u32 zero = 0;
	struct flow_config *config = bpf_map_lookup_elem(&flow_config, &zero);
	struct flow *flow = flow_at(j->flow_slot);
	bool tcp = j->key.proto == IPPROTO_TCP;
	bool says_so = !tcp || (j->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_ACK;

	if (!config || !flow || flow->state != FLOW_NEW)
		return 0;
	if (flow->packets >= FLOW_MANY || (says_so && flow_answered(j, config)))
		flow->state = tcp ? FLOW_CONNECTED : FLOW_ANSWERED;
	return 0;
}

/* A packet of a known flow went by. Here CPUs may race: a count may be lost or land on the slot's next flow, but never a decision. */
static __always_inline void flow_touch(struct flow *flow, struct journey *j, __u16 now)
{
	__u8 packets = flow->packets;

	if (flow->seen != now)
		flow->seen = now;
	if (j->tcp_flags & (TCP_FIN | TCP_RST)) {
		flow->state = FLOW_CLOSED;
	} else if (j->tcp_flags & TCP_SYN && flow->state == FLOW_CLOSED) {
		flow->state = FLOW_NEW;
		packets = 0;
	}
	if (packets == 0xff)
		return;
	flow->packets = ++packets;
	if (TIME_TO_SETTLE(packets))
		flow_settle(j);
}

static __always_inline __u32 policy_of(const struct nexthop *nexthop)
{
	struct peer *peer = nexthop->kind == NH_PEER ? peer_of(nexthop->target) : NULL;

	return peer ? peer->policy_version : 0;
}

/* Of a flow that is not known, or from before routes changed. Only what goes somewhere is remembered: a scan of dead addresses takes no slot. */
static __always_inline struct nexthop *flow_first(struct journey *j, struct flow_name *name, const struct node_config *config, __u16 now)
{
	/* Read first: a route that changes meanwhile makes this decision an old one. */
	__u32 epoch = READ_ONCE(config->route_epoch);
	__u32 index = fib_lookup(j->key.vrf, j->family, j->key.dst);
	struct nexthop *nexthop = index ? bpf_map_lookup_elem(&nexthops, &index) : NULL;

	if (nexthop && nexthop->kind == NH_SET) {
		index = nexthop_member(nexthop->target, name->id_low ^ name->id_low >> 32 ^ name->id_high ^ name->id_high >> 32);
		nexthop = index ? bpf_map_lookup_elem(&nexthops, &index) : NULL;
	}
	j->flow_slot = FLOW_NO_SLOT;
	if (!nexthop || (nexthop->kind != NH_LAN && nexthop->kind != NH_PEER))
		return nexthop;
	j->flow_slot = flow_enter(name, now, index, epoch, policy_of(nexthop));
	if (j->flow_slot == FLOW_FULL)
		count(COUNT_FLOW_FULL);
	if (j->flow_slot == FLOW_BUSY)
		count(COUNT_FLOW_BUSY);
	return nexthop;
}

/* The next hop of a packet, NULL: no route. A full table never stops a packet: it is looked up again, that is all. */
static __always_inline struct nexthop *flow_nexthop(struct journey *j, const struct node_config *config)
{
	__u32 zero = 0, epoch, index;
	struct flow_config *table = bpf_map_lookup_elem(&flow_config, &zero);
	struct flow_name name;
	struct flow *flow;
	__u16 now;

	if (!table)
		return NULL;
	now = flow_tick(table);
	flow_name(&name, &j->key, j->family, table);
	flow = flow_find(&name, &j->flow_slot);
	if (!flow)
		return flow_first(j, &name, config, now);
	epoch = READ_ONCE(flow->route_epoch);
	index = READ_ONCE(flow->nexthop);
	if (!flow_is(flow, &name) || epoch != config->route_epoch)
		return flow_first(j, &name, config, now);
	count(COUNT_FLOW_HIT);
	flow_touch(flow, j, now);
	return bpf_map_lookup_elem(&nexthops, &index);
}

#endif
