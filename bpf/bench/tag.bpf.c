// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The header's tag and the replay window, by the product's own tag.h and window.h: a sender and a receiver at tc and at XDP, each with and
 * without. The packet is an Ethernet header, an MP header and a payload; the outer headers have no part in this. Everything else is the
 * same on both sides, so the difference is the tag's and the window's.
 */
#include "bench.h"
#include "../path/tag.h"
#include "../path/window.h"

/* One path in one line of sight: what session and path_state hold in the product. */
struct path {
	__u64 key[2];
	struct path_state state;
	__u64 last; /* written by the programs without, so that the compiler keeps what they read */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct path);
} paths SEC(".maps");

struct message {
	struct mp_hdr mp;
	__u64 payload[TAG_PAYLOAD_WORDS];
};

static __always_inline struct path *path_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&paths, &zero);
}

static __always_inline void fill(struct message *message, struct path *path, bool tagged)
{
	message->mp.version_type = MP_VERSION << 4 | MP_DATA;
	message->mp.path = path->state.handle & (MP_PATHS - 1);
	message->mp.session = bpf_htonl(path->state.handle & ~(MP_PATHS - 1));
	message->mp.number = bpf_cpu_to_be64(++path->state.tx_number);
	if (tagged)
		message->mp.tag = tag(path->key, path->state.tx_tag, &message->mp, message->payload);
	else
		message->mp.tag = message->mp.number ^ message->payload[0] ^ message->payload[1];
}

/* Where the product puts a header on tc: made on the stack, stored at once. */
static __always_inline int send_tc(struct __sk_buff *skb, bool tagged)
{
	struct path *path = path_here();
	struct message message = {};

	if (!path || bpf_skb_load_bytes(skb, ETH_HLEN + MP_HDR_LEN, message.payload, sizeof(message.payload)))
		return TC_ACT_SHOT;
	fill(&message, path, tagged);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &message.mp, sizeof(message.mp), 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

/* The message in the packet itself; NULL: too short. */
static __always_inline struct message *message_of(struct xdp_md *xdp)
{
	struct message *message = (void *)(long)xdp->data + ETH_HLEN;

	return (void *)(message + 1) > (void *)(long)xdp->data_end ? NULL : message;
}

static __always_inline int send_xdp(struct xdp_md *xdp, bool tagged)
{
	struct message *message = message_of(xdp);
	struct path *path = path_here();

	if (!path || !message)
		return XDP_ABORTED;
	fill(message, path, tagged);
	return XDP_PASS;
}

/*
 * GO_ON, or what a receiver drops for. One packet is run many times, so its number cannot be what the window takes; that counts on by itself,
 * in order, as most packets come.
 */
static __always_inline int accept(struct path *path, const struct message *message, bool checked)
{
	__u64 number = path->state.tx_number + 1;

	path->state.tx_number = number;
	if (bpf_ntohl(message->mp.session) != (path->state.handle & ~(MP_PATHS - 1)))
		return DROP(DROP_MP_NO_SESSION);
	if (message->mp.path != (path->state.handle & (MP_PATHS - 1)))
		return DROP(DROP_MP_PATH);
	if (!checked) {
		path->last = message->mp.number ^ message->mp.tag ^ message->payload[0] ^ message->payload[1];
		return GO_ON;
	}
	if (tag(path->key, path->state.rx_tag, &message->mp, message->payload) != message->mp.tag)
		return DROP(DROP_MP_TAG);
	if (window_accept(&path->state, number) != GO_ON)
		return DROP(DROP_MP_REPLAY);
	window_advance(&path->state, number);
	return GO_ON;
}

static __always_inline int receive_tc(struct __sk_buff *skb, bool checked)
{
	struct path *path = path_here();
	struct message *message = reach(skb, ETH_HLEN, sizeof(*message));

	if (!path || !message)
		return TC_ACT_SHOT;
	return accept(path, message, checked) == GO_ON ? TC_ACT_OK : TC_ACT_SHOT;
}

static __always_inline int receive_xdp(struct xdp_md *xdp, bool checked)
{
	struct message *message = message_of(xdp);
	struct path *path = path_here();

	if (!path || !message)
		return XDP_ABORTED;
	return accept(path, message, checked) == GO_ON ? XDP_PASS : XDP_DROP;
}

SEC("tc")
int tc_send(struct __sk_buff *skb)
{
	return send_tc(skb, true);
}

SEC("tc")
int tc_send_without(struct __sk_buff *skb)
{
	return send_tc(skb, false);
}

SEC("tc")
int tc_receive(struct __sk_buff *skb)
{
	return receive_tc(skb, true);
}

SEC("tc")
int tc_receive_without(struct __sk_buff *skb)
{
	return receive_tc(skb, false);
}

SEC("xdp")
int xdp_send(struct xdp_md *xdp)
{
	return send_xdp(xdp, true);
}

SEC("xdp")
int xdp_send_without(struct xdp_md *xdp)
{
	return send_xdp(xdp, false);
}

SEC("xdp")
int xdp_receive(struct xdp_md *xdp)
{
	return receive_xdp(xdp, true);
}

SEC("xdp")
int xdp_receive_without(struct xdp_md *xdp)
{
	return receive_xdp(xdp, false);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
