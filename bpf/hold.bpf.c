// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * mph1, tc ingress: packets between tunnels whose time has come (path/hold.h).
 *
 *   handle and origin, out of the frame's source address -> session -> VRF, peer -> parse -> route.h
 */
#include "maps.h"
#include "path/drop.h"
#include "path/encap.h"
#include "path/hold.h"
#include "path/parse.h"
#include "path/route.h"
#include "path/icmp.h"

/* GO_ON: to be routed. In a frame of its own: the stack below is needed where the packet is routed. */
static __noinline int released(struct __sk_buff *skb, struct journey *j)
{
	struct session *session;
	int result;

	if (!held(skb, j))
		return DROP(DROP_NOT_OURS);
	/* Its time is over; a later device with an fq need not look at it. */
	bpf_skb_set_tstamp(skb, 0, BPF_SKB_TSTAMP_UNSPEC);
	session = session_of(j->handle);
	if (!session || !session->vrf)
		return DROP(DROP_NO_VRF);
	j->peer = session->peer;
	j->key.vrf = session->vrf;
	result = parse(skb, j);
	return result;
}

SEC("tc")
int hold_ingress(struct __sk_buff *skb)
{
	struct journey j = {};
	int result;

	if (!is_ip(ethertype_of(skb)))
		return TCX_NEXT;
	result = released(skb, &j);
	if (result == GO_ON)
		result = route(skb, &j);
	return IS_DROP(result) ? answer(skb, &j, finish(skb, result, j.handle)) : result;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
