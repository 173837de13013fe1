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
#include "path/encap.h"
#include "path/parse.h"
#include "path/peer.h"
#include "path/plaintext.h"

/* The peer behind a virtual address, NULL: no peer's. */
static __always_inline struct peer *peer_at(const struct journey *j)
{
	__be32 vaddr = mapped_ipv4(j->key.dst);
	__u32 *index;

	if (j->family != FAMILY_IPV4)
		return NULL;
	index = bpf_map_lookup_elem(&vaddrs, &vaddr);
	return index ? bpf_map_lookup_elem(&peers, index) : NULL;
}

/*
 * The path of a packet between virtual addresses: the mark's where the kernel kept it through XFRM and the mark's peer is the destination's,
 * else the best one. 0: not such a packet, or (`result`) a reason to drop it.
 */
static __always_inline __u32 own_path(struct __sk_buff *skb, const struct journey *j, int *result)
{
	struct node_config *config = node_config();
	struct session *session;
	struct peer *peer;
	__u32 handle;

	*result = GO_ON;
	if (!config || j->family != FAMILY_IPV4 || mapped_ipv4(j->key.src) != config->vaddr)
		return 0;
	session = skb->mark ? session_of(skb->mark) : NULL;
	if (session && session->vaddr_remote == mapped_ipv4(j->key.dst))
		return skb->mark;
	peer = peer_at(j);
	if (!peer)
		return 0;
	handle = choose_path(peer);
	if (!handle)
		*result = DROP(DROP_NO_PATH);
	return handle;
}

static __always_inline int send(struct __sk_buff *skb, __u32 handle, enum mp_type type)
{
	struct session *session = session_of(handle);

	return session ? encap(skb, handle, session, type) : DROP(DROP_NO_PATH);
}

static __always_inline int esp_out(struct __sk_buff *skb, struct journey *j)
{
	__u32 handle;
	int result;

	/* Everything but IPv4 ESP is mp1's business, good or bad. */
	if (parse(skb, j) != GO_ON || j->family != FAMILY_IPV4 || j->key.proto != IPPROTO_ESP || is_link_scope(j))
		return TCX_NEXT;
	handle = own_path(skb, j, &result);
	if (result != GO_ON || !handle)
		return result != GO_ON ? result : DROP(DROP_NOT_OURS);
	j->handle = handle;
	if (looks_unencrypted(skb, j))
		return DROP(DROP_PLAINTEXT);
	return send(skb, handle, MP_DATA);
}

SEC("tc")
int mp_egress(struct __sk_buff *skb)
{
	struct journey j = {};

	if (!is_ip(ethertype_of(skb)))
		return TCX_NEXT;
	return finish(skb, esp_out(skb, &j), j.handle);
}

/* The path that a probe names, of the session in use. It may be down or not yet in use: probes are how one finds out. */
static __always_inline int probe_out(struct __sk_buff *skb, struct journey *j)
{
	struct peer *peer = peer_at(j);
	__u8 path;

	if (!peer)
		return DROP(DROP_NO_PEER);
	if (bpf_skb_load_bytes(skb, j->l4 + sizeof(struct udphdr), &path, 1) || path >= MP_PATHS)
		return DROP(DROP_NO_PATH);
	j->handle = peer->sid | path;
	return send(skb, j->handle, MP_PROBE);
}

static __always_inline int clear_out(struct __sk_buff *skb, struct journey *j)
{
	__u32 handle;
	int result;

	result = parse(skb, j);
	if (result != GO_ON)
		return result;
	if (is_link_scope(j))
		return TCX_NEXT;
	handle = own_path(skb, j, &result);
	if (result != GO_ON)
		return result;
	if (handle) {
		count(COUNT_LOCAL_OUT);
		if (j->key.proto == IPPROTO_UDP && j->key.dport == bpf_htons(MP_PORT))
			return probe_out(skb, j);
	} else {
		handle = skb->mark;
		if (!handle || !session_of(handle))
			return DROP(DROP_NOT_OURS);
	}
	j->handle = handle;
	return send(skb, handle, MP_DATA);
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
