// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The product's own LAN and service programs on packets of many flows, as the port's VRF and the device's adapter make of them:
 *
 *   enter:    rewrite -> lan.bpf.c: parse, port, flow -> host, or service instance
 *   onward:   rewrite -> service.bpf.c: adapter, parse, flow -> host, or the next instance
 *   begin:    enter, each time of the next flow
 */
#include "bench.h"
#define LICENSE LICENSE_LAN
#include "../lan.bpf.c"
#undef LICENSE
#include "../service.bpf.c"

struct plan {
	__u32 mask; /* flows: one less than their number, a power of two */
	__u32 next; /* the first flow that was not sent yet */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plan SEC(".maps");

/* The packet of flow number `flow`: source address and port name it. */
static __always_inline bool become(struct __sk_buff *skb, __u32 flow)
{
	struct { struct iphdr ip; struct udphdr udp; } *packet = reach(skb, L3, sizeof(*packet));

	if (!packet)
		return false;
	packet->ip.ttl = 64;
	packet->ip.saddr = bpf_htonl(0x0a010000 | (flow & 0xffff));
	packet->udp.source = bpf_htons(1024 + (flow >> 16));
	return true;
}

static __always_inline bool become_random(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct cursor *at = cursor_here();
	struct plan *plan_here = bpf_map_lookup_elem(&plan, &zero);

	return at && plan_here && become(skb, cursor_next(&at->state) & plan_here->mask);
}

static __always_inline int passed(int verdict)
{
	return verdict == TC_ACT_REDIRECT ? TC_ACT_OK : TC_ACT_SHOT;
}

SEC("tc")
int enter(struct __sk_buff *skb)
{
	return become_random(skb) ? passed(lan(skb)) : TC_ACT_SHOT;
}

SEC("tc")
int onward(struct __sk_buff *skb)
{
	return become_random(skb) ? passed(service(skb)) : TC_ACT_SHOT;
}

SEC("tc")
int begin(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct plan *plan_here = bpf_map_lookup_elem(&plan, &zero);

	return plan_here && become(skb, plan_here->next++) ? passed(lan(skb)) : TC_ACT_SHOT;
}

SEC("tc")
int begin_onward(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct plan *plan_here = bpf_map_lookup_elem(&plan, &zero);

	return plan_here && become(skb, plan_here->next++) ? passed(service(skb)) : TC_ACT_SHOT;
}
