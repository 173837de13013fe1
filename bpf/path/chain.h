/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What becomes of the first packet of a flow in each stage of a service chain; all others find it in the flow table. The flow table does the steering:
 *
 *   stage 0 (outside)      stage of hop 0              stage of the last hop
 *   T  --> adapter a ====> T'  --> adapter b ====> ... T" --> peer, LAN or upstream
 *   host <-- routes        a's outside arm <-- rev T'      b's outside arm <-- rev T"   (in stage 0 of where T" went)
 *
 * Each arrow is a flow entry, and flow_link writes both of a line at once: so answers walk back through the same instances, also when one of them
 * rewrote addresses and ports. A connection that a rule sends in from the chain's end is the same with the arms exchanged.
 */
#ifndef BRANCHLINE_CHAIN_H
#define BRANCHLINE_CHAIN_H

#include "fib.h"
#include "nexthop-set.h"
#include "policy.h"
#include "pool.h"
#include "session.h"

/* The VRF in whose stage 0 the answers arrive of what leaves by this next hop. */
static __always_inline __u32 answers_in(const struct nexthop *nexthop, __u32 vrf)
{
	struct port *port = nexthop && nexthop->kind == NH_LAN ? port_of(nexthop->target) : NULL;

	return port && port->vrf == VRF_UPSTREAM ? VRF_UPSTREAM : VRF_OF(vrf);
}

/* What routes say of the packet: index into nexthops, of no set; 0: nothing. */
__noinline __u32 route_index(const struct journey *j __nonnull)
{
	__u32 index = fib_lookup(VRF_OF(j->key.vrf), j->family, j->key.dst);
	struct nexthop *nexthop = index ? bpf_map_lookup_elem(&nexthops, &index) : NULL;

	if (!nexthop || nexthop->kind != NH_SET)
		return index;
	return nexthop_member(nexthop->target, flow_both_ways(j, nexthop->target));
}

/* Whether the tuple's answers in VRF_UPSTREAM are another tenant's: without address translation two may use one tuple. */
static __always_inline bool taken_upstream(const struct flow_name *name, __u32 vrf)
{
	struct nexthop *nexthop;
	struct adapter *adapter;
	struct flow *flow;
	__u32 slot, index;

	flow = flow_find(name, &slot);
	index = flow ? flow->nexthop : 0;
	nexthop = index ? bpf_map_lookup_elem(&nexthops, &index) : NULL;
	adapter = nexthop && nexthop->kind == NH_ADAPTER ? adapter_of(nexthop->target) : NULL;
	return adapter && VRF_OF(adapter->vrf_stage) != VRF_OF(vrf);
}

/*
 * Enters what is known of a tuple, a DECISION(): the packet's own, or with `other` that of its answers, which come by in stage `other`. Answers without a
 * next hop go where routes will say. Half a link would take packets past the chain: so what cannot be remembered is dropped.
 */
__noinline int flow_link(struct journey *j __nonnull, __u32 decision, __u32 other)
{
	__u32 zero = 0, slot, epoch;
	struct flow_config *config = bpf_map_lookup_elem(&flow_config, &zero);
	struct policy *policy = policy_of_vrf(VRF_OF(j->key.vrf));
	struct node_config *node = node_config();
	struct flow_name name;

	if (!config || !node)
		return DROP(DROP_NOT_LINKED);
	if (other) {
		struct flow_key key;

		flow_reverse(&key, &j->key);
		key.vrf = other;
		flow_name(&name, &key, j->family, config);
		if (other == VRF_UPSTREAM && taken_upstream(&name, j->key.vrf))
			return DROP(DROP_INNER_SPOOFED);
	} else {
		flow_name(&name, &j->key, j->family, config);
	}
	epoch = READ_ONCE(node->route_epoch);
	slot = flow_enter(&name, flow_tick(config), decision, decision & 0xffff ? epoch : epoch - 1, policy ? policy->version : 0);
	if (!IS_FLOW_SLOT(slot)) {
		count(slot == FLOW_FULL ? COUNT_FLOW_FULL : COUNT_FLOW_BUSY);
		return DROP(DROP_NOT_LINKED);
	}
	if (!other)
		j->flow_slot = slot;
	return GO_ON;
}

static __always_inline void instance_opened(const struct adapter *adapter)
{
	__u32 index = adapter->instance;
	struct instance_state *state = bpf_map_lookup_elem(&instance_state, &index);

	if (!state)
		return;
	__sync_fetch_and_add(&state->connections, 1);
	__sync_fetch_and_add(&state->opened, 1);
}

