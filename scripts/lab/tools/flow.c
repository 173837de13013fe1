/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbered UDP packets: what was sent, what came, what was lost, doubled, reordered, and what belongs to somebody else.
 *
 *   flow send --to <address> --port <port> --tag <text> --pps <n> [--count <n>] [--size <bytes>] [--dscp <0-63>]
 *     sends packets 0, 1, 2 … at an even pace; ends after <count> or on SIGINT/SIGTERM
 *     {"sent":n,"errors":n}                      errors: refused by the kernel and sent again
 *   flow receive --port <port> --tag <text> [--log <file>]
 *     prints "ready"; ends on SIGINT/SIGTERM, once nothing has come for DRAIN_MS
 *     {"received":n,"duplicated":n,"reordered":n,"foreign":n,"next":n,"longestGapMs":n,"spanMs":n,"lostRuns":n,"delayUs":{…}}
 *     received: different packets of this tag; foreign: any other packet; next: highest number + 1; spanMs: from the first
 *     to the last arrival; lostRuns: losses in a row count once; delayUs: one way, min, median, p99, max, mean
 *     log: a line for each arrival of this tag, copies too: number, sent and arrived in µs of one clock
 *   flow echo --port <port>
 *     prints "ready"; sends each packet back
 *   flow probe --to <address> --port <port> --every-ms <n> --silent-ms <n>
 *     asks an echo; prints "answered" and "silent" each time that it becomes so, starting from silent
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "flow/options.h"
#include "flow/socket.h"
#include "flow/tally.h"

#define MAGIC 0x424c464cu /* "BLFL" */
#define TAG_BYTES 16
#define DRAIN_MS 500
#define NS_PER_S 1000000000ul
#define NS_PER_MS 1000000ul
#define NS_PER_US 1000ul

struct packet {
	uint32_t magic;
	char tag[TAG_BYTES];
	uint32_t number_high, number_low; /* network order */
	uint64_t sent_ns; /* CLOCK_MONOTONIC, for a reader on the same machine */
	uint8_t padding[MAX_SIZE];
};
#define HEADER offsetof(struct packet, padding)

static volatile sig_atomic_t ending;

static void on_signal(int number)
{
	(void)number;
	ending = 1;
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * NS_PER_S + time.tv_nsec;
}

static void sleep_until(uint64_t when)
{
	struct timespec time = { .tv_sec = when / NS_PER_S, .tv_nsec = when % NS_PER_S };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static void number_packet(struct packet *packet, uint64_t number)
{
	packet->number_high = htonl(number >> 32);
	packet->number_low = htonl(number);
}

static uint64_t packet_number(const struct packet *packet)
{
	return (uint64_t)ntohl(packet->number_high) << 32 | ntohl(packet->number_low);
}

static void init_packet(struct packet *packet, const char *tag)
{
	memset(packet, 0, sizeof(*packet));
	packet->magic = htonl(MAGIC);
	strncpy(packet->tag, tag, TAG_BYTES - 1);
}

static int flow_send(const struct options *options)
{
	size_t size = options->size < HEADER ? HEADER : options->size;
	uint64_t sent = 0, errors = 0, begin;
	struct sockaddr_storage to;
	struct packet packet;
	socklen_t length;
	int fd = socket_to(options, &to, &length);

	init_packet(&packet, options->tag);
	begin = now();
	while (!ending && (!options->count || sent < options->count)) {
		number_packet(&packet, sent);
		packet.sent_ns = now();
		if (sendto(fd, &packet, size, 0, (struct sockaddr *)&to, length) < 0) {
			errors++;
			sleep_until(now() + NS_PER_MS);
			continue;
		}
		sent++;
		sleep_until(begin + sent * NS_PER_S / options->pps);
	}
	printf("{\"sent\":%lu,\"errors\":%lu}\n", sent, errors);
	return 0;
}

static void count_packet(struct tally *tally, const struct packet *packet, ssize_t length, const char *tag, FILE *log)
{
	uint64_t time = now();

	if (length < (ssize_t)HEADER || packet->magic != htonl(MAGIC) || strncmp(packet->tag, tag, TAG_BYTES - 1)) {
		tally->foreign++;
		return;
	}
	tally_packet(tally, packet_number(packet), packet->sent_ns, time);
	if (log)
		fprintf(log, "%lu %lu %lu\n", packet_number(packet), packet->sent_ns / NS_PER_US, time / NS_PER_US);
}

/* A reader follows it, so each line goes out at once. */
static FILE *open_log(const char *file)
{
	FILE *log = file ? fopen(file, "w") : NULL;

	if (file && !log)
		die(file);
	if (log)
		setvbuf(log, NULL, _IOLBF, 0);
	return log;
}

static int flow_receive(const struct options *options)
{
	FILE *log = open_log(options->log);
	int fd = socket_on(options);
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	struct tally tally = { 0 };
	struct packet packet;

	while (true) {
		/* The time limit stands from the start: a signal just before an endless poll would go unnoticed. */
		int ready = poll(&wait, 1, DRAIN_MS);

		if (ready == 0 && ending)
			break;
		if (ready <= 0)
			continue;
		ssize_t length = recv(fd, &packet, sizeof(packet), 0);
		if (length >= 0)
			count_packet(&tally, &packet, length, options->tag, log);
	}
	print_tally(&tally);
	return 0;
}

static int flow_echo(const struct options *options)
{
	int fd = socket_on(options);
	struct sockaddr_storage from;
	struct packet packet;

	while (!ending) {
		socklen_t from_length = sizeof(from);
		ssize_t length = recvfrom(fd, &packet, sizeof(packet), 0, (struct sockaddr *)&from, &from_length);

		if (length >= 0)
			sendto(fd, &packet, length, 0, (struct sockaddr *)&from, from_length);
	}
	return 0;
}

static int flow_probe(const struct options *options)
{
	uint64_t number = 0, answered_ns = 0;
	struct sockaddr_storage to;
	struct packet packet;
	bool answered = false;
	socklen_t length;
	int fd = socket_to(options, &to, &length);
	uint64_t next = now();

	while (!ending) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		uint64_t time = now();

		if (time >= next) {
			init_packet(&packet, options->tag);
			number_packet(&packet, number++);
			sendto(fd, &packet, HEADER, 0, (struct sockaddr *)&to, length);
			next = time + options->every_ms * NS_PER_MS;
		}
		if (answered && time - answered_ns > options->silent_ms * NS_PER_MS) {
			answered = false;
			puts("silent");
		}
		struct timespec left = { .tv_nsec = next > time ? (next - time) % NS_PER_S : 0 };
		if (ppoll(&wait, 1, &left, NULL) <= 0 || recv(fd, &packet, sizeof(packet), 0) < 0)
			continue;
		answered_ns = now();
		if (!answered) {
			answered = true;
			puts("answered");
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = { .to = "", .port = "0", .tag = "", .pps = 1000, .every_ms = 5, .silent_ms = 200 };
	struct sigaction action = { .sa_handler = on_signal }; /* no SA_RESTART: a blocked call returns */
	static const struct {
		const char *name;
		int (*run)(const struct options *);
	} verbs[] = { { "send", flow_send }, { "receive", flow_receive }, { "echo", flow_echo }, { "probe", flow_probe } };

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(*verbs); i++) {
		if (strcmp(argv[1], verbs[i].name))
			continue;
		parse(argc - 1, argv + 1, &options);
		return verbs[i].run(&options);
	}
	fputs("usage: flow send|receive|echo|probe … (see the head of flow.c)\n", stderr);
	return 2;
}
