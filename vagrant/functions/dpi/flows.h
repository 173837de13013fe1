/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flows that nDPI has not made up its mind about: a hash table of fixed size, and a list by age. The kernel remembers the others (conntrack mark), so
 * a flow is here for its first packets only. When all entries are in use the one that was silent longest goes, undecided.
 */
#ifndef BRANCHLINE_DPI_FLOWS_H
#define BRANCHLINE_DPI_FLOWS_H

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <ndpi/ndpi_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#define MAX_FLOWS 16384		/* about 1 KB each */
#define BUCKETS 16384
#define IDLE_MS 60000

/* The end with the smaller address and port first: both directions are one flow. */
struct end {
	uint8_t address[16];
	uint16_t port;
} __attribute__((packed));

struct key {
	struct end low, high;
	uint8_t proto;
	uint8_t family;
} __attribute__((packed));

struct flow {
	struct key key;
	uint64_t seen_ms;
	unsigned packets;
	struct ndpi_flow_struct *ndpi;
	LIST_ENTRY(flow) bucket;
	TAILQ_ENTRY(flow) age;
};

LIST_HEAD(bucket, flow);
static struct bucket buckets[BUCKETS];
static TAILQ_HEAD(, flow) ages = TAILQ_HEAD_INITIALIZER(ages);
static unsigned flow_count;
static uint64_t seed;

/* FNV-1a from a random start: whoever chooses ports does not know which bucket they meet in. */
static struct bucket *bucket_of(const struct key *key)
{
	const uint8_t *bytes = (const uint8_t *)key;
	uint64_t hash;

	while (!seed)
		if (getrandom(&seed, sizeof(seed), 0) < 0)
			abort();
	hash = 0xcbf29ce484222325 ^ seed;
	for (size_t i = 0; i < sizeof(*key); i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3;
	return &buckets[(hash >> 32) % BUCKETS];
}

/* Where the transport header begins, or 0: a packet that has no ports to tell flows by (fragments, other protocols). */
static size_t parse(const uint8_t *packet, size_t length, struct key *key)
{
	struct end from = {}, to = {}, *ends[2] = { &from, &to };
	uint16_t ports[2];
	size_t offset;

	memset(key, 0, sizeof(*key));
	if (length >= sizeof(struct iphdr) && packet[0] >> 4 == 4) {
		const struct iphdr *ip = (const struct iphdr *)packet;

		if (ip->frag_off & htons(0x3fff))
			return 0;
		offset = ip->ihl * 4u;
		key->proto = ip->protocol;
		memcpy(from.address, &ip->saddr, 4);
		memcpy(to.address, &ip->daddr, 4);
	} else if (length >= sizeof(struct ip6_hdr) && packet[0] >> 4 == 6) {
		const struct ip6_hdr *ip = (const struct ip6_hdr *)packet;

		offset = sizeof(*ip);
		key->proto = ip->ip6_nxt;
		memcpy(from.address, &ip->ip6_src, 16);
		memcpy(to.address, &ip->ip6_dst, 16);
	} else {
		return 0;
	}
	key->family = packet[0] >> 4;
	if ((key->proto != IPPROTO_TCP && key->proto != IPPROTO_UDP) || length < offset + sizeof(ports))
		return 0;
	memcpy(ports, packet + offset, sizeof(ports));
	for (int i = 0; i < 2; i++)
		ends[i]->port = ports[i];
	key->low = memcmp(&from, &to, sizeof(from)) < 0 ? from : to;
	key->high = memcmp(&from, &to, sizeof(from)) < 0 ? to : from;
	return offset;
}

static void flow_forget(struct flow *flow)
{
	LIST_REMOVE(flow, bucket);
	TAILQ_REMOVE(&ages, flow, age);
	ndpi_free_flow(flow->ndpi);
	free(flow);
	flow_count--;
}

/* The flow of the key, made when there is none; NULL: no memory. */
static struct flow *flow_get(const struct key *key, uint64_t now_ms)
{
	struct bucket *bucket = bucket_of(key);
	struct flow *flow;

	LIST_FOREACH(flow, bucket, bucket)
		if (!memcmp(&flow->key, key, sizeof(*key)))
			break;
	if (flow) {
		TAILQ_REMOVE(&ages, flow, age);
	} else {
		while ((flow = TAILQ_FIRST(&ages)) && (flow_count >= MAX_FLOWS || now_ms - flow->seen_ms > IDLE_MS))
			flow_forget(flow);
		flow = calloc(1, sizeof(*flow));
		if (!flow)
			return NULL;
		/* ndpi_free_flow() gives it back by nDPI's own allocator. */
		flow->ndpi = ndpi_calloc(1, SIZEOF_FLOW_STRUCT);
		if (!flow->ndpi) {
			free(flow);
			return NULL;
		}
		flow->key = *key;
		LIST_INSERT_HEAD(bucket, flow, bucket);
		flow_count++;
	}
	flow->seen_ms = now_ms;
	TAILQ_INSERT_TAIL(&ages, flow, age);
	return flow;
}

#endif
