// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * WAN device of a gateway, native XDP: packets between two clear tunnels, without an skb.
 *
 *   outer, session, path -> inner -> tag -> flow, next peer, path, neighbour -> device that takes frames -> replay window
 *      -> TTL, room, new outer and MP header, number, time, tag -> that device
 *
 * Up to the replay window nothing is written but the flow table and what a look at the path ahead found (path/liveness.h), and whoever is not sure says XDP_PASS: wan.bpf.c then sees the packet as
 * if this program were not there. Behind it the packet is ours.
 */
#include "maps.h"
#include "path/relay.h"

/* It is ours and cannot go on. No skb, so no sample: the count alone. */
static __always_inline int shoot(enum drop_reason reason)
{
	count_drop(reason);
	return XDP_DROP;
}

/* New headers, `outer_length` and MP, in front of the inner packet; those that came were `more` shorter. */
static __noinline int rewrite(struct xdp_md *ctx, struct relay *r, __u64 now, __u32 outer_length, int more)
{
	__u32 length = r->j.length + MP_HDR_LEN + outer_length;
	struct mp_hdr mp, *to;
	struct ethhdr *eth;
	struct frame f;

	if (more && bpf_xdp_adjust_head(ctx, -more))
		return shoot(DROP_REWRITE);
	f = frame_of(ctx);
	eth = f.data;
	to = f.data + L3 + outer_length;
	if ((void *)(to + 1) + sizeof(struct iphdr) > f.end)
		return shoot(DROP_REWRITE);
	mp_fill(&mp, MP_DATA, r->handle, r->to, r->tx, now);
	mp.policy_version = bpf_htonl(r->peer->policy_version);
	mp.qos |= r->class << MP_CLASS_SHIFT;
	path_sent(r->tx, length);
	relay_ttl(to + 1, r->j.family);
	if (outer_length == sizeof(struct outer6)) {
		eth->h_proto = bpf_htons(ETH_P_IPV6);
		write_outer6(f.data + L3, r->leaves, traffic_class((__u8 *)(to + 1)), length);
	} else {
		eth->h_proto = bpf_htons(ETH_P_IP);
		write_outer4(f.data + L3, r->leaves, traffic_class((__u8 *)(to + 1)), length);
	}
	mp_write(to, &mp, r->to, r->tx);
	__builtin_memcpy(eth, &r->eth, 2 * ETH_ALEN);
	return XDP_REDIRECT;
}

static __noinline int relay(struct xdp_md *ctx, __u32 outer_length)
{
	struct node_config *config = node_config();
	struct frame f = frame_of(ctx);
	struct mp_hdr *mp = f.data + L3 + outer_length;
	struct relay r;
	__be32 timestamp;
	__u64 number, now;

	__builtin_memset(&r.j, 0, sizeof(r.j));
	if (!config || !relay_outer(&r, f, outer_length) || !relay_inner(&r, f, outer_length, config))
		return XDP_PASS;
	if ((void *)(mp + 1) + MP_TAGGED_PAYLOAD > f.end || tag(r.from->rx_key, r.rx->rx_tag, mp, (__u64 *)(mp + 1)) != mp->tag)
		return XDP_PASS;
	number = bpf_be64_to_cpu(mp->number);
	timestamp = mp->timestamp_us;
	if (!relay_onward(&r, config) || window_accept(r.rx, number) != GO_ON)
		return XDP_PASS;
	now = clock_precise();
	relay_account(&r, number, timestamp, now);
	if (r.leaves->family == FAMILY_IPV6)
		return rewrite(ctx, &r, now, sizeof(struct outer6), sizeof(struct outer6) - outer_length);
	return rewrite(ctx, &r, now, sizeof(struct outer4), sizeof(struct outer4) - outer_length);
}

SEC("xdp")
int wan_xdp(struct xdp_md *ctx)
{
	struct frame f = frame_of(ctx);
	struct ethhdr *eth = f.data;

	if (f.data + L3 > f.end)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return relay(ctx, sizeof(struct outer4));
	return eth->h_proto == bpf_htons(ETH_P_IPV6) ? relay(ctx, sizeof(struct outer6)) : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
