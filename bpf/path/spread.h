/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Traffic of a class over several paths at once: the live one of its mask that costs a packet least.
 *
 *   SPREAD_FLOWS:    a number by chance from flow and path, by the path's rate: a flow stays where it is, and a dead path moves only its own flows
 *   SPREAD_PACKETS:  the time of arrival: when the link is free, length by rate, delay
 */
#ifndef BRANCHLINE_SPREAD_H
#define BRANCHLINE_SPREAD_H

#include "encap.h"
#include "steer.h"

#define COST_NEVER (~0ULL)
#define RATE_UNKNOWN 1250	     /* bytes per ms; so that a path whose rate nobody knows gets some flows */
#define BACKLOG_MAX_NS 200000000ULL /* what the link's own queue drops is not waited for */
#define ESP_BYTES 56		     /* what XFRM adds to a packet: addresses, ESP, IV, padding, ICV; two more or less do not matter */

/* What is given to a link at once, without the headers of MP. */
union weight {
	__u64 word;
	struct {
		__u32 length;	/* bytes; 0: nothing is sent now */
		__u32 pieces;	/* packets that it becomes */
	} is;
};

static __always_inline union weight weigh(__u32 length, __u32 pieces)
{
	return (union weight){ .is = { .length = length, .pieces = pieces } };
}

/* The 32-bit finalizer of MurmurHash3. */
static __always_inline __u32 mix(__u32 x)
{
	x = (x ^ x >> 16) * 0x85ebca6b;
	x = (x ^ x >> 13) * 0xc2b2ae35;
	return x ^ x >> 16;
}

/* -log2(x / 2^32) times 2^16, to 0.01 or so: the mantissa by a parabola. x is not 0. */
static __always_inline __u32 minus_log2(__u32 x)
{
	__u32 power = 31, f;

#pragma unroll
	for (int step = 16; step; step /= 2) {
		__u32 small = x >> (32 - step) ? 0 : step;

		x <<= small;
		power -= small;
	}
	f = x >> 15 & 0xffff;
	f += (f * (0x10000 - f) >> 16) * 22703 >> 16;
	return (32 << 16) - (power << 16) - f;
}

/*
 * Weighted rendezvous hashing: -log(u) / weight, least wins (Schindelhauer, Schomaker 2005), u by chance from flow and path. A path is left by those flows
 * alone that another draws to it when it comes.
 */
__noinline __u64 cost_of_flow(__u32 handle, __u32 flow)
{
	struct path_conf *conf = path_conf_of(handle);
	__u32 chance = mix(flow ^ mix(HANDLE_PATH(handle) + 1)), rate;

	if (!conf)
		return COST_NEVER;
	rate = conf->rate ? conf->rate : RATE_UNKNOWN;
	return ((__u64)minus_log2(chance ? chance : 1) << 32) / rate;
}

/* When a packet would be there, ns; COST_NEVER: nobody knows. */
__noinline __u64 cost_of_packet(__u32 handle, __u64 weight, __u64 now)
{
	union weight given = { .word = weight };
	struct path_state *state = path_state_of(handle);
	struct path_conf *conf = path_conf_of(handle);
	union {
		__u64 word;
		struct { __u32 rate, delay_us; } is;
	} way;
	__u64 free, bytes;

	if (!state || !conf)
		return COST_NEVER;
	way.word = *(const volatile __u64 *)&conf->rate;
	if (!way.is.rate)
		return COST_NEVER;
	free = *(volatile __u64 *)&state->busy_until_ns;
	if ((__s64)(free - now) < 0)
		free = now;
	/* As the link's rate is counted: whole frames. */
	bytes = given.is.length + (__u64)given.is.pieces * (headers_length(conf) + ETH_HLEN);
	return free + bytes * 1000000 / way.is.rate + (__u64)way.is.delay_us * 1000;
}

/* Two CPUs at once may count one packet less: the link is then thought a little emptier than it is. */
static __always_inline void make_busy(__u32 handle, __u64 arrival)
{
	struct path_state *state = path_state_of(handle);
	struct path_conf *conf = path_conf_of(handle);
	__u64 until;

	if (!state || !conf)
		return;
	until = arrival - (__u64)conf->delay_us * 1000;
	*(volatile __u64 *)&state->busy_until_ns = until;
}

/* Handle of the path; 0: the mode does not say, so take the best. */
__noinline __u32 spread_path(const struct peer *peer __nonnull, __u32 class, __u32 flow, __u64 weight)
{
	union peer_word now = peer_word(peer);
	union steering_word by = steering_word(peer, class & (CLASSES - 1));
	__u32 mask = by.is.mask & now.is.mask, chosen = 0;
	__u64 least = COST_NEVER, time = clock_coarse();

	if (by.is.mode == SPREAD_PACKETS)
		time = clock_precise();
	for (__u32 path = 0; path < MP_PATHS; path++) {
		__u32 handle = now.is.sid | path;
		__u64 cost;

		if (!(mask >> path & 1) || look_at(handle) != LOOKED_ALIVE)
			continue;
		cost = by.is.mode == SPREAD_FLOWS ? cost_of_flow(handle, flow) : cost_of_packet(handle, weight, time);
		if (cost < least) {
			least = cost;
			chosen = handle;
		}
	}
	if (by.is.mode == SPREAD_PACKETS && least - time < BACKLOG_MAX_NS)
		make_busy(chosen, least);
	return chosen;
}

#endif
