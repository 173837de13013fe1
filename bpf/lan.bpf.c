// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * LAN device, tc ingress: hosts' packets come in.
 *
 *   not IP, not for us, link scope, neighbours: the stack -> port -> VRF -> parse -> route.h (came from the LAN)
 */
#include "maps.h"
#include "path/drop.h"
#include "path/parse.h"
#include "path/route.h"
#include "path/icmp.h"

static __always_inline int from_host(struct __sk_buff *skb, struct journey *j)
{
	struct port *port;
	int result;

	result = parse(skb, j);
	if (result != GO_ON)
		return result;
	if (is_link_scope(j) || is_neighbour_discovery(j))
		return TCX_NEXT;
	port = port_of(skb->ifindex);
	/* VRF 0 is none: a port between two tenants carries nobody's packets. */
	if (!port || !port->vrf)
		return DROP(DROP_NO_VRF);
	j->origin = FROM_LAN;
	j->key.vrf = port->vrf;
	count(COUNT_LAN_IN);
	return route(skb, j);
}

static __always_inline int lan(struct __sk_buff *skb)
{
	struct journey j = {};
	int result;

	/* A VLAN's packets belong to the VLAN's own device, where they arrive untagged. */
	if (skb->pkt_type != HOST_FRAME || skb->vlan_present || !is_ip(ethertype_of(skb)))
		return TCX_NEXT;
	result = from_host(skb, &j);
	return IS_DROP(result) ? answer(skb, &j, finish(skb, result, 0)) : result;
}

SEC("tc")
int lan_ingress(struct __sk_buff *skb)
{
	return lan(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
