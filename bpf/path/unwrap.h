/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What an instance somewhere else sends back: which adapter it is, and the outer headers off. Other packets of the device are the stack's.
 *
 *   IP in IP: by both outer addresses.   Geneve: by the endpoint; addresses and attachment must be the adapter's, and the cookie the flow's.
 */
#ifndef BRANCHLINE_UNWRAP_H
#define BRANCHLINE_UNWRAP_H

#include "geneve.h"
#include "parse.h"

#define GENEVE_OPTIONS_MAX 63 /* each a word at least, and the length field has six bits */

struct wrapped {
	struct adapter_key key;	/* IPv4 addresses in the first four bytes */
	__u64 attachment;
	__u32 cookie;
	__u32 length;		/* of the outer headers */
	__u32 end;		/* of the outer packet */
	__u32 adapter;
	__u8 geneve;
	__u8 inner;		/* FAMILY_* */
	__u8 reserved[2];
};

struct option_search {
	struct __sk_buff *skb;
	struct wrapped *wrapped;
	__u32 offset, end;
	__u32 seen; /* a bit for each type */
	bool bad;
};

/* 1 ends the search. */
static long option_step(__u32 i __attribute__((unused)), struct option_search *search)
{
	struct wrapped *w = search->wrapped;
	struct geneve_option option;
	__be32 words[2] = {};
	__u32 bytes;

	if (search->offset >= search->end)
		return 1;
	search->bad = true;
	if (bpf_skb_load_bytes(search->skb, search->offset, &option, sizeof(option)))
		return 1;
	bytes = (option.length & 0x1f) * 4;
	if (search->offset + sizeof(option) + bytes > search->end)
		return 1;
	if (option.class == bpf_htons(GENEVE_CLASS) && option.type >= GENEVE_ENDPOINT && option.type <= GENEVE_COOKIE) {
		bool cookie = option.type == GENEVE_COOKIE;

		/* Twice the same would leave open which one holds. */
		if (bytes != (cookie ? 4 : 8) || search->seen >> option.type & 1)
			return 1;
		if (cookie ? bpf_skb_load_bytes(search->skb, search->offset + sizeof(option), words, 4) :
			     bpf_skb_load_bytes(search->skb, search->offset + sizeof(option), words, 8))
			return 1;
		search->seen |= 1U << option.type;
		if (cookie)
			w->cookie = bpf_ntohl(words[0]);
		else if (option.type == GENEVE_ENDPOINT)
			w->key.endpoint = (__u64)bpf_ntohl(words[0]) << 32 | bpf_ntohl(words[1]);
		else
			w->attachment = (__u64)bpf_ntohl(words[0]) << 32 | bpf_ntohl(words[1]);
	}
	search->bad = false;
	search->offset += sizeof(option) + bytes;
	return 0;
}

/* Header and options behind UDP. GO_ON: all three are there, once. */
static __always_inline int unwrap_geneve(struct __sk_buff *skb, struct wrapped *w, __u32 ip_length)
{
	struct { struct udphdr udp; struct geneve_hdr geneve; } head;
	struct option_search search = { .skb = skb, .wrapped = w, .offset = L3 + ip_length + sizeof(head) };

	if (bpf_skb_load_bytes(skb, L3 + ip_length, &head, sizeof(head.udp)) || head.udp.dest != bpf_htons(GENEVE_PORT))
		return TCX_NEXT;
	if (bpf_skb_load_bytes(skb, L3 + ip_length, &head, sizeof(head)) || head.geneve.version_length >> 6 ||
	    bpf_ntohs(head.udp.len) != w->end - L3 - ip_length)
		return DROP(DROP_OUTER_MALFORMED);
	w->geneve = 1;
	w->inner = head.geneve.protocol == bpf_htons(ETH_P_IP)	 ? FAMILY_IPV4 :
		   head.geneve.protocol == bpf_htons(ETH_P_IPV6) ? FAMILY_IPV6 :
								     FAMILY_NONE;
	w->length = ip_length + sizeof(head) + (head.geneve.version_length & 63) * 4;
	search.end = L3 + w->length;
	if (!w->inner || search.end > w->end)
		return DROP(DROP_OUTER_MALFORMED);
	bpf_loop(GENEVE_OPTIONS_MAX, option_step, &search, 0);
	if (search.bad)
		return DROP(DROP_OUTER_MALFORMED);
	return search.seen == 0xe ? GO_ON : DROP(DROP_CHAIN_TAG);
}

