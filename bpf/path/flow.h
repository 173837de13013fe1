/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The flow table: the decision of a flow's first packet, kept until routes change. Only this file knows the data structure. */
#ifndef BRANCHLINE_FLOW_H
#define BRANCHLINE_FLOW_H

#include "../maps.h"
#include "clock.h"
#include "drop.h"
#include "fib.h"

/*
 * The next hop of a packet, NULL: no route. Only flows that go somewhere are remembered, so a scan of unreachable addresses
 * evicts nobody. A full table never stops a packet: it is merely looked up again.
 */
static __always_inline struct nexthop *flow_nexthop(struct journey *j, const struct node_config *config)
{
	struct flow *known = bpf_map_lookup_elem(&flows, &j->key);
	struct nexthop *nexthop;
	__u64 now = clock_coarse();
	__u32 *index;

	if (known && known->route_epoch == config->route_epoch) {
		count(COUNT_FLOW_HIT);
		index = &known->nexthop;
	} else {
		index = fib_lookup(j->key.vrf, j->family, j->key.dst);
		if (!index)
			return NULL;
	}
	nexthop = bpf_map_lookup_elem(&nexthops, index);
	if (!nexthop || (nexthop->kind != NH_LAN && nexthop->kind != NH_PEER))
		return nexthop;
	if (!known) {
		struct flow flow = { .nexthop = *index, .route_epoch = config->route_epoch, .packets = 1, .bytes = j->length, .last_ns = now };

		count(COUNT_FLOW_NEW);
		bpf_map_update_elem(&flows, &j->key, &flow, BPF_ANY);
		return nexthop;
	}
	if (index != &known->nexthop) {
		known->nexthop = *index;
		known->route_epoch = config->route_epoch;
	}
	/* A flow stays on one CPU where order matters; two that race lose a count, not a packet. */
	known->packets += 1;
	known->bytes += j->length;
	known->last_ns = now;
	return nexthop;
}

#endif
