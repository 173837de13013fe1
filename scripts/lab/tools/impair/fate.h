/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a frame:
 *
 *   filter -> blackhole -> loss -> duplicate -> corrupt -> rate and its queue -> delay, jitter, reordering -> waits until due
 *      \_ not meant: leaves at once
 */
#pragma once
#include "packet.h"
#include "profile.h"
#include "queue.h"
#include "random.h"

struct counters {
	uint64_t received, sent, sent_bytes;
	/* frames that ended here, by cause */
	uint64_t blackhole, loss, queue, memory;
	/* frames that a device or socket did not give or take */
	uint64_t offloaded, missed, refused;
	/* frames that went on changed */
	uint64_t duplicated, corrupted, reordered;
};

struct fate {
	struct profile profile;
	struct random random;
	bool losing; /* Gilbert-Elliott: in the bad state, which loses every packet */
	uint64_t run; /* packets lost in a row */
	uint64_t arrived_ns; /* the frame before */
	uint64_t bucket_ns; /* token bucket as a clock: when all that it has let go would have left at the rate */
	struct queue waiting;
	struct counters count;
};

/*
 * Gilbert's two states ("Capacity of a burst-noise channel", 1960), good loses nothing and bad everything: with r = 1 / burst out of bad
 * and p = r * loss / (1 - loss) into it, runs have the mean length `burst` and the share lost is `loss`. Even runs end when they
 * have that length.
 */
static bool lose(struct fate *fate)
{
	const struct profile *p = &fate->profile;
	double out, into;

	if (!p->burst || p->loss >= 1)
		return random_chance(&fate->random, p->loss);
	out = 1 / p->burst;
	into = out * p->loss / (1 - p->loss);
	if (p->even && fate->losing)
		fate->losing = fate->run < p->burst;
	else
		fate->losing = random_chance(&fate->random, fate->losing ? 1 - out : into);
	fate->run = fate->losing ? fate->run + 1 : 0;
	return fate->losing;
}

/* When the rate lets it go; 0: the queue is full. */
static uint64_t rate_departure(struct fate *fate, uint32_t length, uint64_t arrival_ns)
{
	const struct profile *p = &fate->profile;
	uint64_t depth_ns, clock_ns;

	if (!p->rate)
		return arrival_ns;
	depth_ns = p->bucket * 8 * 1000000000.0 / p->rate;
	clock_ns = fate->bucket_ns + depth_ns > arrival_ns ? fate->bucket_ns : arrival_ns - depth_ns;
	clock_ns += length * 8 * 1000000000.0 / p->rate;
	if (clock_ns > arrival_ns + p->queue_ns)
		return 0;
	fate->bucket_ns = clock_ns;
	return clock_ns > arrival_ns ? clock_ns : arrival_ns;
}

static uint64_t delayed(struct fate *fate, uint64_t departure_ns)
{
	const struct profile *p = &fate->profile;
	uint64_t due_ns = departure_ns + p->delay_ns;

	if (p->jitter_ns)
		due_ns += (int64_t)((random_unit(&fate->random) * 2 - 1) * p->jitter_ns);
	if (random_chance(&fate->random, p->reorder)) {
		fate->count.reordered++;
		due_ns -= p->reorder_by_ns;
	}
	return due_ns < departure_ns ? departure_ns : due_ns;
}

static void flip_bit(struct fate *fate, uint8_t *frame, uint32_t length)
{
	uint32_t bit = random_next(&fate->random) % ((length - ETH_HLEN) * 8);

	frame[ETH_HLEN + bit / 8] ^= 1 << bit % 8;
	fate->count.corrupted++;
}

static void wait_until(struct fate *fate, struct waiting *frame, uint64_t due_ns)
{
	frame->due_ns = due_ns;
	queue_push(&fate->waiting, frame);
}

static struct waiting *copy_frame(struct fate *fate, const uint8_t *bytes, uint32_t length)
{
	struct waiting *frame = queue_frame(&fate->waiting, length);

	if (frame)
		memcpy(frame->frame, bytes, length);
	else
		fate->count.memory++;
	return frame;
}

static void travel(struct fate *fate, const uint8_t *bytes, uint32_t length, uint64_t arrival_ns)
{
	struct waiting *frame;
	uint64_t departure_ns = rate_departure(fate, length, arrival_ns);

	if (!departure_ns) {
		fate->count.queue++;
		return;
	}
	frame = copy_frame(fate, bytes, length);
	if (!frame)
		return;
	if (length > ETH_HLEN && random_chance(&fate->random, fate->profile.corrupt))
		flip_bit(fate, frame->frame, length);
	wait_until(fate, frame, delayed(fate, departure_ns));
}

static void decide(struct fate *fate, const uint8_t *bytes, uint32_t length, uint64_t arrival_ns)
{
	fate->count.received++;
	/* Two clocks and a timestamp never agree to the nanosecond; frames that nothing reorders stay in order all the same. */
	if (arrival_ns < fate->arrived_ns)
		arrival_ns = fate->arrived_ns;
	fate->arrived_ns = arrival_ns;
	if (!selected(&fate->profile, bytes, length)) {
		struct waiting *frame = copy_frame(fate, bytes, length);

		if (frame)
			wait_until(fate, frame, arrival_ns);
		return;
	}
	if (fate->profile.blackhole) {
		fate->count.blackhole++;
		return;
	}
	if (lose(fate)) {
		fate->count.loss++;
		return;
	}
	travel(fate, bytes, length, arrival_ns);
	if (random_chance(&fate->random, fate->profile.duplicate)) {
		fate->count.duplicated++;
		travel(fate, bytes, length, arrival_ns);
	}
}
