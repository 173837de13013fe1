/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service function on a machine of its own, which speaks Geneve as AWS Gateway Load Balancer has it (RFC 8926, three options of class 0x0108): it
 * looks at what is inside, and gives it back with the header byte for byte, to port 6081, from the port that the question had come from.
 *
 *   appliance
 *     prints "ready"; on SIGUSR1 sends the last packet FORGED times each with another cookie, another endpoint, another attachment, and cut short
 *     somewhere, then prints "forged"; ends on SIGINT/SIGTERM
 *     {"packets":n,"bad":n,"flows":n,"asymmetric":n,"forged":n}
 *     bad: no header as it has to be; flows: inner 5-tuples, both directions one; asymmetric: whose cookie was another than the flow's first
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 6081
#define HEADER 40
#define MAX_BYTES 65536
#define MAX_FLOWS 65536
#define FORGED 25000

/* Where the values of the options are in the order in which a gateway of ours sends them; appliances take any order. */
#define ENDPOINT 12
#define ATTACHMENT 24
#define COOKIE 36

struct option {
	uint16_t class;
	uint8_t type;
	uint8_t words;		/* 4 bytes each, of the value */
} __attribute__((packed));

struct flow {
	uint8_t ends[2][18];	/* address and port, the smaller first */
	uint8_t proto;
	bool used;
	uint32_t cookie;
};

static struct flow flows[MAX_FLOWS];
static int senders[65536];
static unsigned packets, bad, flow_count, asymmetric, forged;
static volatile sig_atomic_t ending, forging;

static void on_signal(int number)
{
	number == SIGUSR1 ? (forging = 1) : (ending = 1);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int bound(unsigned port)
{
	struct sockaddr_in6 own = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_DGRAM, 0), size = 8 << 20;

	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)))
		die("bind");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return fd;
}

/* All three options, and their cookie; false: not as it has to be. */
static bool parse(const uint8_t *packet, size_t length, uint32_t *cookie)
{
	static const uint8_t words[] = { 0, 2, 2, 1 };
	size_t end = 8 + (packet[0] & 0x3f) * 4u;
	unsigned seen = 0;

	if (length < 8 || packet[0] >> 6 || length < end)
		return false;
	for (size_t at = 8; at + sizeof(struct option) <= end;) {
		const struct option *option = (const struct option *)(packet + at);
		unsigned count = option->words & 0x1f;

		if (option->class == htons(0x0108) && option->type >= 1 && option->type <= 3) {
			if (count != words[option->type])
				return false;
			seen |= 1 << option->type;
			if (option->type == 3)
				memcpy(cookie, packet + at + 4, 4);
		}
		at += sizeof(*option) + count * 4;
	}
	return seen == 14;
}

/* Both directions must have one cookie. */
static void follow(const uint8_t *inner, size_t length, uint32_t cookie)
{
	struct flow key = {};
	bool v6 = length && inner[0] >> 4 == 6;
	size_t address = v6 ? 16 : 4, from = v6 ? 8 : 12, ports = v6 ? 40 : (inner[0] & 15) * 4u;
	uint32_t hash = 2166136261u;
	uint8_t ends[2][18] = {};

	if (length < ports + 4)
		return;
	key.proto = inner[v6 ? 6 : 9];
	for (int i = 0; i < 2; i++) {
		memcpy(ends[i], inner + from + i * address, address);
		if (key.proto == IPPROTO_TCP || key.proto == IPPROTO_UDP)
			memcpy(ends[i] + 16, inner + ports + i * 2, 2);
	}
	int swap = memcmp(ends[0], ends[1], 18) > 0;
	memcpy(key.ends[0], ends[swap], 18);
	memcpy(key.ends[1], ends[!swap], 18);
	for (size_t i = 0; i < sizeof(key.ends) + 1; i++)
		hash = (hash ^ ((uint8_t *)&key)[i]) * 16777619u;
	for (unsigned i = 0; i < 64; i++) {
		struct flow *flow = &flows[(hash + i) % MAX_FLOWS];

		if (flow->used && (memcmp(flow->ends, key.ends, sizeof(key.ends)) || flow->proto != key.proto))
			continue;
		if (!flow->used) {
			*flow = key;
			flow->used = true;
			flow->cookie = cookie;
			flow_count++;
		}
		asymmetric += flow->cookie != cookie;
		return;
	}
}

/* From the port that it came from, to 6081. */
static void give_back(const struct sockaddr_in6 *from, const uint8_t *packet, size_t length)
{
	struct sockaddr_in6 to = *from;
	unsigned port = ntohs(from->sin6_port);

	if (!senders[port])
		senders[port] = bound(port);
	to.sin6_port = htons(PORT);
	sendto(senders[port], packet, length, 0, (struct sockaddr *)&to, sizeof(to));
}

/* Bits of one option change, at random but never to what they were; at last only some of the packet is sent. */
static void forge(const struct sockaddr_in6 *from, const uint8_t *packet, size_t length)
{
	static const struct { size_t at, bytes; } places[] = { { COOKIE, 4 }, { ENDPOINT, 8 }, { ATTACHMENT, 8 } };
	static uint8_t copy[MAX_BYTES];
	uint32_t random;

	for (unsigned place = 0; place < 4; place++)
		for (unsigned i = 0; i < FORGED; i++, forged++) {
			if (getrandom(&random, sizeof(random), 0) != sizeof(random))
				die("getrandom");
			memcpy(copy, packet, length);
			if (place == 3) {
				give_back(from, copy, random % HEADER);
				continue;
			}
			for (unsigned bit = 0; bit < 4; bit++, random >>= 8)
				copy[places[place].at + random % places[place].bytes] ^= 1 << (random >> 4 & 7);
			if (memcmp(copy, packet, length))
				give_back(from, copy, length);
			else
				i--, forged--;
		}
	puts("forged");
}

int main(void)
{
	static uint8_t packet[MAX_BYTES];
	struct sockaddr_in6 from = {};
	struct rlimit files = { 65536, 65536 };
	size_t last = 0;
	int fd;

	setrlimit(RLIMIT_NOFILE, &files);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < 3; i++)
		sigaction((int[]){ SIGINT, SIGTERM, SIGUSR1 }[i], &(struct sigaction){ .sa_handler = on_signal }, NULL);
	fd = bound(PORT);
	puts("ready");
	while (!ending) {
		struct sockaddr_in6 sender;
		socklen_t size = sizeof(sender);
		ssize_t length;
		uint32_t cookie;

		if (forging && last) {
			forging = 0;
			forge(&from, packet, last);
		}
		length = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&sender, &size);
		if (length < 0)
			continue;
		packets++;
		last = 0;
		if (!parse(packet, length, &cookie)) {
			bad++;
			continue;
		}
		from = sender;
		last = length;
		follow(packet + HEADER, length - HEADER, cookie);
		give_back(&sender, packet, length);
	}
	printf("{\"packets\":%u,\"bad\":%u,\"flows\":%u,\"asymmetric\":%u,\"forged\":%u}\n", packets, bad, flow_count, asymmetric, forged);
	return 0;
}
