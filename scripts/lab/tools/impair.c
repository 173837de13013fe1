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
 *   receive (impair/ends.h)  ->  decide (impair/fate.h)  ->  wait until due (impair/queue.h)  ->  send
 *
 * Times count from the kernel's receive timestamp, so the relay's own lateness does not add up; an idle relay sleeps.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/timerfd.h>

#include "impair/control.h"

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
