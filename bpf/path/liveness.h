/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Is a path alive? The senders find out by themselves, packet by packet, so that traffic has left a dead path before an agent has woken up.
 *
 *   sender, once a jiffy and path:  heard lately -> nothing
 *                                   silent       -> the next DATA packet asks (MP_F_ASK); enough of them unanswered for long enough: left
 *   receiver of MP_F_ASK:           answers at once, as a probe is answered (path/probe.h)
 *
 * Any authenticated packet of the path is an answer, so traffic in both directions asks nothing, and a path without traffic is not judged: the
 * agent's probes are for that. Only the agent clears `left`, after a while, so that a path that comes and goes does not take traffic with it.
 *
 * Senders alone write what a sender reads: of the receiver they read last_rx_ns, and that once a jiffy.
 */
#ifndef BRANCHLINE_LIVENESS_H
#define BRANCHLINE_LIVENESS_H

#include "drop.h"

#define ASK_DUE 0x80		/* of path_state.asks: the next packet asks */
#define ASK_COUNT 0x7f
#define ASK_SILENCE_NS 8000000	/* below the 10 ms between the packets of a call, so that none of them is spared */
#define ASK_EVERY_US 8000
#define ASKS_ENOUGH 3		/* a lost packet, or two, are no dead path */
#define PATIENCE_MARGIN_MS 10	/* of the other end, and of two clocks that tick every 1 to 10 ms */
#define PATIENCE_DEFAULT_MS 100 /* until a round trip was measured */

/* The fast question, on a line that the sender needs anyway. False: path_look() knows more. */
static __always_inline bool path_fine(const struct path_state *state)
{
	return !state->left && state->looked == (__u32)bpf_jiffies64();
}

/* Patience from the round trip: RFC 6298, 2.3, without its floor of a second, which is for congestion. */
static __always_inline void patience_learn(struct path_state *state)
{
	__u64 ms = ((__u64)state->srtt_us + 4ULL * state->rttvar_us) / 1000 + PATIENCE_MARGIN_MS;

	if (state->srtt_us)
		state->patience = ms < 0xffff ? ms : 0xffff;
}

/*
 * False: the path was left, now or before. Two CPUs that look at once write the same. Times are coarse; a packet heard in the tick of the first
 * question was heard after it, since the path had been silent for longer than a tick before.
 */
static __always_inline bool path_look(struct path_state *state)
{
	__u64 now = clock_coarse();
	__u32 asks = state->asks & ASK_COUNT, age_us;
	__s64 silence = now - state->last_rx_ns;
	__u32 patience_ms = state->patience ? state->patience : PATIENCE_DEFAULT_MS;

	if (state->left)
		return false;
	state->looked = bpf_jiffies64();
	if (silence < ASK_SILENCE_NS) {
		if (state->asks)
			state->asks = 0;
		return true;
	}
	age_us = clock_us(now) - state->asked_first;
	if (!asks || silence <= (__s64)age_us * 1000) {
		state->asked_first = clock_us(now);
		state->asks = ASK_DUE;
		return true;
	}
	if (asks >= ASKS_ENOUGH && age_us > patience_ms * 1000) {
		state->left = 1;
		return false;
	}
	if (age_us >= asks * ASK_EVERY_US)
		state->asks = asks | ASK_DUE;
	return true;
}

/* Bits for `qos` of a DATA packet that is about to leave. */
static __always_inline __u8 ask_take(struct path_state *state)
{
	__u8 asks = state->asks & ASK_COUNT;

	if (!(state->asks & ASK_DUE))
		return 0;
	state->asks = asks < ASK_COUNT ? asks + 1 : asks;
	count(COUNT_ASK_OUT);
	return MP_F_ASK;
}

#endif
