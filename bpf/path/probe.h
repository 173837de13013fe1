/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Path probes. The node's own UDP packet to a peer's virtual address, port 2426, leaves as MP_PROBE on the path that its first
 * byte names; the receiving program turns it round at once, so a round trip holds no agent and no scheduler.
 */
#ifndef BRANCHLINE_PROBE_H
#define BRANCHLINE_PROBE_H

#include "encap.h"
#include "outer.h"
#include "trigger.h"

#define PROBE_REPLY_TTL 64
#define RTT_MAX_US 60000000

/* Swaps source and destination of the outer packet. False: the kernel refused. */
static __always_inline bool outer_turn(struct __sk_buff *skb, struct arrival *a)
{
	union {
		struct { struct iphdr ip; struct udphdr udp; } v4;
		struct { struct ipv6hdr ip; struct udphdr udp; } v6;
	} outer;

	if (a->family == FAMILY_IPV4) {
		if (bpf_skb_load_bytes(skb, L3, &outer.v4, sizeof(outer.v4)))
			return false;
		__builtin_memcpy(&outer.v4.ip.saddr, a->dst, 4);
		__builtin_memcpy(&outer.v4.ip.daddr, a->src, 4);
		outer.v4.ip.ttl = PROBE_REPLY_TTL;
		outer.v4.ip.tot_len = bpf_htons(sizeof(outer.v4.ip) + sizeof(outer.v4.udp) + a->length);
		outer.v4.ip.check = 0;
		outer.v4.ip.check = ipv4_checksum(&outer.v4.ip);
		outer.v4.udp.source = a->udp.dest;
		outer.v4.udp.dest = a->udp.source;
		outer.v4.udp.len = bpf_htons(sizeof(outer.v4.udp) + a->length);
		outer.v4.udp.check = 0;
		return !bpf_skb_store_bytes(skb, L3, &outer.v4, sizeof(outer.v4), 0);
	}
	if (bpf_skb_load_bytes(skb, L3, &outer.v6, sizeof(outer.v6)))
		return false;
	__builtin_memcpy(&outer.v6.ip.saddr, a->dst, 16);
	__builtin_memcpy(&outer.v6.ip.daddr, a->src, 16);
	outer.v6.ip.hop_limit = PROBE_REPLY_TTL;
	outer.v6.ip.payload_len = bpf_htons(sizeof(outer.v6.udp) + a->length);
	outer.v6.udp.source = a->udp.dest;
	outer.v6.udp.dest = a->udp.source;
	outer.v6.udp.len = outer.v6.ip.payload_len;
	outer.v6.udp.check = 0;
	return !bpf_skb_store_bytes(skb, L3, &outer.v6, sizeof(outer.v6), 0);
}

/*
 * Answers where the probe came from; the path need not be learned yet. Own number, the probe's timestamp echoed, the probe's payload behind what
 * has come of the path by now.
 */
__noinline int probe_answer(struct __sk_buff *skb, struct arrival *a __nonnull, const struct session *session __nonnull,
			     struct path_state *state __nonnull)
{
	struct {
		struct mp_hdr mp;
		struct mp_report report;
	} reply;
	__u64 now = clock_precise();

	if (!outer_turn(skb, a))
		return DROP(DROP_REWRITE);
	mp_fill(&reply.mp, MP_PROBE_REPLY, a->handle, session, state, now);
	reply.mp.sequence = a->mp.timestamp_us;
	reply.report.highest = bpf_cpu_to_be64(state->rx_highest);
	reply.report.packets = bpf_cpu_to_be64(state->rx_packets);
	reply.mp.tag = tag(session->tx_key, state->tx_tag, &reply.mp, (const __u64 *)&reply.report);
	if (bpf_skb_store_bytes(skb, a->offset, &reply, sizeof(reply), 0))
		return DROP(DROP_REWRITE);
	skb->priority = queue_of_class(CLASS_REALTIME);
	count(COUNT_PROBE_ANSWERED);
	path_sent(state, skb->len - L3);
	return bpf_redirect_neigh(skb->ifindex, NULL, 0, 0);
}

/*
 * A DATA packet that asks (path/liveness.h) is a probe as well. It goes on as data; a copy, marked with the path's handle, comes in at this
 * device once more. What comes from outside has no mark, and the copy still has to carry the path's tag.
 */
static __always_inline void ask_copy(struct __sk_buff *skb, const struct arrival *a)
{
	skb->mark = a->handle;
	if (!bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS))
		count(COUNT_ASK_IN);
	skb->mark = 0;
}

static __always_inline bool is_ask(const struct arrival *a)
{
	return a->mp.qos & MP_F_ASK && (a->mp.version_type & 0xf) == MP_DATA;
}

static __always_inline bool is_ask_copy(struct __sk_buff *skb, const struct arrival *a)
{
	return skb->mark && skb->mark == a->handle && is_ask(a);
}

/*
 * The copy becomes a reply of the shortest kind. The kernel cuts no packet that a veth delivers with the sender's marks of a tunnel or of headers
 * further in: then the reply is as long as the question, with no trigger in it.
 */
static __always_inline int ask_answer(struct __sk_buff *skb, struct arrival *a, const struct session *session, struct path_state *state)
{
	__u8 round = 0;

	skb->mark = 0;
	if (!bpf_skb_change_tail(skb, a->offset + MP_HDR_LEN + MP_TAGGED_PAYLOAD, 0))
		a->length = MP_HDR_LEN + MP_TAGGED_PAYLOAD;
	else
		bpf_skb_store_bytes(skb, a->offset + TRIGGER_OFFSET + offsetof(struct mp_trigger, round), &round, 1, 0);
	return probe_answer(skb, a, session, state);
}

/* RFC 6298, 2: an eighth of each new round trip, a quarter of its deviation. */
static __always_inline void rtt_learn(struct path_state *state, __u32 rtt)
{
	__u32 off = rtt > state->srtt_us ? rtt - state->srtt_us : state->srtt_us - rtt;

	/* 0 means "none yet". */
	state->rtt_us = rtt ? rtt : 1;
	if (!state->srtt_us) {
		state->srtt_us = state->rtt_us;
		state->rttvar_us = rtt / 2;
		return;
	}
	state->rttvar_us = (3 * state->rttvar_us + off) / 4;
	state->srtt_us = (7 * state->srtt_us + rtt) / 8;
}

/* An older report than the last one tells nothing new. */
static __always_inline void report_learn(struct path_state *state, const struct mp_report *report)
{
	__u64 highest = bpf_be64_to_cpu(report->highest);

	if (highest < state->told_highest)
		return;
	state->told_highest = highest;
	state->told_packets = bpf_be64_to_cpu(report->packets);
}

/* Takes round trip and report from a reply, which goes no further. It is counted, not dropped: finish() is not meant for it. */
static __always_inline int probe_reply(struct __sk_buff *skb, const struct arrival *a, struct path_state *state)
{
	__u32 rtt = clock_us(clock_precise()) - bpf_ntohl(a->mp.sequence);

	/*
	 * No probe waits so long: this is the timestamp of none. Of the future alike, which is far in the past modulo 2^32. Those of a round have
	 * waited for each other.
	 */
	if (!trigger_answered(skb, state, a->offset, a->length) && rtt <= RTT_MAX_US) {
		rtt_learn(state, rtt);
		patience_learn(state);
	}
	report_learn(state, (const struct mp_report *)a->payload);
	__sync_fetch_and_add(&state->probe_replies, 1);
	count(COUNT_PROBE_REPLY_IN);
	return TC_ACT_SHOT;
}

#endif