/* By the protocol behind the outer header. */
static __always_inline int unwrap_protocol(struct __sk_buff *skb, struct wrapped *w, __u8 protocol, __u32 ip_length)
{
	w->length = ip_length;
	switch (protocol) {
	case IPPROTO_UDP:
		return unwrap_geneve(skb, w, ip_length);
	case IPPROTO_IPIP:
		w->inner = FAMILY_IPV4;
		return GO_ON;
	case IPPROTO_IPV6:
		w->inner = FAMILY_IPV6;
		return GO_ON;
	}
	return TCX_NEXT;
}

/* GO_ON: w tells. TCX_NEXT: the stack's. Outer fragments are: it puts them together, and they come by no hook again, so tunnels need their MTU. */
__noinline int unwrap_parse(struct __sk_buff *skb, struct wrapped *w __nonnull)
{
	if (ethertype_of(skb).value == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = reach(skb, L3, sizeof(*ip));
		__u32 total;

		if (!ip || ip->version != 4 || ip->ihl != 5 || ip->frag_off & bpf_htons(IP_MF | IP_OFFSET))
			return TCX_NEXT;
		total = bpf_ntohs(ip->tot_len);
		if (total < sizeof(*ip) || total > skb->len - L3)
			return TCX_NEXT;
		w->end = L3 + total;
		*(__be32 *)w->key.remote = ip->saddr;
		*(__be32 *)w->key.local = ip->daddr;
		return unwrap_protocol(skb, w, ip->protocol, sizeof(*ip));
	}
	struct ipv6hdr *ip = reach(skb, L3, sizeof(*ip));

	if (!ip || ip->version != 6 || sizeof(*ip) + bpf_ntohs(ip->payload_len) > skb->len - L3)
		return TCX_NEXT;
	w->end = L3 + sizeof(*ip) + bpf_ntohs(ip->payload_len);
	__builtin_memcpy(w->key.remote, &ip->saddr, 16);
	__builtin_memcpy(w->key.local, &ip->daddr, 16);
	return unwrap_protocol(skb, w, ip->nexthdr, sizeof(*ip));
}

static __always_inline bool same16(const __u8 *a, const __u8 *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return x[0] == y[0] && x[1] == y[1];
}

/* Whose it is. */
__noinline int unwrap_adapter(struct wrapped *w __nonnull)
{
	struct adapter_key key = { .endpoint = w->key.endpoint };
	struct adapter *adapter;
	__u32 *found;

	found = w->geneve ? (key.endpoint ? bpf_map_lookup_elem(&adapter_outers, &key) : NULL) : bpf_map_lookup_elem(&adapter_outers, &w->key);
	if (!found)
		return DROP(w->geneve ? DROP_CHAIN_TAG : DROP_NO_ADAPTER);
	adapter = adapter_of(*found);
	if (!adapter || adapter->kind != (w->geneve ? ADAPTER_GENEVE : ADAPTER_IPIP))
		return DROP(DROP_NO_ADAPTER);
	if (w->geneve && (adapter->attachment != w->attachment || !same16(adapter->remote, w->key.remote) || !same16(adapter->local, w->key.local)))
		return DROP(DROP_CHAIN_TAG);
	w->adapter = *found;
	return GO_ON;
}

/* The outer headers off, and what Ethernet may have padded. */
__noinline int unwrap_strip(struct __sk_buff *skb, const struct wrapped *w __nonnull)
{
	bool outer6 = ethertype_of(skb).value == bpf_htons(ETH_P_IPV6);
	__u64 flags = 0;
	struct ethhdr *eth;

	/* What the kernel joined, or the sender's kernel never cut, stays marked as a tunnel's. */
	if (skb->gso_size)
		return DROP(DROP_REWRITE);
	if (w->inner == FAMILY_IPV6 && !outer6)
		flags = ADJ_ROOM_DECAP_L3_IPV6;
	else if (w->inner == FAMILY_IPV4 && outer6)
		flags = ADJ_ROOM_DECAP_L3_IPV4;
	if ((skb->len > w->end && bpf_skb_change_tail(skb, w->end, 0)) ||
	    bpf_skb_adjust_room(skb, -(__s32)w->length, BPF_ADJ_ROOM_MAC, flags))
		return DROP(DROP_REWRITE);
	eth = reach(skb, 0, sizeof(*eth));
	if (!eth)
		return DROP(DROP_REWRITE);
	eth->h_proto = w->inner == FAMILY_IPV6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	return GO_ON;
}

#endif
