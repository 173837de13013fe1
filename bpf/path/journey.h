/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the stages learn about one packet and tell each other.
 *
 * A stage returns a result: GO_ON, a tc verdict, or DROP(reason). Only finish() in drop.h turns a reason into a verdict.
 */
#ifndef BRANCHLINE_JOURNEY_H
#define BRANCHLINE_JOURNEY_H

#include "../abi.h"
#include "kernel.h"

#define GO_ON 0x100			    /* not a tc verdict: the next stage decides */
#define DROP(reason) (-2 - (int)(reason)) /* below every tc verdict */
#define IS_DROP(result) ((result) < TCX_NEXT)
#define DROP_REASON(result) ((__u32)(-2 - (result)))

/* Every packet that a stage sees carries 14 bytes of Ethernet header; ipsec0's get one at its ingress. */
#define L3 ETH_HLEN

enum origin {
	FROM_LAN,
	FROM_PEER_CLEAR,
	FROM_PEER_SECURE,
}; /* Out of an instance, journey.adapter: as all packets of its chain may travel, secure or clear. */

/* The ICMP error that goes back to the sender, in words of both families. */
enum answer {
	ANSWER_NONE,
	ANSWER_UNREACHABLE,
	ANSWER_PROHIBITED,
	ANSWER_TOO_BIG,
	ANSWER_TIME_EXCEEDED,
	ANSWER_RESET, /* of TCP: a segment with RST */
};

enum fragment {
	FRAGMENT_NONE,
	FRAGMENT_FIRST,
	FRAGMENT_LATER, /* no layer 4 header */
};

enum arm {
	ARM_INSIDE,  /* against the chain */
	ARM_OUTSIDE, /* along it */
	ARM_ONLY,    /* which way, the flow must tell */
};

/* Values of journey.flow_slot beside a slot's number. */
#define FLOW_NO_SLOT 0xffffffff
#define FLOW_FULL 0xfffffffe
#define FLOW_BUSY 0xfffffffd
#define IS_FLOW_SLOT(slot) ((slot) < FLOW_BUSY)

struct journey {
	struct flow_key key;   /* VRF, addresses, ports: written by parse.h, vrf by the entry function */
	__u32 length;	       /* of the IP packet, headers included; of a GSO packet: of the whole */
	__u32 segment;	       /* largest IP packet that will leave: `length`, or what a GSO segment will have */
	__u32 gso_size;	       /* of a segment's payload; 0: a single packet */
	__u32 handle;	       /* path it came by, 0 from the LAN */
	__u32 peer;	       /* peer it came from; from the LAN: unused */
	__u32 stamp;	       /* when and in which class it was sent (playout.h); 0: not from a peer */
	__u32 flow_slot;       /* of its flow in the flow table; FLOW_NO_SLOT and up: not remembered */
	__u16 adapter;	       /* of a service instance that it came out of; 0: it is outside of all chains */
	__u8 arm;	       /* enum arm, that it came out by */
	__u8 step;	       /* STEP_* of a flow that is not steered */
	__u16 l4;	       /* offset of the layer 4 header from the frame's start */
	__u16 answer_mtu;      /* ANSWER_TOO_BIG */
	__u8 family;	       /* FAMILY_* */
	__u8 ttl;
	__u8 fragment;	       /* enum fragment */
	__u8 may_fragment;     /* IPv4 without DF */
	__u8 origin;	       /* enum origin */
	__u8 answer;	       /* enum answer; set by the stage that drops */
	__u8 icmp_type;	       /* ICMP and ICMPv6 only */
	__u8 tcp_flags;	       /* byte 13 of the TCP header */
	__u8 tos;	       /* DSCP and ECN */
};

#endif