/* Next hop back into the adapter that the packet came out of; 0: it comes from outside, where routes lead back. */
static __always_inline __u32 way_back(const struct journey *j, __u8 backwards)
{
	struct adapter *adapter = adapter_of(j->adapter);

	if (!adapter)
		return 0;
	return backwards ? adapter->nexthop_inside : adapter->nexthop_outside;
}

/* A place in a chain: where to go on, and which way. A hop below 0 is above all hops. */
#define PLACE(chain, hop, backwards) ((__u32)(chain) << 16 | ((hop) & 0xff) << 8 | (backwards))
#define PLACE_CHAIN(place) ((place) >> 16)
#define PLACE_HOP(place) ((place) >> 8 & 0xff)
#define PLACE_WAY(place) ((__u8)((place) & STEP_BACKWARDS))

/* From a place on to the first function that somebody does: the adapter, DROP(), or 0: the chain is at its end. */
__noinline int chain_walk(struct journey *j __nonnull, __u32 place)
{
	__u32 id = PLACE_CHAIN(place), hop = PLACE_HOP(place), adapter;
	struct chain *chain = bpf_map_lookup_elem(&chains, &id);

	if (!chain || !chain->vrf || chain->vrf != VRF_OF(j->key.vrf))
		return DROP(DROP_NO_CHAIN);
	for (int i = 0; i < CHAIN_HOPS && hop < chain->hops; i++) {
		adapter = pool_member(j, chain->pools[hop % CHAIN_HOPS], id << 8 | hop, false);
		if (adapter)
			return adapter;
		if (!(chain->hop_flags[hop % CHAIN_HOPS] & HOP_F_FAIL_OPEN)) {
			j->answer = ANSWER_UNREACHABLE;
			return DROP(DROP_NO_INSTANCE);
		}
		count(COUNT_HOP_SKIPPED);
		hop += PLACE_WAY(place) ? -1 : 1;
	}
	return 0;
}

/* The flow of the other direction in stage `vrf`; NULL: there is none. */
static __always_inline struct flow *flow_other(const struct journey *j, const struct flow_config *config, __u32 vrf)
{
	struct flow_key key;
	struct flow_name name;
	__u32 slot;

	flow_reverse(&key, &j->key);
	key.vrf = vrf;
	flow_name(&name, &key, j->family, config);
	return flow_find(&name, &slot);
}

/* STEP_* of the other direction in this stage; 0x100 with them: it is known. */
#define OTHER_KNOWN 0x100
__noinline __u32 other_step(struct journey *j __nonnull, bool forget)
{
	__u32 zero = 0;
	struct flow_config *config = bpf_map_lookup_elem(&flow_config, &zero);
	struct flow *other = config ? flow_other(j, config, j->key.vrf) : NULL;

	if (!other)
		return 0;
	zero = other->step | OTHER_KNOWN;
	if (forget)
		flow_forget(other);
	return zero;
}

/* Where a flow from outside begins, by what policy says; DROP(), or 0: it is not steered. `known`: it was under a former policy. */
static __always_inline int place_first(struct journey *j, bool known)
{
	__u32 other = other_step(j, false), rule, id;
	bool secure, reverse;
	struct chain *chain;

	/* Policy was asked when the connection began. */
	if (other && !known && !(other & (STEP_STEERED | STEP_ANSWER))) {
		j->step = STEP_ANSWER;
		return 0;
	}
	rule = policy_decide(j);
	id = rule & 0xffff;
	if (!id) {
		if (other & STEP_STEERED)
			other_step(j, true);
		return 0;
	}
	chain = bpf_map_lookup_elem(&chains, &id);
	if (!chain)
		return DROP(DROP_NO_CHAIN);
	secure = chain->flags & CHAIN_F_SECURE;
	if (j->origin == (secure ? FROM_PEER_CLEAR : FROM_PEER_SECURE))
		return DROP(DROP_NO_CHAIN);
	reverse = rule >> 16 & RULE_F_REVERSE;
	return PLACE(id, reverse ? chain->hops - 1 : 0, reverse ? STEP_BACKWARDS : 0);
}

/* Behind an adapter. */
static __always_inline int place_onward(struct journey *j)
{
	struct adapter *adapter = adapter_of(j->adapter);
	__u8 backwards = j->arm == ARM_INSIDE ? STEP_BACKWARDS : 0;
	__u32 other;

	if (!adapter)
		return DROP(DROP_NO_ADAPTER);
	/* One arm does not tell the way; the answers that the link into the adapter entered do, where the instance left the tuple alone. */
	if (j->arm == ARM_ONLY) {
		other = other_step(j, false);
		backwards = other & STEP_ANSWER ? other & STEP_BACKWARDS : 0;
	}
	return PLACE(adapter->chain, adapter->hop + (backwards ? -1 : 1), backwards);
}

