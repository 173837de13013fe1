// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * ipsec0, the one collect-metadata XFRM interface: between a VRF and the SAs of every path.
 *
 *   egress:  mark = path handle -> if_id of the SA -> XFRM (ESP) -> mp0
 *   ingress: if_id of the SA that decrypted -> session -> VRF, peer -> parse -> route.h (came secure)
 *
 * The SA says whose packet it is (DESIGN, rule 4). Loads only where the module xfrm_interface is: its kfuncs are what this file is for.
 */
#include "maps.h"
#include "path/drop.h"
#include "path/encap.h"
#include "path/parse.h"
#include "path/route.h"
#include "path/icmp.h"

struct bpf_xfrm_info {
	__u32 if_id;
	int link;
};

extern int bpf_skb_get_xfrm_info(struct __sk_buff *skb, struct bpf_xfrm_info *to) __ksym;
extern int bpf_skb_set_xfrm_info(struct __sk_buff *skb, const struct bpf_xfrm_info *from) __ksym;

/*
 * The kernel's own multicast (MLD, router solicitations), which every IPv6 device sends. No SA is for it: without metadata ipsec0
 * refuses it by itself.
 */
static __always_inline bool is_kernel_chatter(struct __sk_buff *skb)
{
	__u8 first;

	return !skb->mark && skb->protocol == bpf_htons(ETH_P_IPV6) &&
	       !bpf_skb_load_bytes_relative(skb, offsetof(struct ipv6hdr, daddr), &first, 1, BPF_HDR_START_NET) && first == 0xff;
}

static __always_inline int choose_sa(struct __sk_buff *skb)
{
	struct bpf_xfrm_info info = {};

	/* The node's own packets by a route with `encap xfrm` name their SA themselves. */
	if (!bpf_skb_get_xfrm_info(skb, &info))
		return TCX_NEXT;
	if (is_kernel_chatter(skb))
		return TCX_NEXT;
	if (!session_of(skb->mark))
		return DROP(DROP_NO_SA);
	info.if_id = skb->mark;
	return bpf_skb_set_xfrm_info(skb, &info) ? DROP(DROP_NO_SA) : TCX_NEXT;
}

SEC("tc")
int ipsec_egress(struct __sk_buff *skb)
{
	return finish(skb, choose_sa(skb), skb->mark);
}

/* ipsec0 has no link layer: whether old Ethernet bytes precede the packet depends on how it came. From here on they always do. */
static __always_inline int give_link_header(struct __sk_buff *skb)
{
	__u32 length = link_length(skb);
	struct ethhdr *eth;

	if (length == 0 && bpf_skb_change_head(skb, ETH_HLEN, 0))
		return DROP(DROP_REWRITE);
	if (length != 0 && length != ETH_HLEN)
		return DROP(DROP_REWRITE);
	eth = reach(skb, 0, sizeof(*eth));
	if (!eth)
		return DROP(DROP_REWRITE);
	eth->h_proto = skb->protocol;
	return GO_ON;
}

/* GO_ON: to be routed. In a frame of its own: the stack below is needed where the packet is routed. */
static __noinline int decrypted(struct __sk_buff *skb, struct journey *j)
{
	struct bpf_xfrm_info info = {};
	struct session *session;
	int result;

	if (bpf_skb_get_xfrm_info(skb, &info))
		return DROP(DROP_NO_SA);
	j->handle = info.if_id;
	session = session_of(info.if_id);
	/* An SA that outlived its session belongs to nobody. */
	if (!session)
		return DROP(DROP_NO_VRF);
	result = give_link_header(skb);
	if (result == GO_ON)
		result = parse(skb, j);
	if (result != GO_ON)
		return result;
	count(COUNT_FROM_PEER_SECURE);
	if (!session->vrf)
		return DROP(DROP_NO_VRF);
	j->origin = FROM_PEER_SECURE;
	j->peer = session->peer;
	j->stamp = stamp_of_priority(skb->priority);
	skb->priority = 0;
	j->key.vrf = session->vrf;
	return GO_ON;
}

SEC("tc")
int ipsec_ingress(struct __sk_buff *skb)
{
	struct journey j = {};
	int result;

	if (!is_ip(ethertype_of(skb)))
		return TCX_NEXT;
	result = decrypted(skb, &j);
	if (result == GO_ON)
		result = route(skb, &j);
	return answer(skb, &j, finish(skb, result, j.handle));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
