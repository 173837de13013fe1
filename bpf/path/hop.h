/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The Ethernet addresses on the way to a path's next hop. bpf_redirect_neigh asks the kernel for every packet; what it answered is seen
 * at the WAN device's egress and remembered here for 128 to 256 jiffies. In the second half of that one packet goes by the kernel again, which
 * so keeps the neighbour's state, follows a change, and stays the only one to resolve. bpf_fib_lookup is no way: it refuses devices that do not forward.
 *
 *   state->hop[0], hop[1]: destination, source: 16 bits of time above the 48 of the address
 *   state->hop_asked: when a packet was last sent to ask
 *   state->hop_remote: the path's far address then; a peer that moved may be behind another neighbour
 */
#ifndef BRANCHLINE_HOP_H
#define BRANCHLINE_HOP_H

#include "kernel.h"
#include "../abi.h"

#define HOP_TIME_SHIFT 48

static __always_inline __u64 hop_time(void)
{
	return bpf_jiffies64() >> 7 & 0xffff;
}

static __always_inline bool hop_fresh(__u64 hop, __u64 now)
{
	/* 0 is not a hop: nobody's address is 00:00:00:00:00:00. */
	return hop << 16 && ((now - (hop >> HOP_TIME_SHIFT)) & 0xffff) <= 1;
}

static __always_inline __u64 hop_of(const __u8 *mac, __u64 now)
{
	return now << HOP_TIME_SHIFT | (__u64)*(__u16 *)(mac + 4) << 32 | *(__u32 *)mac;
}

static __always_inline void hop_write(__u8 *mac, __u64 hop)
{
	__u16 *halves = (__u16 *)mac;

	/* An address on the stack is aligned to no more. */
	halves[0] = hop;
	halves[1] = hop >> 16;
	halves[2] = hop >> 32;
}

/* From a frame that the kernel addressed. */
static __always_inline void hop_learn(struct path_state *state, const struct path_conf *conf, const struct ethhdr *eth)
{
	const __u64 *remote = (const __u64 *)conf->remote;
	__u64 now = hop_time();

	if (state->hop[0] == hop_of(eth->h_dest, now) && state->hop_remote[0] == remote[0] && state->hop_remote[1] == remote[1])
		return;
	/* Invalid until all of it is there: another CPU may read. */
	*(volatile __u64 *)&state->hop[0] = 0;
	*(volatile __u64 *)&state->hop_remote[0] = remote[0];
	*(volatile __u64 *)&state->hop_remote[1] = remote[1];
	*(volatile __u64 *)&state->hop[1] = hop_of(eth->h_source, now);
	*(volatile __u64 *)&state->hop[0] = hop_of(eth->h_dest, now);
}

/* False: ask the kernel. */
static __always_inline bool hop_address(struct path_state *state, const struct path_conf *conf, struct ethhdr *eth)
{
	const __u64 *remote = (const __u64 *)conf->remote;
	__u64 dest = *(volatile __u64 *)&state->hop[0];
	__u64 source = *(volatile __u64 *)&state->hop[1];

	__u64 now = hop_time();

	if (!hop_fresh(dest, now) || state->hop_remote[0] != remote[0] || state->hop_remote[1] != remote[1])
		return false;
	/* Two CPUs that both ask do no harm. */
	if (dest >> HOP_TIME_SHIFT != now && state->hop_asked != now) {
		state->hop_asked = now;
		return false;
	}
	hop_write(eth->h_dest, dest);
	hop_write(eth->h_source, source);
	return true;
}

#endif
