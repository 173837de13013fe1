/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two devices between which frames go: what comes in at one is decided (fate.h), waits until it is due, and leaves at the other.
 * Frames come and go in batches, a system call each.
 */
#pragma once
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "fate.h"

#define BATCH 32
#define SOCKET_BUFFER (16 << 20)
#define VLAN_BYTES 4
#define NS_PER_S 1000000000ull
/* A receive timestamp older than this is not one: forwarded packets may carry a time of delivery instead. */
#define OLDEST_ARRIVAL_NS (NS_PER_S / 10)

enum { OUT, IN };
static const char *const directions[2] = { [OUT] = "out", [IN] = "in" };

struct end {
	const char *device;
	int fd;
	uint32_t longest; /* frame, without VLAN tags */
};

static struct end ends[2]; /* frames of direction d come from ends[d] and go to ends[!d] */
static struct fate fates[2];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * NS_PER_S + time.tv_nsec;
}

static void open_end(struct end *end)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq request = { 0 };
	int yes = 1, size = SOCKET_BUFFER;

	/* No protocol before bind: no frame of another device gets in. */
	end->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (end->fd < 0)
		die("socket");
	strncpy(request.ifr_name, end->device, IFNAMSIZ - 1);
	if (ioctl(end->fd, SIOCGIFMTU, &request))
		die(end->device);
	end->longest = request.ifr_mtu + ETH_HLEN;
	address.sll_ifindex = if_nametoindex(end->device);
	if (setsockopt(end->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes)) ||
	    setsockopt(end->fd, SOL_PACKET, PACKET_AUXDATA, &yes, sizeof(yes)) ||
	    setsockopt(end->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes)) ||
	    setsockopt(end->fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof(yes)) ||
	    setsockopt(end->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    bind(end->fd, (struct sockaddr *)&address, sizeof(address)))
		die(end->device);
}

struct arrival {
	struct sockaddr_ll from;
	uint8_t control[256];
};

/* The tag that the kernel took out of the frame goes back in; false: not a finished packet of its own. */
static bool finish_frame(struct msghdr *message, const struct end *end, uint64_t real_ns, uint8_t *frame, uint32_t *length,
			 uint64_t *age_ns)
{
	*age_ns = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec stamp;

			memcpy(&stamp, CMSG_DATA(c), sizeof(stamp));
			*age_ns = real_ns - (stamp.tv_sec * NS_PER_S + stamp.tv_nsec);
			if (*age_ns > OLDEST_ARRIVAL_NS)
				*age_ns = 0;
		}
		if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA) {
			struct tpacket_auxdata aux;

			memcpy(&aux, CMSG_DATA(c), sizeof(aux));
			if (aux.tp_status & TP_STATUS_CSUMNOTREADY)
				return false;
			if (aux.tp_status & TP_STATUS_VLAN_VALID) {
				uint16_t tag[2] = { htons(aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q),
						    htons(aux.tp_vlan_tci) };

				memmove(frame + 2 * ETH_ALEN + VLAN_BYTES, frame + 2 * ETH_ALEN, *length - 2 * ETH_ALEN);
				memcpy(frame + 2 * ETH_ALEN, tag, VLAN_BYTES);
				*length += VLAN_BYTES;
			}
		}
	}
	return !(message->msg_flags & MSG_TRUNC) && *length >= ETH_HLEN && *length <= end->longest + 2 * VLAN_BYTES;
}

static void receive(int direction)
{
	static uint8_t *frames; /* BATCH frames of `room` bytes */
	static uint32_t room;
	const struct end *end = &ends[direction];
	struct arrival arrivals[BATCH];
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec vectors[BATCH];
	uint64_t now_ns, real_ns;
	int count;

	if (!frames) {
		room = (ends[0].longest > ends[1].longest ? ends[0].longest : ends[1].longest) + 2 * VLAN_BYTES;
		frames = malloc((size_t)BATCH * (room + VLAN_BYTES));
		if (!frames)
			die("malloc");
	}
	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ frames + (size_t)i * (room + VLAN_BYTES), room };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &arrivals[i].from, .msg_namelen = sizeof(arrivals[i].from),
						       .msg_iov = &vectors[i], .msg_iovlen = 1,
						       .msg_control = arrivals[i].control,
						       .msg_controllen = sizeof(arrivals[i].control) };
	}
	count = recvmmsg(end->fd, messages, BATCH, MSG_DONTWAIT, NULL);
	/* Read once: between frames of a batch both clocks would drift apart by the work on those before. */
	now_ns = clock_ns(CLOCK_MONOTONIC);
	real_ns = clock_ns(CLOCK_REALTIME);
	for (int i = 0; i < count; i++) {
		uint32_t length = messages[i].msg_len;
		uint8_t *frame = vectors[i].iov_base;
		uint64_t age_ns;

		if (finish_frame(&messages[i].msg_hdr, end, real_ns, frame, &length, &age_ns))
			decide(&fates[direction], frame, length, now_ns - age_ns);
		else
			fates[direction].count.offloaded++;
	}
}

static void release_due(int direction)
{
	struct fate *fate = &fates[direction];
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	const struct waiting *first;

	while ((first = queue_first(&fate->waiting)) && first->due_ns <= now_ns) {
		struct waiting *frames[BATCH];
		struct mmsghdr messages[BATCH] = { 0 };
		struct iovec vectors[BATCH];
		int count = 0;

		for (; count < BATCH && (first = queue_first(&fate->waiting)) && first->due_ns <= now_ns; count++) {
			frames[count] = queue_pop(&fate->waiting);
			vectors[count] = (struct iovec){ frames[count]->frame, frames[count]->length };
			messages[count].msg_hdr = (struct msghdr){ .msg_iov = &vectors[count], .msg_iovlen = 1 };
		}
		for (int done = 0; done < count;) {
			int sent = sendmmsg(ends[!direction].fd, messages + done, count - done, 0);

			for (int i = 0; i < sent; i++) {
				fate->count.sent++;
				fate->count.sent_bytes += frames[done + i]->length;
			}
			/* The first of the rest was refused: its device is down, or it is too long for it. */
			if (sent <= 0)
				fate->count.refused++;
			done += sent > 0 ? sent : 1;
		}
		for (int i = 0; i < count; i++)
			free(frames[i]);
	}
}
