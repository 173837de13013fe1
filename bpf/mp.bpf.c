// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * mp0 and mp1, a veth pair: everything bound for a tunnel goes through it.
 *
 *   mp0 egress  -+- ESP between virtual addresses: single by now -> encap -> WAN
 *                +- the rest may be GSO or lack its checksum: on, so that the kernel cuts and completes it (mp0 has no offloads)
 *   mp1 ingress -+- own packet: virtual address -> peer -> path (UDP 2426: probe, on the path it names)
 *                +- host's packet: path handle in the mark
 *                +-> encap -> WAN
 */
#include "maps.h"
#include "path/drop.h"
#include "path/fec-out.h"
#include "path/parse.h"
#include "path/peer.h"
#include "path/plaintext.h"
#include "path/trigger.h"

/* The peer behind a virtual address, NULL: no peer's. */
static __always_inline struct peer *peer_at(const struct journey *j)
{
	__be32 vaddr = mapped_ipv4(j->key.dst);
	__u32 *index;

	if (j->family != FAMILY_IPV4)
		return NULL;
	index = bpf_map_lookup_elem(&vaddrs, &vaddr);
	return index ? peer_of(*index) : NULL;
}

/* The kernel kept the mark through XFRM, and its session is between these two addresses: nothing has to be searched for. */
static __always_inline bool is_by_mark(struct __sk_buff *skb, const struct journey *j)
{
	struct session *session = session_of(skb->mark);

	return session && j->family == FAMILY_IPV4 && session->vaddr_local == mapped_ipv4(j->key.src) &&
	       session->vaddr_remote == mapped_ipv4(j->key.dst);
}

/* From the node itself, and so for a peer's virtual address or for nobody. An edge has a virtual address with each of its gateways. */
static __always_inline bool is_own(struct __sk_buff *skb, const struct journey *j)
{
	struct node_config *config = node_config();
	struct session *session;
	struct peer *peer;

	if (!config || j->family != FAMILY_IPV4)
		return false;
	if (is_by_mark(skb, j) || mapped_ipv4(j->key.src) == config->vaddr)
		return true;
	peer = peer_at(j);
	session = peer ? session_of(peer->sid) : NULL;
	return session && mapped_ipv4(j->key.src) == session->vaddr_local;
}

/* The path of the node's own packet: the mark's, else the best one. GO_ON, or a reason to drop it. */
static __always_inline int own_path(struct __sk_buff *skb, struct journey *j)
{
	struct path_state *state;
	struct peer *peer;

	if (is_by_mark(skb, j)) {
		j->handle = skb->mark;
		return GO_ON;
	}
	peer = peer_at(j);
	if (!peer)
		return DROP(DROP_NOT_OURS);
	j->handle = choose_path(peer, CLASS_DEFAULT, 0, weigh(0, 0), &state);
	return j->handle ? GO_ON : DROP(DROP_NO_PATH);
}

/* The path was chosen before, and may have ended since. `peer`: NULL when it is gone. */
static __always_inline int send_by(struct __sk_buff *skb, __u32 handle, union sending sending, const struct peer *peer)
{
	struct path_state *state = path_state_of(handle);

	return state ? encap(skb, handle, sending, peer ? peer->policy_version : 0, state) : DROP(DROP_NO_PATH);
}

/* The node's own packet, or one whose session is not its peer's any more: as its class is sent now, but for the path. */
static __always_inline int send_on(struct __sk_buff *skb, __u32 handle)
{
	struct session *session = session_of(handle);
	struct peer *peer = session ? peer_of(session->peer) : NULL;
	enum traffic_class class = class_at_l3(skb) & (CLASSES - 1);

	return send_by(skb, handle, send_data(class, peer ? steering_word(peer, class).is.fec : 0), peer);
}

/*
 * A packet for hosts, or what XFRM made of one, whose path was chosen before the kernel cut it: `j->handle`. Of a class whose packets are steered by
 * themselves each piece is steered now. Only ESP of a class that is spread stays on the path of its SA, unless that was left.
 */
