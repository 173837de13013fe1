/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flows: the decision of a flow's first packet, kept until routes change.
 *
 *   name -> find -+- known, routes unchanged: its next hop ------ touch, settle
 *                 +- else: chain.h, where policy or an instance has a say -- link
 *                 +- else: FIB ---------------------------------- enter
 */
#ifndef BRANCHLINE_FLOW_H
#define BRANCHLINE_FLOW_H

#include "chain.h"

/* Is the other direction in the table? */
static __always_inline bool flow_answered(const struct journey *j, const struct flow_config *config)
{
	return flow_other(j, config, j->key.vrf) != NULL;
}

/* Of a steered flow: where the other direction of this stage's packets comes by. */
static __always_inline __u32 other_stage(const struct journey *j, const struct flow *flow)
{
	__u32 index = flow->nexthop;
	struct nexthop *nexthop = bpf_map_lookup_elem(&nexthops, &index);
	struct adapter *adapter = nexthop && nexthop->kind == NH_ADAPTER ? adapter_of(nexthop->target) : NULL;

	return adapter ? adapter->vrf_stage : answers_in(nexthop, j->key.vrf);
}

/*
 * Of a steered flow. Both directions were entered at once, so they live and end together, and the other counts as an answer when a packet of it has
 * come. Returns whether one has.
 */
static __always_inline bool flow_together(const struct journey *j, const struct flow_config *config, struct flow *flow)
{
	struct flow *other = flow_other(j, config, other_stage(j, flow));

	if (flow->state == FLOW_CLOSED && flow->step & STEP_COUNTED)
		flow_uncount(flow);
	if (!other)
		return false;
	other->seen = flow->seen;
	if (j->tcp_flags & TCP_RST) {
		other->state = FLOW_CLOSED;
		if (other->step & STEP_COUNTED)
			flow_uncount(other);
	}
	return other->packets;
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
	bool tcp = j->key.proto == IPPROTO_TCP, answered;
	bool says_so = !tcp || (j->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_ACK;

	if (!config || !flow)
		return 0;
	if (flow->step & STEP_STEERED)
		answered = flow_together(j, config, flow);
	else if (flow->state != FLOW_NEW)
		return 0;
	else
		answered = says_so && flow_answered(j, config);
	if (flow->state == FLOW_NEW && (flow->packets >= FLOW_MANY || (says_so && answered)))
		flow->state = tcp ? FLOW_CONNECTED : FLOW_ANSWERED;
	return 0;
}

/* A packet of a known flow went by. Here CPUs may race: a count may be lost or land on the slot's next flow, but never a decision. */
static __always_inline void flow_touch(struct flow *flow, struct journey *j, __u16 now)
{
	__u8 packets = flow->packets, steered = flow->step & STEP_STEERED, settle = 0;

	if (flow->seen != now) {
		/* The other direction is kept along, but not once a second: that costs its cache misses. Often enough for every FLOW_LIFE. */
		settle = steered && (flow->seen ^ now) & ~7;
		flow->seen = now;
	}
	if (j->tcp_flags & (TCP_FIN | TCP_RST)) {
		flow->state = FLOW_CLOSED;
		settle = steered;
	} else if (j->tcp_flags & TCP_SYN && flow->state == FLOW_CLOSED) {
		flow->state = FLOW_NEW;
		packets = 0;
	}
	if (packets != 0xff) {
		flow->packets = ++packets;
		settle |= TIME_TO_SETTLE(packets);
	}
	if (settle)
		flow_settle(j);
}

static __always_inline __u32 policy_of(const struct nexthop *nexthop)
{
	struct peer *peer = nexthop->kind == NH_PEER ? peer_of(nexthop->target) : NULL;

	return peer ? peer->policy_version : 0;
}

#define FLOW_PASS 0x30000 /* no verdict: with `steer` false, service chains have a say */

/*
 * Of a flow that is not known, or from before routes changed: `step` is what is known of it. Only what goes somewhere is remembered: a scan of dead
 * addresses takes no slot.
 */
static __always_inline int flow_first(struct journey *j, struct flow_name *name, const struct node_config *config, __u16 now, __u8 step,
				      bool steer, struct nexthop **to)
{
	/* Read first: a route that changes meanwhile makes this decision an old one. */
	__u32 epoch = READ_ONCE(config->route_epoch), vrf = VRF_OF(j->key.vrf), index;
	struct policy *policy = policy_of_vrf(vrf);
	struct nexthop *nexthop;

	if (policy || j->adapter || step) {
		int result = steer ? chain_decide(j) : FLOW_PASS;

		if (IS_DROP(result) || result == FLOW_PASS)
			return result;
		if (result) {
			struct flow *flow = step & STEP_STEERED ? flow_at(j->flow_slot) : NULL;

			if (flow)
				flow_touch(flow, j, now);
			index = result;
			*to = bpf_map_lookup_elem(&nexthops, &index);
			return GO_ON;
		}
	}
	index = fib_lookup(vrf, j->family, j->key.dst);
	nexthop = index ? bpf_map_lookup_elem(&nexthops, &index) : NULL;
	if (nexthop && nexthop->kind == NH_SET) {
		index = nexthop_member(nexthop->target, name->id_low ^ name->id_low >> 32 ^ name->id_high ^ name->id_high >> 32);
		nexthop = index ? bpf_map_lookup_elem(&nexthops, &index) : NULL;
	}
	*to = nexthop;
	j->flow_slot = FLOW_NO_SLOT;
	if (!nexthop || (nexthop->kind != NH_LAN && nexthop->kind != NH_PEER))
		return GO_ON;
	/* Not allowed now, but maybe under the next policy. */
	if (nexthop->flags & NH_F_CHAINED && !j->adapter)
		return GO_ON;
	j->flow_slot = flow_enter(name, now, DECISION(index, j->step), epoch, policy ? policy->version : policy_of(nexthop));
	if (j->flow_slot == FLOW_FULL)
		count(COUNT_FLOW_FULL);
	if (j->flow_slot == FLOW_BUSY)
		count(COUNT_FLOW_BUSY);
	return GO_ON;
}

/*
 * The next hop of a packet into `to`, NULL: no route. A full table never stops a packet outside of service chains: it is looked up again, that is all.
 * `steer`: a constant; without it what concerns chains is FLOW_PASS, and nothing was entered.
 */
static __always_inline int flow_nexthop(struct journey *j, const struct node_config *config, bool steer, struct nexthop **to)
{
	__u32 zero = 0, epoch, index;
	struct flow_config *table = bpf_map_lookup_elem(&flow_config, &zero);
	struct flow_name name;
	struct flow *flow;
	__u16 now;

	*to = NULL;
	if (!table)
		return GO_ON;
	now = flow_tick(table);
	flow_name(&name, &j->key, j->family, table);
	flow = flow_find(&name, &j->flow_slot);
	if (!flow)
		return flow_first(j, &name, config, now, 0, steer, to);
	epoch = READ_ONCE(flow->route_epoch);
	index = READ_ONCE(flow->nexthop);
	if (!flow_is(flow, &name) || epoch != config->route_epoch)
		return flow_first(j, &name, config, now, flow->step, steer, to);
	count(COUNT_FLOW_HIT);
	flow_touch(flow, j, now);
	*to = bpf_map_lookup_elem(&nexthops, &index);
	return GO_ON;
}

#endif
