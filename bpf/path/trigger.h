/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a probe's trigger asks for beyond a round trip: to learn what size gets through (agent/paths/mtu.ts). Several probes of one round leave
 * together, each padded to a size of its own; every reply is as long as its probe, so the largest that comes back proves both directions.
 *
 * The tag covers no length. Who can lengthen packets on the way could as well drop the long ones.
 */
#ifndef BRANCHLINE_TRIGGER_H
#define BRANCHLINE_TRIGGER_H

#include "drop.h"
#include "parse.h"
#include "session.h"

#define PAD_STEP 64U
#define PAD_STEPS (65536 / PAD_STEP)
/* Of the trigger in a reply: behind the MP header and its own IPv4 and UDP headers. */
#define TRIGGER_OFFSET (MP_HDR_LEN + sizeof(struct iphdr) + sizeof(struct udphdr))

struct padding {
	struct __sk_buff *skb;
	__u32 from, end;
};

static long pad_step(__u32 index, struct padding *pad)
{
	__u64 zeros[PAD_STEP / 8] = {};
	__u32 from = pad->from + index * PAD_STEP;
	__u32 length;

	if (from >= pad->end)
		return 1;
	length = pad->end - from < PAD_STEP ? pad->end - from : PAD_STEP;
	/* The mask tells the verifier that it is 1 to 64. */
	length = ((length - 1) & (PAD_STEP - 1)) + 1;
	return bpf_skb_store_bytes(pad->skb, from, zeros, length, 0) ? 1 : 0;
}

/* Makes the trigger so long that its probe will have `size` bytes on the path. What the kernel adds may hold anything: zeros over it. */
static __always_inline int trigger_pad(struct __sk_buff *skb, __u32 handle, __u32 size)
{
	struct path_conf *conf = path_conf_of(handle);
	struct padding pad = { .skb = skb, .from = skb->len };
	__u32 around = MP_HDR_LEN + sizeof(struct udphdr);

	if (!conf || conf->family == FAMILY_NONE)
		return DROP(DROP_NO_PATH);
	around += conf->family == FAMILY_IPV6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	pad.end = L3 + size - around;
	if (size <= around || pad.end <= pad.from)
		return GO_ON;
	if (bpf_skb_change_tail(skb, pad.end, 0))
		return DROP(DROP_REWRITE);
	bpf_loop(PAD_STEPS, pad_step, &pad, 0);
	return GO_ON;
}

/* Keeps the largest size of the newest round. Whether the reply is of one at all; its MP packet of `length` bytes stands at `offset`. */
__noinline bool trigger_answered(struct __sk_buff *skb, struct path_state *state __nonnull, __u32 offset, __u32 length)
{
	__u32 probed = *(volatile __u32 *)&state->probed_size, now = offset - L3 + length;
	__u8 round;

	if (bpf_skb_load_bytes(skb, offset + TRIGGER_OFFSET + offsetof(struct mp_trigger, round), &round, 1) || !round)
		return false;
	if (now > 0xffff)
		now = 0xffff;
	now |= (__u32)round << 16;
	/* Another round, or a larger reply of the same. */
	if (probed >> 16 != round || probed < now)
		*(volatile __u32 *)&state->probed_size = now;
	return true;
}

#endif
