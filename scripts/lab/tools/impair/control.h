/* SPDX-License-Identifier: Apache-2.0 */
/* What a relay is asked and told over its socket: a line and its answer, at either end. */
#pragma once
#include <sys/un.h>
#include <unistd.h>

#include "ends.h"

#define LINE_BYTES 4096

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
