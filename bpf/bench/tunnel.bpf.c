// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Packets for a gateway: a sender that costs all contenders the same, a bare XDP forward, and sinks that count.
 *
 *   source send --- wan-a  gateway (ours, VXLAN, forward)  wan-b --- sink
 *
 * `send` runs by BPF_PROG_TEST_RUN with live frames. Frames come back as the gateway left them, so it writes the whole packet anew; number and
 * tag of an MP packet were computed before, by `stamp`.
 */
#include "../path/checksum.h"
#include "../wire.h"
#include "../path/tag.h"
#include "bench.h"

#define STAMPS 1048576
#define FRAME_MAX 1536

struct template {
	__u32 length;
	__u32 mp_at; /* offset of the MP header, 0: this is no MP packet */
	__u32 ifindex;
	__u32 next;  /* stamp of the next packet */
	__u64 key[2];
	__u8 bytes[FRAME_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct template);
} template SEC(".maps");

struct stamp {
	__be64 number, tag;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STAMPS);
	__type(key, __u32);
	__type(value, struct stamp);
} stamps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} arrived SEC(".maps");

static __always_inline void arrive(void)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&arrived, &zero);

	if (count)
		*count += 1;
}

SEC("xdp")
int stamp(struct xdp_md *ctx __unused)
{
	__u32 zero = 0, index;
	struct template *t = bpf_map_lookup_elem(&template, &zero);
	struct stamp *to;
	struct mp_hdr mp;
	__u64 payload[2], plain[4] = {};

	if (!t || t->mp_at > FRAME_MAX - sizeof(mp) - sizeof(payload))
		return XDP_ABORTED;
	index = t->next++;
	to = bpf_map_lookup_elem(&stamps, &index);
	if (!to || bpf_probe_read_kernel(&mp, sizeof(mp), t->bytes + t->mp_at) ||
	    bpf_probe_read_kernel(payload, sizeof(payload), t->bytes + t->mp_at + sizeof(mp)))
		return XDP_ABORTED;
	mp.number = bpf_cpu_to_be64((__u64)index + 1);
	{
		struct sip s = sip_keyed(t->key);

		sip_word(&s, little(((__u64 *)&mp)[0]));
		sip_word(&s, little(((__u64 *)&mp)[1]));
		plain[0] = s.v0, plain[1] = s.v1, plain[2] = s.v2, plain[3] = s.v3;
	}
	*to = (struct stamp){ mp.number, tag(t->key, plain, &mp, payload) };
	return XDP_PASS;
}

SEC("xdp")
int send(struct xdp_md *ctx)
{
	__u32 zero = 0, index, length;
	struct template *t = bpf_map_lookup_elem(&template, &zero);
	struct stamp *s;

	if (!t)
		return XDP_ABORTED;
	length = t->length;
	if (length < 1 || length > FRAME_MAX || bpf_xdp_store_bytes(ctx, 0, t->bytes, length))
		return XDP_ABORTED;
	index = t->next++;
	s = bpf_map_lookup_elem(&stamps, &index);
	/* Of tag and number only MP packets have any use; looked up for all. */
	if (!s)
		return XDP_ABORTED;
	if (t->mp_at && (bpf_xdp_store_bytes(ctx, t->mp_at + offsetof(struct mp_hdr, number), &s->number, 8) ||
			 bpf_xdp_store_bytes(ctx, t->mp_at + offsetof(struct mp_hdr, tag), &s->tag, 8)))
		return XDP_ABORTED;
	return bpf_redirect(t->ifindex, 0);
}

SEC("xdp")
int sink_xdp(struct xdp_md *ctx __unused)
{
	arrive();
	return XDP_DROP;
}

SEC("tc")
int sink_tc(struct __sk_buff *skb __unused)
{
	arrive();
	return TC_ACT_SHOT;
}

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

/* What xdp-tools' xdp-forward does with an IPv4 packet: FIB, TTL, addresses. */
SEC("xdp")
int forward(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct bpf_fib_lookup fib = { .family = 2 /* AF_INET */, .ifindex = ctx->ingress_ifindex };
	struct ethhdr *eth = data;
	struct iphdr *ip = (struct iphdr *)(eth + 1);
	__u32 sum;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ttl <= 1)
		return XDP_PASS;
	fib.tos = ip->tos;
	fib.l4_protocol = ip->protocol;
	fib.tot_len = bpf_ntohs(ip->tot_len);
	fib.ipv4_src = ip->saddr;
	fib.ipv4_dst = ip->daddr;
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS || !bpf_map_lookup_elem(&ports, &fib.ifindex))
		return XDP_PASS;
	sum = (__u32)bpf_ntohs(ip->check) + 0x0100;
	ip->check = bpf_htons(sum + (sum >> 16));
	ip->ttl--;
	__builtin_memcpy(eth->h_dest, fib.dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, fib.smac, ETH_ALEN);
	return bpf_redirect_map(&ports, fib.ifindex, 0);
}

/* The far ends of the veths: frames reach only a device with a program. */
SEC("xdp")
int pass(struct xdp_md *ctx __unused)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
