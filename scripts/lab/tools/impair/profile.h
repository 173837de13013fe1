/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one direction suffers, and the line that says so: one flat JSON object of numbers, true, false and plain words.
 *
 *   {"do":"set","direction":"out","delayNs":20000000,"loss":0.01}      replaces all of that direction's settings; what is left out is off
 *   {"do":"counters"}
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct profile {
	uint64_t delay_ns;
	uint64_t jitter_ns; /* uniform in [-jitter, +jitter] around the delay */
	double loss;
	double burst; /* mean length of a run of losses; 0: independent losses */
	bool even; /* every run has just that length */
	double duplicate;
	double corrupt; /* one bit behind the Ethernet header */
	double reorder; /* share that leaves earlier … */
	uint64_t reorder_by_ns; /* … by this */
	uint64_t rate; /* bit/s of Ethernet frames without FCS, as a Linux qdisc counts; 0: no limit */
	uint64_t bucket; /* bytes that may leave at once */
	uint64_t queue_ns; /* longest wait for the rate; what would wait longer is dropped at the tail */
	bool blackhole;
	/* Only these packets suffer. Sizes are of the IP packet; the match is in the UDP payload. */
	uint64_t larger_than, smaller_than;
	uint64_t match_bytes, match_offset, match_mask, match_value; /* match_bytes 0: every packet */
};

enum verb { VERB_SET, VERB_COUNTERS };

struct command {
	enum verb verb;
	int direction; /* place in `directions`, -1: none named */
	struct profile profile;
};

enum field_kind { FIELD_UINT, FIELD_SHARE, FIELD_REAL, FIELD_BOOL };

static const struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
} fields[] = {
#define FIELD(name, kind, member) { name, kind, offsetof(struct profile, member) }
	FIELD("delayNs", FIELD_UINT, delay_ns),
	FIELD("jitterNs", FIELD_UINT, jitter_ns),
	FIELD("loss", FIELD_SHARE, loss),
	FIELD("burst", FIELD_REAL, burst),
	FIELD("evenBursts", FIELD_BOOL, even),
	FIELD("duplicate", FIELD_SHARE, duplicate),
	FIELD("corrupt", FIELD_SHARE, corrupt),
	FIELD("reorder", FIELD_SHARE, reorder),
	FIELD("reorderByNs", FIELD_UINT, reorder_by_ns),
	FIELD("rate", FIELD_UINT, rate),
	FIELD("bucket", FIELD_UINT, bucket),
	FIELD("queueNs", FIELD_UINT, queue_ns),
	FIELD("blackhole", FIELD_BOOL, blackhole),
	FIELD("largerThan", FIELD_UINT, larger_than),
	FIELD("smallerThan", FIELD_UINT, smaller_than),
	FIELD("matchBytes", FIELD_UINT, match_bytes),
	FIELD("matchOffset", FIELD_UINT, match_offset),
	FIELD("matchMask", FIELD_UINT, match_mask),
	FIELD("matchValue", FIELD_UINT, match_value),
#undef FIELD
};

static void skip_blanks(char **at)
{
	*at += strspn(*at, " \t\r\n");
}

static bool take(char **at, char expected)
{
	skip_blanks(at);
	if (**at != expected)
		return false;
	++*at;
	return true;
}

/* A string without escapes: our words have none. Ends it in place. */
static char *take_word(char **at)
{
	char *begin, *end;

	if (!take(at, '"'))
		return NULL;
	begin = *at;
	end = strchr(begin, '"');
	if (!end)
		return NULL;
	*end = 0;
	*at = end + 1;
	return begin;
}

static bool take_literal(char **at, const char *literal)
{
	size_t length = strlen(literal);

	if (strncmp(*at, literal, length))
		return false;
	*at += length;
	return true;
}

static const char *set_field(struct profile *profile, const struct field *field, char **at)
{
	void *to = (char *)profile + field->offset;
	char *end = *at;
	double value;

	if (field->kind == FIELD_BOOL) {
		*(bool *)to = take_literal(at, "true");
		return *(bool *)to || take_literal(at, "false") ? NULL : "not true or false";
	}
	value = strtod(*at, &end);
	if (end == *at || !(value >= 0))
		return "not a number from 0";
	*at = end;
	if (field->kind == FIELD_SHARE && value > 1)
		return "not a share from 0 to 1";
	if (field->kind == FIELD_UINT) {
		if (value > 0x1p53 || value != (uint64_t)value)
			return "not a whole number";
		*(uint64_t *)to = value;
	} else {
		*(double *)to = value;
	}
	return NULL;
}

/* What no packet could make sense of. */
static const char *check_profile(const struct profile *p)
{
	if (p->jitter_ns > p->delay_ns)
		return "jitter above the delay";
	if (p->reorder_by_ns > p->delay_ns)
		return "reorderByNs above the delay: a packet overtakes only what waits";
	if (p->rate && (!p->bucket || !p->queue_ns))
		return "a rate needs bucket and queueNs";
	/* Between two runs lies at least one packet that gets through. */
	if (p->loss < 1 && p->burst && (p->burst < 1 || p->loss > p->burst / (p->burst + 1)))
		return "burst: from 1, and loss at most burst / (burst + 1)";
	if (p->match_bytes > 4)
		return "matchBytes: 1 to 4";
	return NULL;
}

static const char *parse_pair(struct command *command, const char *name, char **at, const char *const directions[2])
{
	skip_blanks(at);
	if (!strcmp(name, "do")) {
		const char *word = take_word(at);

		if (word && !strcmp(word, "counters"))
			command->verb = VERB_COUNTERS;
		else if (!word || strcmp(word, "set"))
			return "set or counters";
		return NULL;
	}
	if (!strcmp(name, "direction")) {
		const char *word = take_word(at);

		for (int i = 0; word && i < 2; i++)
			if (!strcmp(word, directions[i]))
				command->direction = i;
		return command->direction < 0 ? "no such direction" : NULL;
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (!strcmp(name, fields[i].name))
			return set_field(&command->profile, &fields[i], at);
	return "no such setting";
}

/* Writes into `line`. Returns NULL, or what is wrong, which lies in `why`. */
static const char *parse_command(char *line, struct command *command, const char *const directions[2], char why[128])
{
	const char *wrong = NULL, *name = "";

	*command = (struct command){ .direction = -1 };
	if (!take(&line, '{'))
		return "not a JSON object";
	while (!wrong && !take(&line, '}')) {
		name = take_word(&line);
		if (!name || !take(&line, ':'))
			return "not a JSON object of plain names";
		wrong = parse_pair(command, name, &line, directions);
		if (!wrong && !take(&line, ',')) {
			if (!take(&line, '}'))
				return "not a JSON object: } is missing";
			break;
		}
	}
	if (!wrong && command->verb == VERB_SET && command->direction < 0)
		wrong = "missing", name = "direction";
	if (!wrong)
		wrong = check_profile(&command->profile), name = "profile";
	if (!wrong)
		return NULL;
	snprintf(why, 128, "%.40s: %s", name, wrong);
	return why;
}
