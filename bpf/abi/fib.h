/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a destination leads: next hops, sets of them, and the table of routes. Part of abi.h, whose rules hold; includes nothing. */
#ifndef BRANCHLINE_ABI_FIB_H
#define BRANCHLINE_ABI_FIB_H

enum nexthop_kind {
	NH_NONE = 0,
	NH_UNREACHABLE = 1,	/* counted drop and ICMP: the prefix is known, but not reachable now */
	NH_PROHIBIT = 2,
	NH_LOCAL = 3,		/* to the node's own stack */
	NH_LAN = 4,		/* out of `target` (ifindex), neighbour by the kernel's FIB */
	NH_PEER = 5,		/* to peer `target` */
	NH_SET = 6,		/* to a member of set `target`, chosen for each flow */
	NH_ADAPTER = 7,		/* into adapter `target` of a service instance (abi/chain.h) */
};

#define NH_F_SECURE 1		/* only over IPsec, in and out */
#define NH_F_OUTSIDE 2		/* of NH_ADAPTER: by its outside arm, against the chain's direction */
#define NH_F_CHAINED 4		/* only for what comes out of a service chain */

struct nexthop {
	__u8 kind;		/* enum nexthop_kind */
	__u8 flags;		/* NH_F_* */
	__u16 reserved;
	__u32 target;
};

#define MAX_NEXTHOP_SETS 1024
#define NEXTHOP_SET_MEMBERS 16

/* Several ways to one place. Key: set. Replaced under a new key, never changed: programs may be reading it. */
struct nexthop_set {
	__u16 members[NEXTHOP_SET_MEMBERS]; /* indexes of next hops that are no sets, ascending; one listed n times gets n shares; 0: end */
};

/*
 * The FIB. Programs read `fib`; the agent's worker writes it and `fib_routes` through shared memory. How a look-up goes is
 * told in path/fib.h, how the maps are filled in agent/kernel/fib/.
 *
 * A *word* says what comes next for the addresses that reach it: kind << 29 | bits of the address that are matched there << 23 | place, in units
 * of 16 bytes from the start of `fib`. A zeroed word is an answer: no route.
 */
enum fib_kind {
	FIB_ANSWER = 0,		/* bits 0 to 14: index into nexthops; 0: the VRF's default */
	FIB_BITMAP = 1,		/* by 6 bits: u64 with a bit where another value begins, then the values, u16 each */
	FIB_TABLE = 2,		/* u32 words[2^bits] */
	/* Ranges of 32 bits: sorted inclusive upper bounds, a value for each range and one for what is above. */
	FIB_SHORT = 3,		/* u32 bounds[2]; u16 values[3] */
	FIB_LINE = 4,		/* u32 bounds[10]; u16 values[11] */
	FIB_LINES = 5,		/* u32 bounds[15] of up to 16 lines that follow */
};

#define FIB_UNIT 16		/* bytes */
#define FIB_LINE_BYTES 64
#define FIB_DEEPER 0x8000	/* of a value: no answer; the low bits tell where the next word is, in words from the start of the structure */
#define MAX_FIB_BYTES (48 << 20) /* of `fib` */
#define FIB_SLACK 4096		/* behind the halves: what begins below it may be read without a look at where it ends */

/*
 * What `fib` begins with; the roots of both halves follow, then the halves, then FIB_SLACK. A table is rebuilt in the half that does not answer, and
 * one store of `roots` puts it in place.
 */
struct fib {
	__u32 roots;		/* byte of VRF 0's root */
	__u32 vrfs;		/* numbers are below this; 0: nobody has written here */
	__u32 reserved[14];
};

struct fib_root {
	__u32 word4;
	__u32 word6;
	__u16 default4;		/* next hop of 0.0.0.0/0, which is kept outside the tree; 0: none */
	__u16 default6;
	__u32 reserved;
};

#define FIB_ROUTE_FREE 0

/* A route as it was asked for, which the tree does not tell: what a restarted agent, or its worker, rebuilds from. Key: a number of no meaning. */
struct fib_route {
	__u32 vrf;
	__u16 nexthop;
	__u8 length;
	__u8 family;		/* FAMILY_*; FIB_ROUTE_FREE: no route. Written last */
	__u64 address[2];	/* high, low; an IPv4 address in the top 32 bits of the high word */
};

#endif
