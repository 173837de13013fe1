/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Playout: packets that took different ways, or met different queues, leave for the LAN in the order and the rhythm in which they were sent.
 *
 *   time to leave = timestamp + least transit of the session's paths + playout_ms of the class
 *
 * The port's fq keeps a packet until then (earliest departure time). What comes later than that leaves at once, but has its time all the same, so that
 * fq sorts it among those of its flow. A port without fq would ignore the time or, worse, some later device would not: there nothing gets one.
 *
 * A *stamp* is what this needs of the MP header, in 32 bits, since skb->priority is all that a packet takes along through XFRM:
 * STAMP_VALID, class, low 29 bits of the timestamp. Times are compared modulo 2^29 µs, 9 minutes.
 */
#ifndef BRANCHLINE_PLAYOUT_H
#define BRANCHLINE_PLAYOUT_H

#include "drop.h"
#include "session.h"

#define STAMP_VALID (1U << 31)
#define STAMP_CLASS_SHIFT 29
#define STAMP_TIME_BITS 29

/* Whatever the clocks say: no packet waits longer. */
#define PLAYOUT_MAX_US 250000

static __always_inline __u32 stamp_of(const struct mp_hdr *mp)
{
	return STAMP_VALID | (__u32)mp->qos >> MP_CLASS_SHIFT << STAMP_CLASS_SHIFT |
	       (bpf_ntohl(mp->timestamp_us) & ((1U << STAMP_TIME_BITS) - 1));
}

/* Others set priorities too. */
static __always_inline __u32 stamp_of_priority(__u32 priority)
{
	return priority & STAMP_VALID ? priority : 0;
}

/* µs from `now` until `time`, below 0: since then. Both modulo 2^STAMP_TIME_BITS at least. */
static __always_inline __s32 playout_ahead(__u32 time, __u32 now)
{
	__s32 ahead = (__s32)((time - now) << (32 - STAMP_TIME_BITS)) >> (32 - STAMP_TIME_BITS);

	if (ahead > PLAYOUT_MAX_US)
		return PLAYOUT_MAX_US;
	return ahead < -PLAYOUT_MAX_US ? -PLAYOUT_MAX_US : ahead;
}

/* Least transit of the session, into `transit`. False: nothing was measured yet. A session of one path has no bundle. */
static __always_inline bool session_transit(__u32 handle, __u32 *transit)
{
	struct bundle *bundle = bundle_of(HANDLE_SID(handle));
	struct path_state *state;

	if (bundle && bundle->transit_epoch) {
		*transit = bundle->transit_us;
		return true;
	}
	state = path_state_of(handle);
	if (!state || !state->transit_epoch)
		return false;
	*transit = state->transit_us;
	return true;
}

static __always_inline __u32 playout_ms(const struct peer *peer, __u32 stamp)
{
	const struct steering *steering = &peer->steering[stamp >> STAMP_CLASS_SHIFT & (CLASSES - 1)];
	union {
		__u64 word;
		struct steering is;
	} now = { .word = *(const volatile __u64 *)steering };

	return now.is.playout_ms;
}

/* Gives the packet, from j->peer with j->stamp, its time to leave port `ifindex`. 0: it has none. */
__noinline int playout(struct __sk_buff *skb, const struct journey *j __nonnull, __u32 ifindex)
{
	struct peer *peer = peer_of(j->peer);
	__u32 wait = peer ? playout_ms(peer, j->stamp) : 0, transit;
	struct port *port;
	__s32 ahead;
	__u64 now;

	if (!wait)
		return 0;
	port = port_of(ifindex);
	if (!port || !(port->flags & PORT_F_FQ) || !session_transit(j->handle, &transit))
		return 0;
	now = clock_precise();
	ahead = playout_ahead(j->stamp + transit + wait * 1000, clock_us(now));
	if (bpf_skb_set_tstamp(skb, now + (__s64)ahead * 1000, BPF_SKB_TSTAMP_DELIVERY_MONO))
		return 0;
	count(COUNT_PLAYED);
	if (ahead < 0)
		count(COUNT_PLAYED_LATE);
	return 1;
}

#endif
