// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Devices that service instances send on, tc ingress: what comes out of an instance goes on along its chain.
 *
 *   not IP, link scope: the stack -> device -> adapter and arm, or tunnel: unwrap.h -> parse -> route.h (in the stage of the adapter)
 *
 * The device, or the addresses and options of the tunnel, say which adapter it is, and so tenant, chain and position: never the packet inside.
 */
#include "maps.h"
#include "path/drop.h"
#include "path/parse.h"
#include "path/route.h"
#include "path/icmp.h"
#include "path/unwrap.h"

/* By an underlay that many adapters share: the packet inside, and into `w` whose it says it is. */
static __noinline int from_tunnel(struct __sk_buff *skb, struct wrapped *w)
{
	int result = unwrap_parse(skb, w);

	if (result == GO_ON)
		result = unwrap_adapter(w);
	return result == GO_ON ? unwrap_strip(skb, w) : result;
}

static __always_inline int arm_of(const struct adapter *adapter, __u32 port)
{
	if (adapter->inside_ifindex == adapter->outside_ifindex)
		return ARM_ONLY;
	return port & ADAPTER_OUTSIDE ? ARM_OUTSIDE : ARM_INSIDE;
}

/* GO_ON: to be routed. In a frame of its own: the stack below is needed where the packet is routed. */
static __noinline int from_instance(struct __sk_buff *skb, struct journey *j)
{
	__u32 ifindex = skb->ifindex, *port = bpf_map_lookup_elem(&adapter_ports, &ifindex);
	struct wrapped wrapped = {};
	struct adapter *adapter;
	int result = GO_ON;

	if (!port)
		return DROP(DROP_NO_ADAPTER);
	wrapped.adapter = *port & ~ADAPTER_OUTSIDE;
	if (*port & ADAPTER_UNDERLAY)
		result = from_tunnel(skb, &wrapped);
	if (result == GO_ON)
		result = parse(skb, j);
	if (result != GO_ON)
		return result;
	adapter = adapter_of(wrapped.adapter);
	if (!adapter)
		return DROP(DROP_NO_ADAPTER);
	/* The instance and the gateway may be each other's neighbours. */
	if (adapter->kind == ADAPTER_ETHERNET && (is_link_scope(j) || is_neighbour_discovery(j)))
		return TCX_NEXT;
	j->adapter = wrapped.adapter;
	if (wrapped.geneve && geneve_cookie(flow_both_ways(j, ADAPTER_SALT(wrapped.adapter))) != wrapped.cookie)
		return DROP(DROP_CHAIN_TAG);
	j->arm = arm_of(adapter, *port);
	j->origin = adapter->flags & ADAPTER_F_SECURE ? FROM_PEER_SECURE : FROM_PEER_CLEAR;
	j->key.vrf = adapter->vrf_stage;
	traffic_from(j->adapter, j->length);
	return GO_ON;
}

static __always_inline int service(struct __sk_buff *skb)
{
	struct journey j = {};
	int result;

	/* A bridge between two arms leaves frames addressed as they came: all but what is for many is a packet of a flow. */
	if ((skb->pkt_type != HOST_FRAME && skb->pkt_type != OTHER_HOST_FRAME) || skb->vlan_present || !is_ip(ethertype_of(skb)))
		return TCX_NEXT;
	result = from_instance(skb, &j);
	if (result == GO_ON)
		result = route(skb, &j);
	return IS_DROP(result) ? answer(skb, &j, finish(skb, result, 0)) : result;
}

SEC("tc")
int service_ingress(struct __sk_buff *skb)
{
	return service(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
