/* SPDX-License-Identifier: Apache-2.0 */
/* What the filters read of a frame: the size of its IP packet and bytes of its UDP payload. */
#pragma once
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "profile.h"

static uint16_t load16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

/* Where the network header is, behind VLAN tags; *protocol gets the ethertype. */
static uint32_t network_offset(const uint8_t *frame, uint32_t length, uint16_t *protocol)
{
	uint32_t offset = ETH_HLEN;

	*protocol = load16(frame + ETH_HLEN - 2);
	while ((*protocol == ETH_P_8021Q || *protocol == ETH_P_8021AD) && length >= offset + 4) {
		*protocol = load16(frame + offset + 2);
		offset += 4;
	}
	return offset;
}

/* Where the UDP payload is; 0 when there is none: another protocol, IPv6 extension headers, any fragment but the first. */
static uint32_t udp_payload_offset(const uint8_t *frame, uint32_t length, uint32_t network, uint16_t protocol)
{
	const uint8_t *ip = frame + network;
	uint32_t header = 0;

	if (protocol == ETH_P_IP && length >= network + 20 && ip[9] == IPPROTO_UDP && !(load16(ip + 6) & 0x1fff))
		header = (ip[0] & 15) * 4;
	if (protocol == ETH_P_IPV6 && length >= network + 40 && ip[6] == IPPROTO_UDP)
		header = 40;
	return header ? network + header + 8 : 0;
}

/* Is this one of the packets that suffer? */
static bool selected(const struct profile *p, const uint8_t *frame, uint32_t length)
{
	uint16_t protocol;
	uint32_t network = network_offset(frame, length, &protocol), size = length - network, value = 0;
	uint64_t at;

	if (p->larger_than && size <= p->larger_than)
		return false;
	if (p->smaller_than && size >= p->smaller_than)
		return false;
	if (!p->match_bytes)
		return true;
	at = udp_payload_offset(frame, length, network, protocol);
	if (!at || at + p->match_offset + p->match_bytes > length)
		return false;
	for (uint64_t i = 0; i < p->match_bytes; i++)
		value = value << 8 | frame[at + p->match_offset + i];
	return (value & p->match_mask) == p->match_value;
}
