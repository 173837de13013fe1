/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet into a service instance.
 *
 *   adapter -+- alive, of the packet's tenant, secure as it is -> size, MSS -> Ethernet: to the instance's MAC | IPIP, Geneve: tunnel.h
 *            +- dead: stateless, or a connection that begins: another adapter of the pool
 *                     else: DROP_INSTANCE_LOST, and the sender of TCP gets a reset
 *
 * The TTL stays as it is: instances are no hops, and what leaves the chain pays for all of it.
 */
#ifndef BRANCHLINE_SERVICE_H
#define BRANCHLINE_SERVICE_H

#include "clock.h"
#include "flow.h"
#include "mss.h"
#include "tunnel.h"

static __always_inline int refuse(struct journey *j, enum drop_reason reason, enum answer answer)
{
	j->answer = answer;
	return DROP(reason);
}

static __always_inline void traffic_to(__u32 index, __u32 bytes)
{
	struct adapter_traffic *traffic = bpf_map_lookup_elem(&adapter_traffic, &index);

	count(COUNT_TO_SERVICE);
	if (!traffic)
		return;
	traffic->to_packets += 1;
	traffic->to_bytes += bytes;
}

static __always_inline void traffic_from(__u32 index, __u32 bytes)
{
	struct adapter_traffic *traffic = bpf_map_lookup_elem(&adapter_traffic, &index);
	__u64 jiffies = bpf_jiffies64();

	count(COUNT_FROM_SERVICE);
	if (!traffic)
		return;
	traffic->from_packets += 1;
	traffic->from_bytes += bytes;
	/* Reading the clock costs as much as all the rest here. */
	if (traffic->seen_jiffies == jiffies)
		return;
	traffic->seen_jiffies = jiffies;
	traffic->seen_ns = clock_coarse();
}

#define MEND_STATELESS 0x20000
#define MEND_BEGINS 0x10000

