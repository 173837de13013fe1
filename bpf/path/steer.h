/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which path a packet for a peer takes.
 *
 *   steering word of the class: its best path, while it lives
 *     -> its second -> any other of its mask -> any that the peer has (backup links too) -> all silent: the best anyway
 */
#ifndef BRANCHLINE_STEER_H
#define BRANCHLINE_STEER_H

#include "drop.h"
#include "liveness.h"
#include "session.h"

/* One load each, see abi.h: with one session's id and another's paths, a packet would be lost. */
union peer_word {
	__u64 word;
	struct {
		__u32 sid;
		__u16 mask;
		__u8 best, flags;
	} is;
};

union steering_word {
	__u64 word;
	struct steering is;
};

static __always_inline union peer_word peer_word(const struct peer *peer)
{
	return (union peer_word){ .word = *(const volatile __u64 *)peer };
}

static __always_inline union steering_word steering_word(const struct peer *peer, enum traffic_class class)
{
	return (union steering_word){ .word = *(const volatile __u64 *)&peer->steering[class] };
}

enum looked {
	LOOKED_DEAD,
	LOOKED_ALIVE,
	LOOKED_LEFT,	/* dead since now */
};

__noinline int look_at(__u32 handle)
{
	struct path_state *state = path_state_of(handle);
	bool before;

	if (!state)
		return LOOKED_DEAD;
	before = state->left;
	if (path_fine(state) || path_look(state))
		return LOOKED_ALIVE;
	return before ? LOOKED_DEAD : LOOKED_LEFT;
}

/* Of a mask that is not 0. */
static __always_inline __u32 lowest(__u32 mask)
{
	__u32 path = 0;

	while (path < MP_PATHS - 1 && !(mask >> path & 1))
		path++;
	return path;
}

/* The path to try at a step, MP_PATHS: none. `ids`: second << 8 | best. */
static __always_inline __u32 candidate(__u32 step, __u32 usable, __u32 mask, __u32 ids)
{
	__u32 path = step - 2;

	if (step == 0)
		path = ids & (MP_PATHS - 1);
	else if (step == 1)
		path = ids >> 8 & (MP_PATHS - 1);
	if (path >= MP_PATHS)
		path -= MP_PATHS;
	else if (step)
		usable &= mask;
	return usable >> path & 1 ? path : MP_PATHS;
}

/* `instead`: the id of the path that is taken now. */
static __always_inline void report_left(__u32 handle, __u32 instead)
{
	struct path_conf *conf = path_conf_of(handle);
	struct event *event = event_of_path(EVENT_PATH_LEFT, handle);

	if (!event)
		return;
	event->ifindex = conf ? conf->ifindex : 0;
	event->value = instead;
	bpf_ringbuf_submit(event, 0);
}

/*
 * Handle of the first path that lives, in the order above; 0: the peer has none. For whom the fast question is not enough: looks at each.
 * `paths`: usable << 16 | mask of the class; `ids`: second << 8 | best.
 */
__noinline __u32 search_path(__u32 sid, __u32 paths, __u32 ids)
{
	__u32 usable = paths >> 16, mask = paths & 0xffff, taken = MP_PATHS, left = 0;

	if (!usable)
		return 0;
	for (__u32 step = 0; step < 2 + 2 * MP_PATHS; step++) {
		__u32 path = candidate(step, usable, mask, ids);
		int looked;

		if (path == MP_PATHS)
			continue;
		looked = look_at(sid | path);
		if (looked == LOOKED_LEFT)
			left = sid | path;
		if (looked == LOOKED_ALIVE) {
			taken = path;
			break;
		}
	}
	if (left)
		report_left(left, taken);
	if (taken == MP_PATHS)
		taken = usable >> (ids & (MP_PATHS - 1)) & 1 ? ids & (MP_PATHS - 1) : lowest(usable);
	return sid | taken;
}

#endif
