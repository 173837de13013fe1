/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Counters, events, and the one exit at which a packet is dropped. */
#ifndef BRANCHLINE_DROP_H
#define BRANCHLINE_DROP_H

#include "../maps.h"
#include "clock.h"
#include "journey.h"

static __always_inline void count(enum counter counter)
{
	__u32 index = counter;
	__u64 *value = bpf_map_lookup_elem(&counters, &index);

	if (value)
		*value += 1;
}

static __always_inline void count_drop(enum drop_reason reason)
{
	__u32 index = reason;
	__u64 *value = bpf_map_lookup_elem(&drops, &index);

	if (value)
		*value += 1;
}

/* This CPU's limiter state; NULL never happens, the verifier just cannot know. */
static __always_inline struct pace *pace_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pace, &zero);
}

/* Takes this CPU's turn for one event of a type: at most one in node.event_interval_ns. */
static __always_inline bool event_turn(enum event_type type)
{
	__u32 zero = 0;
	struct node_config *config = bpf_map_lookup_elem(&node, &zero);
	struct pace *here = pace_here();
	__u64 now;

	if (!config || !here || type >= EVENT_TYPES)
		return false;
	now = clock_coarse();
	if (here->event_ns[type] && now - here->event_ns[type] < config->event_interval_ns)
		return false;
	here->event_ns[type] = now;
	return true;
}

/* Room for an event of a path; NULL when it is not this type's turn or the ring is full. */
static __always_inline struct event *event_of_path(enum event_type type, __u32 handle)
{
	struct event *event;

	if (!event_turn(type))
		return NULL;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return NULL;
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = clock_precise();
	event->type = type;
	event->handle = handle;
	return event;
}

/* The same of a packet: with the parts filled in that every type has. */
static __always_inline struct event *event_begin(struct __sk_buff *skb, enum event_type type, __u32 handle)
{
	struct event *event = event_of_path(type, handle);
	__u32 length;

	if (!event)
		return NULL;
	event->ifindex = skb->ifindex;
	event->length = skb->len;
	length = skb->len > ETH_HLEN ? skb->len - ETH_HLEN : 0;
	if (length >= EVENT_HEAD) {
		length = EVENT_HEAD;
		if (bpf_skb_load_bytes_relative(skb, 0, event->head, EVENT_HEAD, BPF_HDR_START_NET))
			length = 0;
	} else if (length) {
		/* The mask tells the verifier what the branch above did. */
		length = ((length - 1) & (EVENT_HEAD - 1)) + 1;
		if (bpf_skb_load_bytes_relative(skb, 0, event->head, length, BPF_HDR_START_NET))
			length = 0;
	}
	event->head_length = length;
	return event;
}

/* Returns a tc verdict: the result itself, or that of the drop, which is counted and sampled here; of what has an skb, nowhere else. */
__noinline int finish(struct __sk_buff *skb, int result, __u32 handle)
{
	struct event *event;
	__u32 reason;

	if (!IS_DROP(result))
		return result;
	reason = DROP_REASON(result);
	count_drop(reason);
	event = event_begin(skb, EVENT_DROP, handle);
	if (event) {
		event->reason = reason;
		bpf_ringbuf_submit(event, 0);
	}
	return TC_ACT_SHOT;
}

#endif
