/* SPDX-License-Identifier: Apache-2.0 */
/* What came of numbered packets: each number counts once; delays and runs of losses are added up at the end. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tally {
	uint64_t received, duplicated, reordered, foreign, next, first_ns, last_ns, longest_gap_ns;
	uint64_t *seen; /* bitmap */
	uint64_t words;
	uint32_t *delays_us; /* of the packets in order of arrival */
	uint64_t room;
};

static void *tally_grow(void *array, uint64_t bytes)
{
	array = realloc(array, bytes);
	if (!array) {
		perror("realloc");
		exit(1);
	}
	return array;
}

static bool tally_has(const struct tally *tally, uint64_t number)
{
	return number / 64 < tally->words && tally->seen[number / 64] & 1ull << number % 64;
}

/* True when the number is new. */
static bool mark_seen(struct tally *tally, uint64_t number)
{
	uint64_t word = number / 64;

	if (tally_has(tally, number))
		return false;
	if (word >= tally->words) {
		uint64_t words = word * 2 + 64;

		tally->seen = tally_grow(tally->seen, words * 8);
		memset(tally->seen + tally->words, 0, (words - tally->words) * 8);
		tally->words = words;
	}
	tally->seen[word] |= 1ull << number % 64;
	return true;
}

/* @sent_ns: by the clock of @now_ns, which sender and receiver share: they are on one machine. */
static void tally_packet(struct tally *tally, uint64_t number, uint64_t sent_ns, uint64_t now_ns)
{
	if (number >> 32 || !mark_seen(tally, number)) {
		tally->duplicated++;
		return;
	}
	if (tally->received == tally->room) {
		tally->room = tally->room * 2 + 1024;
		tally->delays_us = tally_grow(tally->delays_us, tally->room * sizeof(*tally->delays_us));
	}
	tally->delays_us[tally->received++] = (now_ns - sent_ns) / 1000;
	if (number < tally->next)
		tally->reordered++;
	else
		tally->next = number + 1;
	if (tally->last_ns && now_ns - tally->last_ns > tally->longest_gap_ns)
		tally->longest_gap_ns = now_ns - tally->last_ns;
	tally->first_ns = tally->first_ns ? tally->first_ns : now_ns;
	tally->last_ns = now_ns;
}

/* Runs of missing numbers between those that came. */
static uint64_t lost_runs(const struct tally *tally)
{
	uint64_t runs = 0;

	for (uint64_t number = 1; number < tally->next; number++)
		runs += !tally_has(tally, number) && tally_has(tally, number - 1);
	return runs + (tally->next && !tally_has(tally, 0));
}

static int by_delay(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void print_tally(struct tally *tally)
{
	uint64_t last = tally->received ? tally->received - 1 : 0, sum = 0;
	uint32_t none = 0, *delays = tally->received ? tally->delays_us : &none;

	qsort(delays, last + 1, sizeof(*delays), by_delay);
	for (uint64_t i = 0; i < tally->received; i++)
		sum += delays[i];
	printf("{\"received\":%lu,\"duplicated\":%lu,\"reordered\":%lu,\"foreign\":%lu,\"next\":%lu,\"longestGapMs\":%lu,"
	       "\"spanMs\":%lu,\"lostRuns\":%lu,\"delayUs\":{\"min\":%u,\"median\":%u,\"p99\":%u,\"max\":%u,\"mean\":%lu}}\n",
	       tally->received, tally->duplicated, tally->reordered, tally->foreign, tally->next,
	       tally->longest_gap_ns / 1000000, (tally->last_ns - tally->first_ns) / 1000000, lost_runs(tally), delays[0], delays[last / 2], delays[last * 99 / 100],
	       delays[last], tally->received ? sum / tally->received : 0);
}
