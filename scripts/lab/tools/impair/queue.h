/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that wait, by the time they leave at: a binary heap. Equal times leave in the order of their arrival. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* What a runaway sender may take of the machine's memory; 4 s of full frames at 10,000 packets a second. */
#define QUEUE_BYTES (64u << 20)

struct waiting {
	uint64_t due_ns, number;
	uint32_t length;
	uint8_t frame[];
};

struct queue {
	struct waiting **heap;
	uint32_t count, room;
	uint64_t bytes, numbered;
};

static bool leaves_before(const struct waiting *a, const struct waiting *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

/* An empty frame to be filled; NULL when the queue or the machine is full. */
static struct waiting *queue_frame(struct queue *queue, uint32_t length)
{
	struct waiting *frame;

	if (queue->bytes + length > QUEUE_BYTES)
		return NULL;
	if (queue->count == queue->room) {
		uint32_t room = queue->room * 2 + 256;
		struct waiting **heap = realloc(queue->heap, room * sizeof(*heap));

		if (!heap)
			return NULL;
		queue->heap = heap;
		queue->room = room;
	}
	frame = malloc(sizeof(*frame) + length);
	if (frame)
		frame->length = length;
	return frame;
}

/* Takes a frame of queue_frame(), with its due_ns set. */
static void queue_push(struct queue *queue, struct waiting *frame)
{
	uint32_t at = queue->count++;

	frame->number = queue->numbered++;
	queue->bytes += frame->length;
	while (at && leaves_before(frame, queue->heap[(at - 1) / 2])) {
		queue->heap[at] = queue->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	queue->heap[at] = frame;
}

static const struct waiting *queue_first(const struct queue *queue)
{
	return queue->count ? queue->heap[0] : NULL;
}

/* Of a queue that is not empty; the caller frees it. */
static struct waiting *queue_pop(struct queue *queue)
{
	struct waiting *first = queue->heap[0], *last = queue->heap[--queue->count];
	uint32_t at = 0, child;

	queue->bytes -= first->length;
	for (; (child = at * 2 + 1) < queue->count; at = child) {
		if (child + 1 < queue->count && leaves_before(queue->heap[child + 1], queue->heap[child]))
			child++;
		if (!leaves_before(queue->heap[child], last))
			break;
		queue->heap[at] = queue->heap[child];
	}
	queue->heap[at] = last;
	return first;
}
