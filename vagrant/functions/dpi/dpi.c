// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * dpi QUEUE BLOCK: asks nDPI which application each flow of a netfilter queue is, and marks its packets accordingly; nftables does the rest.
 *
 *   packet -> queue -> flow -> nDPI -> mark: undecided | application | application, blocked
 *
 * Every decision is a line of JSON on standard output. BLOCK: names as nDPI writes them (`BitTorrent,DNS`), or empty. No packet is dropped here: one
 * that cannot be judged goes on unmarked, and what happens when this program stands still is for the queue's rule to say (bypass or not).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "flows.h"

/* Packets are marked as run's rules expect: bits 0 to 7 are the device's. */
#define MARK_DEVICE 0xff
#define MARK_APPLICATION_SHIFT 8
#define MARK_KNOWN (1 << 24)
#define MARK_BLOCKED (1 << 25)

#define COPY_BYTES 0xffff	/* segments are joined: up to 64 KB */
#define UNDECIDED_PACKETS 24	/* then nDPI has to guess; its own tools take 80 of TCP and 24 of UDP */
#define QUEUE_PACKETS 4096
#define SOCKET_BYTES (8 << 20)

static struct ndpi_detection_module_struct *ndpi;
static NDPI_PROTOCOL_BITMASK blocked;
static volatile sig_atomic_t ending;

static void end(int signal)
{
	(void)signal;
	ending = 1;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

static bool is_blocked(ndpi_protocol protocol)
{
	return (protocol.app_protocol && NDPI_COMPARE_PROTOCOL_TO_BITMASK(blocked, protocol.app_protocol)) ||
	       (protocol.master_protocol && NDPI_COMPARE_PROTOCOL_TO_BITMASK(blocked, protocol.master_protocol));
}

static void tell(const struct key *key, ndpi_protocol protocol, bool block)
{
	int family = key->family == 4 ? AF_INET : AF_INET6;
	char low[INET6_ADDRSTRLEN], high[INET6_ADDRSTRLEN], name[64];

	ndpi_protocol2name(ndpi, protocol, name, sizeof(name));
	printf("{\"application\":\"%s\",\"blocked\":%s,\"proto\":%u,\"ends\":[\"%s %u\",\"%s %u\"]}\n", name,
	       block ? "true" : "false", key->proto, inet_ntop(family, key->low.address, low, sizeof(low)), ntohs(key->low.port),
	       inet_ntop(family, key->high.address, high, sizeof(high)), ntohs(key->high.port));
}

/* What is to be added to the packet's mark. */
static uint32_t judge(const uint8_t *packet, size_t length)
{
	ndpi_protocol protocol;
	uint64_t now = now_ms();
	struct flow *flow;
	struct key key;
	uint16_t application;
	uint8_t guessed;
	bool block;

	if (!parse(packet, length, &key))
		return 0;
	flow = flow_get(&key, now);
	if (!flow)
		return 0;
	protocol = ndpi_detection_process_packet(ndpi, flow->ndpi, packet, length, now);
	block = is_blocked(protocol);
	/* An application within another (a web site within TLS) shows later than the one around it, unless that is blocked already. */
	if (++flow->packets < UNDECIDED_PACKETS && !block &&
	    (protocol.app_protocol == NDPI_PROTOCOL_UNKNOWN || ndpi_extra_dissection_possible(ndpi, flow->ndpi)))
		return 0;
	if (protocol.app_protocol == NDPI_PROTOCOL_UNKNOWN) {
		protocol = ndpi_detection_giveup(ndpi, flow->ndpi, 1, &guessed);
		block = is_blocked(protocol);
	}
	application = protocol.app_protocol ? protocol.app_protocol : protocol.master_protocol;
	tell(&key, protocol, block);
	flow_forget(flow);
	return MARK_KNOWN | (block ? MARK_BLOCKED : 0) | (uint32_t)application << MARK_APPLICATION_SHIFT;
}

static int queued(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *data, void *context)
{
	struct nfqnl_msg_packet_hdr *header = nfq_get_msg_packet_hdr(data);
	uint32_t mark = nfq_get_nfmark(data) & MARK_DEVICE;
	unsigned char *packet;
	int length = nfq_get_payload(data, &packet);

	(void)message;
	(void)context;
	if (!header)
		return 0;
	if (length > 0)
		mark |= judge(packet, length);
	return nfq_set_verdict2(queue, ntohl(header->packet_id), NF_ACCEPT, mark, 0, NULL);
}

/* An unknown name is an error: a typing mistake must not let through what somebody wants blocked. */
static int read_blocked(char *names)
{
	for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
		u_int id = 1, count = ndpi_get_num_supported_protocols(ndpi);

		while (id < count && strcasecmp(ndpi_get_proto_name(ndpi, id), name))
			id++;
		if (id == count) {
			fprintf(stderr, "dpi: nDPI %s knows no application %s\n", ndpi_revision(), name);
			return -1;
		}
		NDPI_ADD_PROTOCOL_TO_BITMASK(blocked, id);
	}
	return 0;
}

static int open_engine(char *names)
{
	NDPI_PROTOCOL_BITMASK all;

	ndpi = ndpi_init_detection_module(ndpi_no_prefs);
	if (!ndpi)
		return -1;
	NDPI_BITMASK_SET_ALL(all);
	ndpi_set_protocol_detection_bitmask2(ndpi, &all);
	ndpi_finalize_initialization(ndpi);
	NDPI_BITMASK_RESET(blocked);
	return read_blocked(names);
}

int main(int argc, char **argv)
{
	static char buffer[COPY_BYTES + 4096] __attribute__((aligned(8)));
	struct sigaction action = { .sa_handler = end };	/* no SA_RESTART: recv() returns */
	struct nfq_handle *handle;
	struct nfq_q_handle *queue;

	if (argc != 3) {
		fprintf(stderr, "usage: dpi QUEUE BLOCK\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (open_engine(argv[2]))
		return 1;
	handle = nfq_open();
	queue = handle ? nfq_create_queue(handle, atoi(argv[1]), queued, NULL) : NULL;
	if (!queue || nfq_set_mode(queue, NFQNL_COPY_PACKET, COPY_BYTES) || nfq_set_queue_maxlen(queue, QUEUE_PACKETS) ||
	    nfq_set_queue_flags(queue, NFQA_CFG_F_GSO, NFQA_CFG_F_GSO)) {
		perror("dpi: netfilter queue");
		return 1;
	}
	nfnl_rcvbufsiz(nfq_nfnlh(handle), SOCKET_BYTES);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	puts("listens");
	while (!ending) {
		ssize_t length = recv(nfq_fd(handle), buffer, sizeof(buffer), 0);

		if (length >= 0)
			nfq_handle_packet(handle, buffer, length);
		else if (errno != EINTR && errno != ENOBUFS) {	/* ENOBUFS: some were not delivered; the kernel counts them */
			perror("dpi: recv");
			return 1;
		}
	}
	nfq_close(handle);
	return 0;
}
