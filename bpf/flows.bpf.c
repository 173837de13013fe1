// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Frees the slots of flows that have outlived themselves. The agent runs it, a slice of the table at a time; without an agent the table
 * serves on, and new flows take such slots by themselves (flow_victim in path/flow-table.h).
 */
#include "maps.h"
#include "path/flow-table.h"

struct sweep {
	struct flow_sweep slice;
	__u16 now;
};

/* A connection whose instance is gone has nowhere to go; its next packet begins another. */
static __always_inline bool astray(const struct flow *flow)
{
	__u32 index = flow->nexthop;
	struct nexthop *nexthop;
	struct adapter *adapter;

	if (!(flow->step & STEP_STEERED) || flow->step & STEP_LAST)
		return false;
	nexthop = bpf_map_lookup_elem(&nexthops, &index);
	if (!nexthop || nexthop->kind != NH_ADAPTER)
		return true;
	index = nexthop->target;
	adapter = bpf_map_lookup_elem(&adapters, &index);
	return !adapter || adapter->kind == ADAPTER_NONE;
}

static __always_inline void sweep_slot(struct flow *flow, struct sweep *sweep)
{
	__u64 id_high = READ_ONCE(flow->id_high);

	if (!id_high || id_high == FLOW_CLAIMED)
		return;
	if ((__u16)(sweep->now - flow->seen) <= flow_life(flow->state) && !astray(flow)) {
		sweep->slice.live++;
		return;
	}
	if (flow->step & STEP_COUNTED)
		flow_uncount(flow);
	if (__sync_val_compare_and_swap(&flow->id_high, id_high, 0) == id_high)
		sweep->slice.freed++;
}

static long sweep_line(__u64 i, struct sweep *sweep)
{
	struct flow_line *line = flow_line(sweep->slice.line + i);

	if (!line)
		return 1;
	sweep_slot(&line->slots[0], sweep);
	sweep_slot(&line->slots[1], sweep);
	return 0;
}

SEC("syscall")
int flow_sweep(struct flow_sweep *slice)
{
	__u32 zero = 0;
	struct flow_config *config = bpf_map_lookup_elem(&flow_config, &zero);
	struct sweep sweep = { .slice = *slice };

	if (!config)
		return 1;
	sweep.slice.live = sweep.slice.freed = 0;
	sweep.now = flow_tick(config);
	bpf_loop(sweep.slice.lines, sweep_line, &sweep, 0);
	*slice = sweep.slice;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