/* Which pool has another adapter for a flow whose own died, and MEND_*; DROP(): none may take it. */
static __always_inline int mend_pool(struct journey *j, __u32 dead, __u32 *place)
{
	struct adapter *adapter = bpf_map_lookup_elem(&adapters, &dead);
	__u32 id = adapter ? adapter->chain : 0, hop = adapter ? adapter->hop : 0;
	struct chain *chain = bpf_map_lookup_elem(&chains, &id);
	struct flow *flow = flow_at(j->flow_slot);
	bool begins;

	if (!adapter || adapter->kind == ADAPTER_NONE || !chain || hop >= CHAIN_HOPS || !flow)
		return chain_lost(j);
	*place = id << 8 | hop;
	if (chain->hop_flags[hop] & HOP_F_STATELESS)
		return chain->pools[hop] | MEND_STATELESS;
	begins = !(flow->step & STEP_ANSWER) &&
		 (j->key.proto == IPPROTO_TCP ? (j->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN : flow->state == FLOW_CLOSED);
	if (begins)
		return chain->pools[hop] | MEND_BEGINS;
	/* Told once: from the next packet on it is a new one. */
	if (j->key.proto != IPPROTO_TCP)
		flow->state = FLOW_CLOSED;
	return chain_lost(j);
}

/* The flow, from now on into adapter `index`. `begins`: what it went on to is another connection's. */
__noinline int mend_link(struct journey *j __nonnull, __u32 index, bool outside, bool begins)
{
	__u32 zero = 0, slot, step;
	struct flow_config *config = bpf_map_lookup_elem(&flow_config, &zero);
	struct flow *flow = flow_at(j->flow_slot), *onward;
	struct adapter *adapter = adapter_of(index);
	__u32 there, vrf = j->key.vrf;
	struct flow_name name;

	if (!config || !flow || !adapter)
		return chain_lost(j);
	if (begins) {
		flow->state = FLOW_NEW;
		j->key.vrf = adapter->vrf_stage;
		flow_name(&name, &j->key, j->family, config);
		j->key.vrf = vrf;
		onward = flow_find(&name, &slot);
		if (onward)
			flow_forget(onward);
	}
	flow_name(&name, &j->key, j->family, config);
	if (!flow_is(flow, &name))
		return chain_lost(j);
	step = flow->step;
	there = outside ? adapter->nexthop_outside : adapter->nexthop_inside;
	flow_enter(&name, flow_tick(config), DECISION(there, step), flow->route_epoch, flow->policy_version);
	if (step & STEP_COUNTED)
		instance_opened(adapter);
	return index;
}

/*
 * Of a flow whose adapter died: the adapter that has it from now on, or DROP(). Without state any will do, if only both directions choose alike; else
 * a connection that begins may have another.
 */
static __always_inline int chain_mend(struct journey *j, __u32 dead, bool outside)
{
	__u32 place = 0, index;
	int pool = mend_pool(j, dead, &place);

	if (IS_DROP(pool))
		return pool;
	index = pool_member(j, pool & 0xffff, place, pool & MEND_STATELESS);
	if (!index)
		return refuse(j, DROP_NO_INSTANCE, ANSWER_UNREACHABLE);
	return mend_link(j, index, outside, pool & MEND_BEGINS);
}

static __always_inline int to_ethernet(struct __sk_buff *skb, const struct adapter *adapter, __u32 index, bool outside)
{
	const __u8 *mac = outside ? adapter->outside_mac : adapter->inside_mac;
	struct ethhdr *eth = reach(skb, 0, sizeof(*eth));

	if (!eth)
		return DROP(DROP_REWRITE);
	__builtin_memcpy(eth->h_dest, mac, ETH_ALEN);
	/* Locally administered, and the same for all packets of this arm: what an instance that answers frames may learn. */
	eth->h_source[0] = 2;
	eth->h_source[1] = 'b';
	eth->h_source[2] = 'l';
	eth->h_source[3] = outside;
	eth->h_source[4] = index >> 8;
	eth->h_source[5] = index;
	eth->h_proto = skb->protocol;
	skb->mark = 0;
	return bpf_redirect(outside ? adapter->outside_ifindex : adapter->inside_ifindex, 0);
}

/* By its kind. */
static __always_inline int hand_to_instance(struct __sk_buff *skb, const struct journey *j, __u32 index, bool outside)
{
	struct adapter *adapter = adapter_of(index);

	if (!adapter)
		return DROP(DROP_NO_CHAIN);
	traffic_to(index, j->length);
	if (adapter->kind != ADAPTER_ETHERNET)
		return to_tunnel(skb, j, index);
	return to_ethernet(skb, adapter, index, outside);
}

/* For what answers a packet that came out of the adapter. */
__noinline int into_adapter(struct __sk_buff *skb, const struct journey *j __nonnull, __u32 index, bool outside)
{
	return hand_to_instance(skb, j, index, outside);
}

/* `flags`: of the next hop. */
__noinline int to_service(struct __sk_buff *skb, struct journey *j __nonnull, __u32 index, __u32 flags)
{
	struct adapter *adapter = adapter_of(index);
	int result = GO_ON;
	bool secure;

	if (!adapter || adapter->flags & ADAPTER_F_DEAD) {
		result = chain_mend(j, index, flags & NH_F_OUTSIDE);
		if (IS_DROP(result))
			return result;
		index = result;
		result = GO_ON;
		adapter = adapter_of(index);
		if (!adapter)
			return chain_lost(j);
	}
	/* A flow that outlived its next hop must not lead to the next tenant's. What comes from outside all VRFs has none. */
	if (VRF_OF(adapter->vrf_stage) != VRF_OF(j->key.vrf) && j->key.vrf != VRF_UPSTREAM)
		return DROP(DROP_NO_CHAIN);
	secure = adapter->flags & ADAPTER_F_SECURE;
	if (j->origin == (secure ? FROM_PEER_CLEAR : FROM_PEER_SECURE))
		return DROP(secure ? DROP_CLEAR_ON_SECURE : DROP_SECURE_ON_CLEAR);
	if (j->segment > adapter->mtu) {
		j->answer_mtu = adapter->mtu;
		return refuse(j, DROP_TOO_BIG, ANSWER_TOO_BIG);
	}
	if (is_syn(j))
		result = mss_clamp(skb, j, adapter->mtu);
	return result == GO_ON ? hand_to_instance(skb, j, index, flags & NH_F_OUTSIDE) : result;
}

#endif
