/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many TCP connections at once, and whether each of them lives.
 *
 *   connections serve <port>
 *     prints "ready"; sends back what it gets; ends on SIGINT/SIGTERM
 *     {"accepted":n,"peers":{"198.18.0.101":n,…}}          how many came from each address
 *   connections open <address> <port> <count> <per second>
 *     opens them one after the other, a byte there and back on each; prints "open" when all of them were answered or failed
 *     on SIGINT/SIGTERM once more a byte on each, which has LAST_MS to come back, then closes them
 *     {"opened":n,"failed":n,"broken":n}                  failed: never answered; broken: was answered, and ended or fell silent
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 65536
#define MAX_PEERS 256
#define EVENTS 256
#define CONNECT_MS 20000
#define LAST_MS 20000

static volatile sig_atomic_t ending;
static int poll_fd;

static void on_signal(int number)
{
	(void)number;
	ending = 1;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

static void watch(int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	if (fd >= MAX_FD || epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

/* --- serve */

static struct peer {
	char address[INET6_ADDRSTRLEN];
	unsigned accepted;
} peers[MAX_PEERS];
static unsigned peer_count, accepted_count;

static void count_peer(const struct sockaddr_in6 *from)
{
	char text[INET6_ADDRSTRLEN];
	const char *address = inet_ntop(AF_INET6, &from->sin6_addr, text, sizeof(text));
	unsigned i;

	if (!strncmp(address, "::ffff:", 7) && strchr(address, '.'))
		address += 7;
	accepted_count++;
	for (i = 0; i < peer_count && strcmp(peers[i].address, address);)
		i++;
	if (i == MAX_PEERS)
		return;
	if (i == peer_count)
		strcpy(peers[peer_count++].address, address);
	peers[i].accepted++;
}

static void accept_all(int listener)
{
	struct sockaddr_in6 from;
	socklen_t length = sizeof(from);
	int fd;

	while ((fd = accept4(listener, (struct sockaddr *)&from, &length, SOCK_NONBLOCK)) >= 0) {
		count_peer(&from);
		watch(fd, EPOLLIN);
		length = sizeof(from);
	}
}

static void send_back(int fd)
{
	char buffer[64];
	ssize_t length = read(fd, buffer, sizeof(buffer));

	if (length <= 0 || write(fd, buffer, length) != length)
		close(fd);
}

static int serve(int port)
{
	struct sockaddr_in6 own = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct epoll_event events[EVENTS];
	int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener, (struct sockaddr *)&own, sizeof(own)) || listen(listener, 4096))
		die("listen");
	watch(listener, EPOLLIN);
	puts("ready");
	while (!ending) {
		int count = epoll_wait(poll_fd, events, EVENTS, -1);

		for (int i = 0; i < count; i++)
			events[i].data.fd == listener ? accept_all(listener) : send_back(events[i].data.fd);
	}
	printf("{\"accepted\":%u,\"peers\":{", accepted_count);
	for (unsigned i = 0; i < peer_count; i++)
		printf("%s\"%s\":%u", i ? "," : "", peers[i].address, peers[i].accepted);
	puts("}}");
	return 0;
}

/* --- open */

enum state { UNUSED, CONNECTING, ASKED, ANSWERED };
static uint8_t states[MAX_FD];
static unsigned asked, answered, failed, broken;	/* asked: connecting, or the answer is awaited */

static void lose(int fd, bool was_answered)
{
	close(fd);
	states[fd] = UNUSED;
	was_answered ? broken++ : failed++;
}

static void ask(int fd)
{
	if (write(fd, "?", 1) != 1 && errno != EAGAIN)
		return;	/* the event that follows says why */
	states[fd] = ASKED;
}

/* last: who is asked now had answered before. */
static void progress(int fd, uint32_t events, bool last)
{
	struct epoll_event readable = { .events = EPOLLIN, .data.fd = fd };
	char byte;

	if (states[fd] == CONNECTING && events & EPOLLOUT && !(events & (EPOLLERR | EPOLLHUP))) {
		epoll_ctl(poll_fd, EPOLL_CTL_MOD, fd, &readable);
		ask(fd);
	} else if (states[fd] == ASKED && read(fd, &byte, 1) == 1) {
		states[fd] = ANSWERED;
		asked--;
		answered++;
	} else if (states[fd] == ANSWERED) {
		answered--;
		lose(fd, true);
	} else {
		asked--;
		lose(fd, last);
	}
}

static void step(int timeout_ms, bool last)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(poll_fd, events, EVENTS, timeout_ms);

	for (int i = 0; i < count; i++)
		progress(events[i].data.fd, events[i].events, last);
}

static void begin_one(const struct addrinfo *to)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, to->ai_addr, to->ai_addrlen) && errno != EINPROGRESS)
		die("connect");
	states[fd] = CONNECTING;
	asked++;
	watch(fd, EPOLLOUT);
}

static void give_up(bool last)
{
	for (int fd = 0; fd < MAX_FD; fd++)
		if (states[fd] == CONNECTING || states[fd] == ASKED) {
			asked--;
			lose(fd, last);
		}
}

static int open_all(const char *address, const char *port, unsigned count, unsigned per_second)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM }, *to;
	uint64_t begin = now_ms(), deadline;
	unsigned begun = 0, opened;

	if (getaddrinfo(address, port, &hints, &to))
		die(address);
	while (!ending && begun < count) {
		unsigned due = (now_ms() - begin) * per_second / 1000 + 1;

		for (; begun < due && begun < count; begun++)
			begin_one(to);
		step(1, false);
	}
	for (deadline = now_ms() + CONNECT_MS; !ending && asked && now_ms() < deadline;)
		step(100, false);
	give_up(false);
	opened = answered;
	puts("open");
	while (!ending)
		step(-1, false);
	for (int fd = 0; fd < MAX_FD; fd++)
		if (states[fd] == ANSWERED) {
			answered--;
			asked++;
			ask(fd);
			states[fd] = ASKED;
		}
	for (deadline = now_ms() + LAST_MS; asked && now_ms() < deadline;)
		step(100, true);
	give_up(true);
	printf("{\"opened\":%u,\"failed\":%u,\"broken\":%u}\n", opened, failed, broken);
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit files = { MAX_FD, MAX_FD };

	setrlimit(RLIMIT_NOFILE, &files);
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	poll_fd = epoll_create1(0);
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(atoi(argv[2]));
	if (argc == 6 && !strcmp(argv[1], "open"))
		return open_all(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
	fprintf(stderr, "usage: connections serve <port> | open <address> <port> <count> <per second>\n");
	return 2;
}
