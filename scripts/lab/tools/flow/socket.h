/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "options.h"

/* A burst after the scheduler kept us away must fit: the loss counted is the network's. */
#define SOCKET_BUFFER (16 << 20)

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* The DSCP are the upper six bits of the byte. */
static void mark_packets(int fd, int family, uint64_t dscp)
{
	int tos = dscp << 2;

	if (family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos))
			       : setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)))
		die("DSCP");
}

/* Unconnected: an ICMP error must not eat a packet that was counted as sent. */
static int socket_to(const struct options *options, struct sockaddr_storage *to, socklen_t *length)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM }, *found;
	int error = getaddrinfo(options->to, options->port, &hints, &found);
	int fd;

	if (error) {
		fprintf(stderr, "%s port %s: %s\n", options->to, options->port, gai_strerror(error));
		exit(1);
	}
	memcpy(to, found->ai_addr, found->ai_addrlen);
	*length = found->ai_addrlen;
	fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	mark_packets(fd, found->ai_family, options->dscp);
	freeaddrinfo(found);
	return fd;
}

static int socket_on(const struct options *options)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(options->port)) };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int size = SOCKET_BUFFER;

	if (fd < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		die("SO_RCVBUFFORCE");
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)))
		die("bind");
	puts("ready");
	return fd;
}