static __always_inline int chain_lost(struct journey *j)
{
	j->answer = j->key.proto == IPPROTO_TCP ? ANSWER_RESET : ANSWER_UNREACHABLE;
	return DROP(DROP_INSTANCE_LOST);
}

/* Steered under a policy older than what the present one leaves alone. Stages of a chain follow their connection. */
static __always_inline bool outdated(const struct journey *j, const struct flow *flow)
{
	struct policy *policy = j->key.vrf >> STAGE_SHIFT ? NULL : policy_of_vrf(j->key.vrf);

	return policy && flow->policy_version < policy->oldest && !(flow->step & STEP_ANSWER);
}

/* chain_known: no next hop, but to be decided. */
#define DECIDE_NEW 0x10000
#define DECIDE_ANEW 0x10001
#define DECIDE_ROUTE 0x10002 /* steered, and out of the chain */

/* What the flow table says of a flow from before routes changed, or not at all: only what leads out of a chain depends on routes. */
__noinline int chain_known(struct journey *j __nonnull)
{
	__u32 zero = 0, slot = FLOW_NO_SLOT, index;
	struct flow_config *config = bpf_map_lookup_elem(&flow_config, &zero);
	struct node_config *node = node_config();
	struct nexthop *nexthop;
	struct flow_name name;
	struct flow *flow;

	if (!config || !node)
		return DROP(DROP_NO_CHAIN);
	flow_name(&name, &j->key, j->family, config);
	flow = flow_find(&name, &slot);
	j->flow_slot = slot;
	if (!flow)
		return DECIDE_NEW;
	if (outdated(j, flow))
		return DECIDE_ANEW;
	j->step = flow->step;
	if (!(flow->step & STEP_STEERED))
		return j->adapter ? DECIDE_NEW : 0;
	if (flow->step & STEP_LAST)
		return DECIDE_ROUTE;
	index = flow->nexthop;
	nexthop = bpf_map_lookup_elem(&nexthops, &index);
	if (!nexthop || nexthop->kind != NH_ADAPTER)
		return chain_lost(j);
	flow->route_epoch = node->route_epoch;
	return index;
}

/* Enters a flow that leaves its chain by next hop `index`. `back`: where answers go; 0: they were entered before. */
static __always_inline int link_last(struct journey *j, __u32 index, __u32 step, __u32 back)
{
	struct nexthop *nexthop = index ? bpf_map_lookup_elem(&nexthops, &index) : NULL;
	int result = GO_ON;

	if (!nexthop || (nexthop->kind != NH_LAN && nexthop->kind != NH_PEER))
		return index;
	if (back)
		result = flow_link(j, back, answers_in(nexthop, j->key.vrf));
	if (result == GO_ON)
		result = flow_link(j, DECISION(index, step | STEP_STEERED | STEP_LAST), 0);
	return result == GO_ON ? (int)index : result;
}

/* Into an adapter. */
static __always_inline int link_adapter(struct journey *j, __u32 index, __u8 backwards, __u32 back)
{
	struct adapter *adapter = adapter_of(index);
	__u32 there;
	int result;

	if (!adapter)
		return DROP(DROP_NO_CHAIN);
	there = backwards ? adapter->nexthop_outside : adapter->nexthop_inside;
	result = flow_link(j, back & 0xffff ? back : back | DECISION(0, STEP_LAST), adapter->vrf_stage);
	if (result == GO_ON)
		result = flow_link(j, DECISION(there, STEP_STEERED | STEP_COUNTED | backwards), 0);
	if (result != GO_ON)
		return result;
	instance_opened(adapter);
	return there;
}

/*
 * For flow_first: a packet whose flow is not known, or from before routes changed, where policy or an instance has a say. Returns the index of its next
 * hop, DROP(), or 0: what routes say, with j->step.
 */
__noinline int chain_decide(struct journey *j __nonnull)
{
	int result = chain_known(j), place;
	__u32 back;

	if (result == DECIDE_ROUTE)
		return link_last(j, route_index(j), j->step, 0);
	if (result != DECIDE_NEW && result != DECIDE_ANEW)
		return result;
	j->step = 0;
	place = j->adapter ? place_onward(j) : place_first(j, result == DECIDE_ANEW);
	if (place <= 0)
		return place;
	result = chain_walk(j, place);
	if (IS_DROP(result))
		return result;
	back = DECISION(way_back(j, PLACE_WAY(place)), STEP_STEERED | STEP_ANSWER | STEP_UNSEEN | PLACE_WAY(place));
	if (!result)
		return j->adapter ? link_last(j, route_index(j), PLACE_WAY(place), back) : 0;
	if (!j->adapter)
		count(COUNT_STEERED);
	return link_adapter(j, result, PLACE_WAY(place), back);
}

#endif
