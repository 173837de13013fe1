/* SPDX-License-Identifier: Apache-2.0 */
/* Words of the command line. */
#pragma once
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_SIZE 9000 /* of a packet: UDP payload */

struct options {
	const char *to, *port, *tag, *log;
	uint64_t pps, count, size, dscp, every_ms, silent_ms;
};

static uint64_t number_option(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (*end || end == text) {
		fprintf(stderr, "not a number: %s\n", text);
		exit(2);
	}
	return value;
}

static void parse(int argc, char **argv, struct options *options)
{
	enum { TO, PORT, TAG, LOG, PPS, COUNT, SIZE, DSCP, EVERY, SILENT };
	static const struct option known[] = {
		{ "to", required_argument, NULL, TO },	     { "port", required_argument, NULL, PORT },
		{ "tag", required_argument, NULL, TAG },     { "log", required_argument, NULL, LOG },
		{ "pps", required_argument, NULL, PPS },     { "count", required_argument, NULL, COUNT },
		{ "size", required_argument, NULL, SIZE },   { "dscp", required_argument, NULL, DSCP },
		{ "every-ms", required_argument, NULL, EVERY }, { "silent-ms", required_argument, NULL, SILENT },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case TO: options->to = optarg; break;
		case PORT: options->port = optarg; break;
		case TAG: options->tag = optarg; break;
		case LOG: options->log = optarg; break;
		case PPS: options->pps = number_option(optarg); break;
		case COUNT: options->count = number_option(optarg); break;
		case SIZE: options->size = number_option(optarg); break;
		case DSCP: options->dscp = number_option(optarg); break;
		case EVERY: options->every_ms = number_option(optarg); break;
		case SILENT: options->silent_ms = number_option(optarg); break;
		default: exit(2);
		}
	}
	if (options->size > MAX_SIZE || options->dscp > 63 || !options->pps || !options->every_ms) {
		fprintf(stderr, "size up to %d, dscp up to 63, pps and every-ms from 1\n", MAX_SIZE);
		exit(2);
	}
}
