// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * WAN device, tc ingress: MP packets come off the wire.
 *
 *   outer IP, UDP -> version, type -+- handshake: agent's socket
 *                                   +- session, path -> tag -> replay window -> what the path learns
 *                                        +- probe, and a copy of data that asks: turned round    probe reply: round trip
 *                                        +- data: decap -+- our virtual address: the stack (ESP to XFRM, route session to TCP)
 *                                                        +- VRF of the session -> route.h (came in clear)
 *
 * Nothing is written before the tag holds: not a map, not the packet.
 */
#include "maps.h"
#include "path/drop.h"
#include "path/delay.h"
#include "path/encap.h"
#include "path/outer.h"
#include "path/decap.h"
#include "path/fec-decode.h"
#include "path/probe.h"
#include "path/window.h"
#include "path/route.h"
#include "path/icmp.h"
#include "path/lane.h"

/* GO_ON: the packet is the session's, was not changed, and never came before. Sets a->handle once the ids make sense. */
static __always_inline int authenticate(struct __sk_buff *skb, struct arrival *a, struct session **of, struct path_state **at)
{
	__u32 sid = bpf_ntohl(a->mp.session);
	struct path_state *state;
	struct session *session;
	__u32 handle;

	session = session_by_id(sid);
	a->handle = sid;
	if (!session)
		return DROP(DROP_MP_NO_SESSION);
	if (a->mp.path >= MP_PATHS || !(session->path_mask >> a->mp.path & 1))
		return DROP(DROP_MP_PATH);
	handle = sid | a->mp.path;
	state = path_state_of(handle);
	if (!state)
		return DROP(DROP_MP_PATH);
	a->handle = handle;
	if (tag(session->rx_key, state->rx_tag, &a->mp, a->payload) != a->mp.tag)
		return DROP(DROP_MP_TAG);
	*of = session;
	*at = state;
	/* It was accepted when it was copied. */
	if (is_ask_copy(skb, a) || is_fec_copy(skb, a))
		return GO_ON;
	return window_accept(state, bpf_be64_to_cpu(a->mp.number));
}

static __always_inline bool path_moved(const struct arrival *a)
{
	struct path_conf *conf = path_conf_of(a->handle);
	__u64 *was, *is = (__u64 *)a->src;

	if (!conf || conf->family != a->family || conf->remote_port != a->udp.source)
		return true;
	was = (__u64 *)conf->remote;
	if (a->family == FAMILY_IPV4)
		return *(__u32 *)was != *(__u32 *)is;
	return was[0] != is[0] || was[1] != is[1];
}

static __noinline void report(struct __sk_buff *skb, const struct arrival *a, enum event_type type, __u32 value)
{
	struct event *event = event_begin(skb, type, a->handle);

	if (!event)
		return;
	event->value = value;
	event->family = a->family;
	event->src_port = a->udp.source;
	event->dst_port = a->udp.dest;
	__builtin_memcpy(event->src, a->src, 16);
	__builtin_memcpy(event->dst, a->dst, 16);
	bpf_ringbuf_submit(event, 0);
}

static __always_inline bool is_data(const struct arrival *a)
{
	return (a->mp.version_type & 0xf) == MP_DATA;
}

/* Counters of the path, and what the agent has to hear of. */
static __always_inline void learn(struct __sk_buff *skb, const struct arrival *a, const struct session *session, struct path_state *state)
{
	/* Of parity these two header fields are no time and no version (path/fec.h). */
	bool parity = fec_is_parity(a);
	__u32 version = parity ? 0 : bpf_ntohl(a->mp.policy_version);
	__u64 number = bpf_be64_to_cpu(a->mp.number), now = clock_coarse();

	count(COUNT_MP_IN);
	if (!parity && measure_due(state, number, now))
		measure(state, a->handle, a->mp.timestamp_us, clock_precise());
	state->last_rx_ns = now;
	__sync_fetch_and_add(&state->rx_packets, 1);
	__sync_fetch_and_add(&state->rx_bytes, a->offset - L3 + a->length);
	/* Parity is in the queue of its class, which its header does not tell. */
	if (!parity)
		count_reordered(state, is_data(a) ? a->mp.qos >> MP_CLASS_SHIFT : CLASS_REALTIME, number);
	if (window_advance(state, number) && path_moved(a))
		report(skb, a, EVENT_PATH_MOVED, 0);
	if (version > session->policy_version)
		report(skb, a, EVENT_POLICY_AHEAD, version);
}

