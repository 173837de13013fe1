// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The product's own LAN and WAN programs on packets of many flows. Before each run the packet becomes another flow's; after it what was put
 * in front is taken off, so that the next run finds a host's packet. The peer does the same around a bare encapsulation.
 *
 *   hit, first:      rewrite -> lan.bpf.c: parse, port, flow, peer, path, MP, next hop -> wanout.bpf.c -> undo
 *   there_and_back:  rewrite -> lan.bpf.c -> wanout.bpf.c -> wan.bpf.c: tag, window, what came by, flow, host
 */
#include "bench.h"
#define LICENSE LICENSE_LAN
#include "../lan.bpf.c"
#undef LICENSE
#define LICENSE LICENSE_WANOUT
#include "../wanout.bpf.c"
#undef LICENSE
#include "../wan.bpf.c"

#define BARE 36			     /* IPv4, UDP and an 8-byte header: what VXLAN adds behind the Ethernet header */
#define FULL (sizeof(struct outer4) + MP_HDR_LEN)

struct plan {
	__u32 mask; /* a hit's flows: one less than their number, a power of two */
	__u32 next; /* the first flow that was not sent yet */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plan SEC(".maps");

static __always_inline struct plan *plan_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&plan, &zero);
}

/* The packet of flow number `flow`: source address and port name it. TTL and checksum as a host sends them. */
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
	struct cursor *at = cursor_here();
	struct plan *plan = plan_here();

	return at && plan && become(skb, cursor_next(&at->state) & plan->mask);
}

static __always_inline bool become_next(struct __sk_buff *skb)
{
	struct plan *plan = plan_here();

	return plan && become(skb, plan->next++);
}

/* What lan.bpf.c redirects passes wanout.bpf.c. In between the kernel addresses the frames that ask for it: here to a fixed station. */
static __always_inline int out(struct __sk_buff *skb)
{
	__u32 handle;
	struct ethhdr *eth;
	int verdict = lan(skb);

	handle = skb->mark;
	if (verdict != TC_ACT_REDIRECT || !handle)
		return verdict;
	eth = reach(skb, 0, sizeof(*eth));
	if (!eth)
		return TC_ACT_SHOT;
	eth->h_dest[5] = 2;
	return depart(skb, handle) == TCX_NEXT ? verdict : TC_ACT_SHOT;
}

static __always_inline int undo(struct __sk_buff *skb, int verdict, __u32 length)
{
	if (verdict != TC_ACT_REDIRECT || bpf_skb_adjust_room(skb, -(__s32)length, BPF_ADJ_ROOM_MAC, 0))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

static __always_inline int bare(struct __sk_buff *skb, __u32 length)
{
	__u64 header[9] = { 0x45 };

	if (!become_random(skb) || bpf_skb_adjust_room(skb, length, BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, L3, header, length, 0))
		return TC_ACT_SHOT;
	return undo(skb, TC_ACT_REDIRECT, length);
}

SEC("tc")
int bare_encapsulation(struct __sk_buff *skb)
{
	return bare(skb, BARE);
}

/* As many bytes as the product puts in front. */
SEC("tc")
int bare_encapsulation_full(struct __sk_buff *skb)
{
	return bare(skb, FULL);
}

SEC("tc")
int hit(struct __sk_buff *skb)
{
	return become_random(skb) ? undo(skb, out(skb), FULL) : TC_ACT_SHOT;
}

SEC("tc")
int first(struct __sk_buff *skb)
{
	return become_next(skb) ? undo(skb, out(skb), FULL) : TC_ACT_SHOT;
}

SEC("tc")
int there_and_back(struct __sk_buff *skb)
{
	if (!become_random(skb) || out(skb) != TC_ACT_REDIRECT || wan(skb) != TC_ACT_REDIRECT)
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}
