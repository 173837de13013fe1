/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The flow table: keys, slots, how long they live. Part of abi.h, whose rules hold; includes nothing. */
#ifndef BRANCHLINE_ABI_FLOW_H
#define BRANCHLINE_ABI_FLOW_H

/* 5-tuple within a VRF; IPv4 addresses as ::ffff:a.b.c.d. Ports are 0 where there are none. */
struct flow_key {
	__u32 vrf;		/* vrf | stage << STAGE_SHIFT (chain.h) */
	__u8 proto;
	__u8 reserved[3];
	__be16 sport;
	__be16 dport;
	__u8 src[16];
	__u8 dst[16];
};

#define FLOW_PROTO_DIGEST 255	/* top byte of an id that is a digest (path/flow-id.h) */
#define FLOW_CLAIMED 1		/* id_high of a slot that a CPU is writing */

/* From FLOW_ANSWERED on a flow is established: while it lives, no other may take its slot. */
enum flow_state {
	FLOW_NEW = 0,
	FLOW_CLOSED = 1,	/* TCP FIN or RST went by */
	FLOW_ANSWERED = 2,	/* the other direction is in the table too, or FLOW_MANY packets went by */
	FLOW_CONNECTED = 3,	/* the same of TCP */
};

#define STEP_STEERED 1		/* the next hop is an instance, or what a chain ends at: routes that change leave the instance as it is */
#define STEP_COUNTED 2		/* in the connections of the instance that it goes to */
#define STEP_ANSWER 4		/* the other direction began the connection */
#define STEP_BACKWARDS 8	/* the connection walks its chain from the end */
#define STEP_LAST 16		/* steered, but out of the chain now: where routes say */

#define FLOW_MANY 64

/* How long a flow is kept after its newest packet, in ticks of flow_config: about a second each. */
#define FLOW_LIFE_NEW 30
#define FLOW_LIFE_CLOSED 10
#define FLOW_LIFE_ANSWERED 300	 /* RFC 4787, REQ-5 */
#define FLOW_LIFE_CONNECTED 7440 /* RFC 5382, REQ-5 */

/* A slot of the flow table: one direction of a flow. Two of them are an entry of `flows`, which is a cache line; slot = line * 2 + 0 or 1. */
struct flow {
	__u64 id_low;		/* source and destination address; of IPv6 half a digest */
	__u64 id_high;		/* ports or digest, from bit 32 the VRF and stage, from bit 56 the protocol or FLOW_PROTO_DIGEST; 0: free; FLOW_CLAIMED */
	__u32 route_epoch;	/* node.route_epoch when looked up; older: look up again */
	__u16 nexthop;		/* index into nexthops */
	__u16 seen;		/* tick of the newest packet */
	__u32 policy_version;	/* of the VRF's policy when looked up, or where it has none of the next hop's peer */
	__u8 qos;		/* as in the MP header */
	__u8 step;		/* STEP_*; 0: it passes no service chain, and began the connection */
	__u8 packets;		/* stops at 255, so that a long flow's line stays clean */
	__u8 state;		/* enum flow_state */
};

/* Written once, when `flows` is made, and kept with it over restarts. One entry. */
struct flow_config {
	__u64 line_key[4];	/* secret and random: which lines an id may be in; the last two are odd */
	__u64 digest_key[2];	/* secret and random: SipHash */
	__u32 line_mask;	/* lines - 1 */
	__u32 tick_shift;	/* a tick is so many jiffies, as a power of two */
};

/* Argument and result of flow_sweep. */
struct flow_sweep {
	__u32 line;		/* first to look at */
	__u32 lines;
	__u32 live;		/* flows that stay */
	__u32 freed;
};

#endif
