/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link that is not good: carries Ethernet frames between two devices and delays, loses, doubles, damages, reorders or withholds them, in each
 * direction as it was told. For kernels without netem, and for what netem cannot do (filters).
 *
 *   impair relay --node <device> --router <device> --socket <path> [--seed <n>]
 *     out: frames that come in at the node's end and leave at the router's; in: the other way. Prints "ready seed <n>".
 *     The devices must get single packets with complete checksums: `ethtool -K <far end> tx off` on whoever sends to them.
 *     What comes otherwise ends here, as `offloaded`.
 *   impair ask <path> <line>
 *     sends one line (impair/profile.h) to a relay's socket and prints the answer: {"ok":true}, counters or {"error":"…"}
 *
 *   receive  ->  decide (impair/fate.h)  ->  wait until due  ->  send
 *
 * Times count from the kernel's receive timestamp, so the relay's own lateness does not add up; an idle relay sleeps.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "impair/fate.h"

#define BATCH 32
#define SOCKET_BUFFER (16 << 20)
#define LINE_BYTES 4096
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

/* ---- receive ---- */

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

/* ---- send ---- */

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

static void arm(int timer)
{
	static uint64_t armed_ns;
	uint64_t due_ns = 0;

	for (int d = 0; d < 2; d++) {
		const struct waiting *first = queue_first(&fates[d].waiting);

		if (first && (!due_ns || first->due_ns < due_ns))
			due_ns = first->due_ns;
	}
	/* Zero disarms. */
	if (due_ns != armed_ns) {
		struct itimerspec when = { .it_value = { .tv_sec = due_ns / NS_PER_S, .tv_nsec = due_ns % NS_PER_S } };

		if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL))
			die("timerfd_settime");
		armed_ns = due_ns;
	}
}

/* ---- control ---- */

static int print_counters(char *to, size_t room)
{
	int length = 0;

	for (int d = 0; d < 2; d++) {
		struct counters *c = &fates[d].count;
		struct tpacket_stats stats;
		socklen_t size = sizeof(stats);

		/* Reading resets them. */
		if (!getsockopt(ends[d].fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size))
			c->missed += stats.tp_drops;
		length += snprintf(to + length, room - length,
				   "%s\"%s\":{\"received\":%lu,\"sent\":%lu,\"sentBytes\":%lu,\"waiting\":%u,\"blackhole\":%lu,"
				   "\"loss\":%lu,\"queue\":%lu,\"memory\":%lu,\"offloaded\":%lu,\"missed\":%lu,\"refused\":%lu,"
				   "\"duplicated\":%lu,\"corrupted\":%lu,\"reordered\":%lu}",
				   d ? "," : "{", directions[d], c->received, c->sent, c->sent_bytes, fates[d].waiting.count,
				   c->blackhole, c->loss, c->queue, c->memory, c->offloaded, c->missed, c->refused,
				   c->duplicated, c->corrupted, c->reordered);
	}
	return length + snprintf(to + length, room - length, "}");
}

/* What waits keeps the time that it was given: a change loses nothing. */
static void set_profile(const struct command *command)
{
	struct fate *fate = &fates[command->direction];

	fate->profile = command->profile;
	fate->losing = false;
	fate->bucket_ns = 0;
}

static void answer(int client)
{
	char line[LINE_BYTES], reply[LINE_BYTES], why[128];
	struct command command;
	const char *wrong;
	ssize_t length = recv(client, line, sizeof(line) - 1, 0);
	int size;

	if (length <= 0) {
		close(client);
		return;
	}
	line[length] = 0;
	wrong = parse_command(line, &command, directions, why);
	if (wrong) {
		size = snprintf(reply, sizeof(reply), "{\"error\":\"%s\"}", wrong);
	} else if (command.verb == VERB_COUNTERS) {
		size = print_counters(reply, sizeof(reply));
	} else {
		set_profile(&command);
		size = snprintf(reply, sizeof(reply), "{\"ok\":true}");
	}
	send(client, reply, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int control_socket(const char *path, struct sockaddr_un *address)
{
	/* Whole lines come and go: no half of one has to be kept. */
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	if (strlen(path) >= sizeof(address->sun_path)) {
		fprintf(stderr, "%s: longer than %zu bytes\n", path, sizeof(address->sun_path) - 1);
		exit(2);
	}
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strcpy(address->sun_path, path);
	return fd;
}

static int listen_on(const char *path)
{
	struct sockaddr_un address;
	int fd = control_socket(path, &address);

	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 8))
		die(path);
	return fd;
}

/* ---- start ---- */

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

static void watch(int epoll, int fd, int what)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint64_t)what << 32 | (uint32_t)fd };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

static int relay(const char *socket, uint64_t seed)
{
	enum { END_OUT = OUT, END_IN = IN, TIMER, LISTENER, CLIENT };
	const struct sched_param first = { .sched_priority = 1 };
	int epoll = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int listener = listen_on(socket);

	for (int d = 0; d < 2; d++) {
		open_end(&ends[d]);
		watch(epoll, ends[d].fd, d);
		/* Each direction draws for itself: what comes back does not change what went. */
		random_seed(&fates[d].random, seed + d);
	}
	watch(epoll, timer, TIMER);
	watch(epoll, listener, LISTENER);
	/* Both only help to be in time; a machine that refuses gets what it has. */
	(void)sched_setscheduler(0, SCHED_FIFO, &first);
	(void)mlockall(MCL_CURRENT | MCL_FUTURE);
	printf("ready seed %lu\n", seed);
	while (true) {
		struct epoll_event events[8];
		int count = epoll_wait(epoll, events, 8, -1);

		for (int i = 0; i < count; i++) {
			int fd = (uint32_t)events[i].data.u64, what = events[i].data.u64 >> 32;
			uint64_t expired;

			if (what == END_OUT || what == END_IN)
				receive(what);
			else if (what == TIMER)
				(void)!read(timer, &expired, sizeof(expired));
			else if (what == LISTENER)
				watch(epoll, accept4(listener, NULL, NULL, SOCK_CLOEXEC), CLIENT);
			else
				answer(fd);
		}
		release_due(OUT);
		release_due(IN);
		arm(timer);
	}
}

static int ask(const char *path, const char *line)
{
	struct sockaddr_un address;
	struct timeval limit = { .tv_sec = 10 };
	char reply[LINE_BYTES];
	int fd = control_socket(path, &address);
	ssize_t length;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) || send(fd, line, strlen(line), 0) < 0)
		die(path);
	length = recv(fd, reply, sizeof(reply), 0);
	if (length <= 0)
		die(path);
	printf("%.*s\n", (int)length, reply);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{ "node", required_argument, NULL, 'n' },
		{ "router", required_argument, NULL, 'r' },
		{ "socket", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'd' },
		{ 0 },
	};
	const char *socket = NULL;
	uint64_t seed = 0;
	int option;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && !strcmp(argv[1], "ask"))
		return ask(argv[2], argv[3]);
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'n': ends[OUT].device = optarg; break;
		case 'r': ends[IN].device = optarg; break;
		case 's': socket = optarg; break;
		case 'd': seed = strtoull(optarg, NULL, 10); break;
		default: return 2;
		}
	}
	if (optind + 1 != argc || strcmp(argv[optind], "relay") || !ends[OUT].device || !ends[IN].device || !socket) {
		fputs("usage: impair relay --node <device> --router <device> --socket <path> [--seed <n>] | ask <path> <line>\n", stderr);
		return 2;
	}
	if (!seed && getrandom(&seed, sizeof(uint32_t), 0) < 0)
		die("getrandom");
	return relay(socket, seed);
}
