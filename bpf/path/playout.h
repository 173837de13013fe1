/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Playout: packets that took different ways, or met different queues, go on in the order and the rhythm in which they were sent. Their sender says which
 * (MP_F_SPREAD), so nothing else waits.
 *
 *   time to leave = timestamp + least transit of the session's paths + playout_ms of the class
 *
 * An fq keeps a packet until then (earliest departure time): that of the LAN port, or between tunnels that of a device which is there for nothing else
 * (path/hold.h). What comes later than that leaves at once, but has its time all the same, so that fq sorts it among those of its flow. A port
 * without fq would ignore the time or, worse, some later device would not: there nothing gets one.
 *
 * What is added to the timestamp may grow at once, but falls by PLAYOUT_FALL of the time that passes: else packets would overtake those that wait.
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

#define PLAYOUT_FALL_SHIFT 7	     /* 8 ms a second */
#define PLAYOUT_FORGET_US 2000000    /* nothing waits any more */
#define PLAYOUT_CLOCKS_US 10000

/* 0: not to be put in order. */
static __always_inline __u32 stamp_of(const struct mp_hdr *mp)
{
	if (!(mp->qos & MP_F_SPREAD))
		return 0;
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

static __always_inline __u32 playout_ms(const struct peer *peer, __u32 class)
{
	union {
		__u64 word;
		struct steering is;
	} now = { .word = *(const volatile __u64 *)&peer->steering[class] };

	return now.is.playout_ms;
}

/* What is added to timestamps now, if it is to become `wanted`. CPUs that write at once differ by microseconds. */
static __always_inline __u32 playout_level(struct bundle *bundle, __u32 class, __u32 wanted, __u32 now)
{
	__u32 level = bundle->played_us[class], at = bundle->played_at[class], age = now - at, fall;

	/* Another CPU read the clock later. */
	if (at - now < PLAYOUT_CLOCKS_US)
		age = 0;
	if (!at || age > PLAYOUT_FORGET_US || (__s32)(wanted - level) >= 0 || level - wanted > 2 * PLAYOUT_MAX_US) {
		bundle->played_us[class] = wanted;
		bundle->played_at[class] = now;
		return wanted;
	}
	fall = age >> PLAYOUT_FALL_SHIFT;
	if (!fall)
		return level;
	level -= fall < level - wanted ? fall : level - wanted;
	bundle->played_us[class] = level;
	bundle->played_at[class] = now;
	return level;
}

/* Gives the packet, from j->peer with j->stamp, its time to leave a device with an fq. False: it has none. Counts two counters from `counter`. */
static __always_inline bool playout_time(struct __sk_buff *skb, const struct journey *j, enum counter counter)
{
	struct bundle *bundle = bundle_of(HANDLE_SID(j->handle));
	__u32 class = j->stamp >> STAMP_CLASS_SHIFT & (CLASSES - 1);
	struct peer *peer = peer_of(j->peer);
	__u32 wait = peer ? playout_ms(peer, class) : 0, transit;
	__s32 ahead;
	__u64 now;

	if (!wait || !session_transit(j->handle, &transit))
		return false;
	now = clock_precise();
	transit += wait * 1000;
	if (bundle)
		transit = playout_level(bundle, class, transit, clock_us(now));
	ahead = playout_ahead(j->stamp + transit, clock_us(now));
	if (bpf_skb_set_tstamp(skb, now + (__s64)ahead * 1000, BPF_SKB_TSTAMP_DELIVERY_MONO))
		return false;
	count(counter);
	if (ahead < 0)
		count(counter + 1);
	return true;
}

/* The same, to leave port `ifindex`. 0: it has no time. */
__noinline int playout(struct __sk_buff *skb, const struct journey *j __nonnull, __u32 ifindex)
{
	struct port *port = port_of(ifindex);

	return port && port->flags & PORT_F_FQ && playout_time(skb, j, COUNT_PLAYED);
}

#endif
