// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Devices that service instances send on, tc ingress: what came out of them goes on along its chain.
 */
#include "maps.h"
#include "path/drop.h"
#include "path/parse.h"

static __always_inline int from_service(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;

	if (skb->pkt_type != HOST_FRAME || skb->vlan_present || !is_ip(ethertype_of(skb)))
		return TCX_NEXT;
	return bpf_map_lookup_elem(&adapter_ports, &ifindex) ? DROP(DROP_NO_CHAIN) : DROP(DROP_NO_ADAPTER);
}

SEC("tc")
int service_ingress(struct __sk_buff *skb)
{
	return finish(skb, from_service(skb), 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
