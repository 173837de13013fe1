/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward <namespace> <listen address> <port> <connect address> <port>
 *
 * Listens in a network namespace and connects from the one that it was started in: how agents in namespaces reach the orchestrator, which
 * listens on the host's loopback. A process per connection; they end with this one. IPv4. Prints "ready".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in address(const char *host, const char *port)
{
	struct sockaddr_in made = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };

	if (inet_pton(AF_INET, host, &made.sin_addr) != 1) {
		fprintf(stderr, "not an IPv4 address: %s\n", host);
		exit(2);
	}
	return made;
}

/* False at the end of the stream or when the other side is gone. */
static bool copy(int from, int to)
{
	char buffer[65536];
	ssize_t length = read(from, buffer, sizeof(buffer));

	for (ssize_t done = 0; done < length;) {
		ssize_t written = write(to, buffer + done, length - done);

		if (written < 0)
			return false;
		done += written;
	}
	return length > 0;
}

static void serve(int client, const struct sockaddr_in *to)
{
	int server = socket(AF_INET, SOCK_STREAM, 0);
	struct pollfd ends[2] = { { .fd = client, .events = POLLIN }, { .fd = server, .events = POLLIN } };

	if (connect(server, (const struct sockaddr *)to, sizeof(*to)))
		exit(0); /* the client sees its connection end: the orchestrator is away */
	while (poll(ends, 2, -1) > 0) {
		if (ends[0].revents && !copy(client, server))
			exit(0);
		if (ends[1].revents && !copy(server, client))
			exit(0);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in on, to;
	int own, other, listener, yes = 1;

	if (argc != 6) {
		fputs("usage: forward <namespace> <listen address> <port> <connect address> <port>\n", stderr);
		return 2;
	}
	on = address(argv[2], argv[3]);
	to = address(argv[4], argv[5]);
	own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	other = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (own < 0 || other < 0)
		die(argv[1]);
	if (setns(other, CLONE_NEWNET))
		die("setns");
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener, (struct sockaddr *)&on, sizeof(on)) || listen(listener, 64))
		die("listen");
	if (setns(own, CLONE_NEWNET))
		die("setns");
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	puts("ready");
	fflush(stdout);
	while (true) {
		int client = accept(listener, NULL, NULL);

		if (client < 0)
			continue;
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(listener);
			serve(client, &to);
			exit(0);
		}
		close(client);
	}
}