static __always_inline int send_piece(struct __sk_buff *skb, struct journey *j, bool secure)
{
	struct session *session = session_of(j->handle);
	struct peer *peer = session ? peer_of(session->peer) : NULL;
	const __u8 *inner = reach(skb, L3, sizeof(struct iphdr));
	union steering_word by;
	struct path_state *state;
	enum traffic_class class;
	__u32 handle;

	/* A rekey lies in between: by the session that it was meant for. */
	if (!peer || !inner || peer->sid != session->sid)
		return send_on(skb, j->handle);
	class = class_of_tos(traffic_class(inner));
	by = steering_word(peer, class);
	if (!is_single(by) || (secure && by.is.mode == SPREAD_PACKETS && look_at(j->handle) == LOOKED_ALIVE))
		return send_by(skb, j->handle, send_steered(class, by.is), peer);
	handle = choose_path(peer, class, 0, weigh(skb->len - L3, 1), &state);
	if (!handle)
		return DROP(DROP_NO_PATH);
	j->handle = handle;
	if (by.is.mode == SPREAD_TWICE)
		return send_twice(skb, peer, handle);
	return encap(skb, handle, send_steered(class, by.is), peer->policy_version, state);
}

static __always_inline int esp_out(struct __sk_buff *skb, struct journey *j)
{
	int result;

	/* Everything but our own ESP is mp1's business, good or bad. */
	if (parse(skb, j) != GO_ON || j->key.proto != IPPROTO_ESP || is_link_scope(j) || !is_own(skb, j))
		return TCX_NEXT;
	result = own_path(skb, j);
	if (result != GO_ON)
		return result;
	if (looks_unencrypted(skb, j))
		return DROP(DROP_PLAINTEXT);
	return send_piece(skb, j, true);
}

SEC("tc")
int mp_egress(struct __sk_buff *skb)
{
	struct journey j = {};

	if (!is_ip(ethertype_of(skb)))
		return TCX_NEXT;
	return finish(skb, esp_out(skb, &j), j.handle);
}

/*
 * The path that a probe names, of the session in use. It may be down or not yet in use, and the probe longer than what it is known to carry: probes
 * are how one finds out.
 */
static __always_inline int probe_out(struct __sk_buff *skb, struct journey *j)
{
	struct peer *peer = peer_at(j);
	/* A probe measures the path: it waits for no queue of ours that others fill. */
	union sending probe = { .is = { .type = MP_PROBE, .class = CLASS_REALTIME } };
	struct mp_trigger trigger;
	int result;

	if (!peer)
		return DROP(DROP_NOT_OURS);
	if (bpf_skb_load_bytes(skb, j->l4 + sizeof(struct udphdr), &trigger, sizeof(trigger)) || trigger.path >= MP_PATHS)
		return DROP(DROP_NO_PATH);
	j->handle = peer->sid | trigger.path;
	count(COUNT_LOCAL_OUT);
	result = trigger_pad(skb, j->handle, bpf_ntohs(trigger.size));
	return result == GO_ON ? send_by(skb, j->handle, probe, peer) : result;
}

static __always_inline int own_out(struct __sk_buff *skb, struct journey *j)
{
	int result;

	if (j->key.proto == IPPROTO_UDP && j->key.dport == bpf_htons(MP_PORT))
		return probe_out(skb, j);
	result = own_path(skb, j);
	if (result != GO_ON)
		return result;
	count(COUNT_LOCAL_OUT);
	return send_on(skb, j->handle);
}

static __always_inline int clear_out(struct __sk_buff *skb, struct journey *j)
{
	int result;

	result = parse(skb, j);
	if (result != GO_ON)
		return result;
	if (is_link_scope(j))
		return TCX_NEXT;
	/* An ICMP error about a tunnelled packet is from us too, but to a host: the mark knows its way. ESP never has one here. */
	if (is_own(skb, j) && (peer_at(j) || j->key.proto == IPPROTO_ESP))
		return own_out(skb, j);
	if (!session_of(skb->mark))
		return DROP(DROP_NOT_OURS);
	j->handle = skb->mark;
	return send_piece(skb, j, false);
}

SEC("tc")
int mp_ingress(struct __sk_buff *skb)
{
	struct journey j = {};

	if (!is_ip(ethertype_of(skb)))
		return TCX_NEXT;
	return finish(skb, clear_out(skb, &j), j.handle);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