/* The decapsulated packet: the node's own, or some host's. GO_ON: to be routed. */
static __always_inline int deliver(struct __sk_buff *skb, struct journey *j, const struct session *session)
{
	int result = parse(skb, j);

	if (result != GO_ON)
		return result;
	if (j->family == FAMILY_IPV4 && mapped_ipv4(j->key.dst) == session->vaddr_local) {
		if (mapped_ipv4(j->key.src) != session->vaddr_remote)
			return DROP(DROP_INNER_SPOOFED);
		/* Through XFRM to ipsec_ingress. */
		if (j->key.proto == IPPROTO_ESP)
			skb->priority = j->stamp;
		else
			count(COUNT_LOCAL_IN);
		return TCX_NEXT;
	}
	count(COUNT_FROM_PEER_CLEAR);
	return j->key.vrf ? GO_ON : DROP(DROP_NO_VRF);
}

/* What is in the packet. */
static __always_inline int unpack(struct __sk_buff *skb, struct journey *j, struct arrival *a, const struct session *session)
{
	int result = decap(skb, a);

	if (result != GO_ON)
		return result;
	j->origin = FROM_PEER_CLEAR;
	j->peer = session->peer;
	j->stamp = stamp_of(&a->mp);
	j->key.vrf = session->vrf;
	return deliver(skb, j, session);
}

/* By type. GO_ON: DATA, of which `a` tells. */
static __always_inline int accept(struct __sk_buff *skb, struct arrival *a, const struct session *session, struct path_state *state)
{
	__u8 type = a->mp.version_type & 0xf;

	if (is_ask_copy(skb, a))
		return ask_answer(skb, a, session, state);
	if (is_fec_copy(skb, a))
		return fec_owed(skb, a);
	learn(skb, a, session, state);
	if (is_ask(a))
		ask_copy(skb, a);
	if (type == MP_PROBE)
		return probe_answer(skb, a, session, state);
	if (type == MP_PROBE_REPLY)
		return probe_reply(skb, a, state);
	return type == MP_PARITY || (a->mp.fec && a->mp.sequence) ? fec_in(skb, a, state) : GO_ON;
}

/* Of a packet that is sent twice, or protected: GO_ON when it did not come before. A copy ends here, counted; it is no drop, for nothing is lost. */
static __always_inline int first_of_number(const struct arrival *a, struct path_state *state)
{
	struct bundle *bundle = bundle_of(HANDLE_SID(a->handle));
	int result = bundle ? lane_accept(bundle, bpf_ntohl(a->mp.sequence)) : GO_ON;

	/* Its group, which remembers more, has not seen it: parity may come by a path that is much slower. */
	if (result == DROP(DROP_MP_TOO_OLD) && a->rebuilt)
		return GO_ON;
	if (result == TC_ACT_SHOT) {
		__sync_fetch_and_add(&state->rx_late, 1);
		count(COUNT_COPY_IN);
	}
	return result;
}

/* All that is outside of the packet, in a frame of its own: the stack below is needed where it is routed. */
static __noinline int receive(struct __sk_buff *skb, struct journey *j)
{
	struct arrival arrival = {}, *a = &arrival;
	struct path_state *state;
	struct session *session;
	int result;

	result = outer_parse(skb, a);
	if (result != GO_ON)
		return result;
	result = authenticate(skb, a, &session, &state);
	j->handle = a->handle;
	if (result == DROP(DROP_MP_NO_SESSION))
		report(skb, a, EVENT_NO_SESSION, 0);
	if (result == GO_ON)
		result = accept(skb, a, session, state);
	if (result == GO_ON && a->mp.sequence)
		result = first_of_number(a, state);
	return result == GO_ON ? unpack(skb, j, a, session) : result;
}

static __always_inline int wan(struct __sk_buff *skb)
{
	struct journey j = {};
	int result;

	if (skb->pkt_type != HOST_FRAME || skb->vlan_present || !is_ip(ethertype_of(skb)))
		return TCX_NEXT;
	result = receive(skb, &j);
	if (result == GO_ON)
		result = route(skb, &j);
	return IS_DROP(result) ? answer(skb, &j, finish(skb, result, j.handle)) : result;
}

SEC("tc")
int wan_ingress(struct __sk_buff *skb)
{
	return wan(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
