/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a packet's timestamp tells about its path.
 *
 *   arrival - timestamp = transit -> least of late (the path's, the bundle's) -> delay above it, in a histogram
 *                                 -> change since the packet before -> jitter
 *
 * The two clocks have nothing to do with each other, so a transit means nothing by itself, only its difference to another of the same session.
 * All is modulo 2^32: transits are compared by the sign of their difference.
 *
 * CPUs write here without asking each other. One may undo what another did in the same nanoseconds: a packet is then missing in the histogram, or
 * a minimum appears with the next packet. An atomic for each would cost more than the measurement.
 */
#ifndef BRANCHLINE_DELAY_H
#define BRANCHLINE_DELAY_H

#include "clock.h"
#include "session.h"

/* Farther from the least than any path is: a clock was set, or the peer began anew. */
#define TRANSIT_FAR_US 10000000

#define MEASURE_GAP_NS 1000000
#define MEASURE_NUMBERS 16

/*
 * Whether to pay a precise clock read (33 ns) for this packet: the first one after a millisecond, or after a tick of the coarse clock that `now` may be,
 * so that of a slow flow all are measured; and every 16th, since a burst's first packet sees no queue. last_rx_ns is still that of the packet before.
 */
static __always_inline bool measure_due(const struct path_state *state, __u64 number, __u64 now)
{
	return !(number & (MEASURE_NUMBERS - 1)) || (__s64)(now - state->last_rx_ns) >= MEASURE_GAP_NS;
}

/* The least of this epoch and of the one before. `far`: forget both. */
static __always_inline __u32 transit_least(__u32 *least, __u32 *newest, __u32 *last_epoch, __u32 epoch, __u32 transit, bool far)
{
	__u32 before = *newest;

	if (*last_epoch != epoch || far) {
		*least = *last_epoch + 1 == epoch && !far && (__s32)(transit - before) > 0 ? before : transit;
		*newest = transit;
		*last_epoch = epoch;
		return *least;
	}
	if ((__s32)(transit - before) < 0)
		*newest = transit;
	if ((__s32)(transit - *least) < 0)
		*least = transit;
	return *least;
}

/* Bucket n holds delays below DELAY_BUCKET_US << n: n is how many bits the number of whole DELAY_BUCKET_US has. */
static __always_inline __u32 delay_bucket(__u32 delay_us)
{
	__u32 units = delay_us / DELAY_BUCKET_US, bits = 0;

	if (units >> (DELAY_BUCKETS - 1))
		return DELAY_BUCKETS - 1;
	if (units >> 8) {
		units >>= 8;
		bits += 8;
	}
	if (units >> 4) {
		units >>= 4;
		bits += 4;
	}
	if (units >> 2) {
		units >>= 2;
		bits += 2;
	}
	/* Of what is left, 2 and 3 have two bits. */
	return bits + (units > 2 ? 2 : units);
}

static __always_inline bool transit_is_far(__u32 transit, __u32 least)
{
	return (__u32)(transit - least + TRANSIT_FAR_US) > 2 * TRANSIT_FAR_US;
}

/* RFC 3550, A.8: a sixteenth of each change. */
static __always_inline void jitter_learn(struct path_state *state, __u32 transit)
{
	__s32 change = transit - state->transit_last_us;

	if (change < 0)
		change = -change;
	state->jitter_us += change - ((state->jitter_us + 8) >> 4);
}

/* Of an authentic packet that arrived at `now` (precise). */
static __noinline void measure(struct path_state *state, __u32 handle, __be32 timestamp, __u64 now)
{
	__u32 transit = clock_us(now) - bpf_ntohl(timestamp);
	__u32 epoch = (now >> TRANSIT_EPOCH_SHIFT) + 2; /* the first one is not the successor of "nothing yet" */
	struct bundle *bundle = bundle_of(HANDLE_SID(handle));
	bool first = !state->transit_epoch;
	bool far = !first && transit_is_far(transit, state->transit_us);
	__u32 least, bucket;

	least = transit_least(&state->transit_us, &state->transit_newest_us, &state->transit_epoch, epoch, transit, far);
	if (bundle)
		transit_least(&bundle->transit_us, &bundle->transit_newest_us, &bundle->transit_epoch, epoch, transit,
			      bundle->transit_epoch && transit_is_far(transit, bundle->transit_us));
	if (!first && !far)
		jitter_learn(state, transit);
	state->transit_last_us = transit;
	bucket = delay_bucket(transit - least);
	if (bucket < DELAY_BUCKETS)
		state->delay[bucket]++;
}

#endif
