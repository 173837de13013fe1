/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Service chains: policy, chains, pools, adapters. Part of abi.h, whose rules hold; includes nothing. How a packet goes is told in path/chain.h,
 * how the maps are filled in agent/services/.
 *
 * Words (RFC 7665): a service function (SF) is what is done to packets; an instance (SFI) is one machine that does it; a *chain* is an ordered
 * list of functions of one VRF, its number the service path id; an *adapter* is where packets of one position of one chain enter and leave one
 * instance. So what comes out of an adapter is at that position, whatever the instance made of its addresses and ports.
 *
 * A *stage* is a position of a chain within its VRF: what comes back from its adapters. Stage 0 is outside of all chains. A flow is known once in
 * each stage that it passes, under the VRF number vrf | stage << STAGE_SHIFT, in both directions.
 */
#ifndef BRANCHLINE_ABI_CHAIN_H
#define BRANCHLINE_ABI_CHAIN_H

#define STAGE_SHIFT 14		/* MAX_VRFS is 1 << 14; a flow's id has 24 bits for both */
#define MAX_STAGES 1024		/* of a VRF */
#define VRF_OF(vrf_stage) ((vrf_stage) & ((1U << STAGE_SHIFT) - 1))
#define VRF_UPSTREAM 16383	/* of ports that lead out of all VRFs, to the Internet */

#define MAX_CHAINS 4096		/* service path ids 1 to 4095 */
#define CHAIN_HOPS 8
#define MAX_POOLS 4096
#define MAX_POOL_LINES 65536
#define MAX_ADAPTERS 4096
#define MAX_RULES 65536

#define RULE_F_SHADOW 1		/* only counted: what would have been steered */
#define RULE_F_REVERSE 2	/* the packet that matched goes through the chain from its end */
#define RULE_F_MOVE 4		/* flows that were steered under an older version of the policy are steered anew */

/* Of one VRF. Index: VRF. The first 8 bytes change together, after the rules that they name were written. */
struct policy {
	__u32 first;		/* index into policy_rules */
	__u16 rules;		/* in order: the first that matches decides; 0: none */
	__u16 reserved;
	__u32 version;		/* of the policy as its enterprise numbers it */
	__u32 oldest;		/* flows that were steered by an older version are steered anew; others stay as they are */
};

#define POLICY_RULES 1024	/* of one VRF */

/* What the first packet of a flow must be like. Addresses of IPv4 as ::ffff:a.b.c.d, with 96 more bits of prefix. */
struct policy_rule {
	__u8 src[16];
	__u8 dst[16];
	__u8 src_length;	/* bits that must agree */
	__u8 dst_length;
	__u8 proto;		/* 0: any */
	__u8 flags;		/* RULE_F_* */
	__u16 sport_from;	/* host order, inclusive; of protocols without ports only 0 to 65535 matches */
	__u16 sport_to;
	__u16 dport_from;
	__u16 dport_to;
	__u16 chain;		/* service path id; 0: not steered */
	__u16 application;	/* 0: any */
	__u32 name;		/* the rule's number where people made it, for counters that outlive a rewrite */
	__u32 reserved[3];
};

#define HOP_F_FAIL_OPEN 1	/* without a usable instance the hop is left out; else the packet is dropped */
#define HOP_F_STATELESS 2	/* connections of an instance that died go on with another; else they are reset */

#define CHAIN_F_SECURE 1	/* takes and gives only what secure next hops carry; without: only clear */

/* Index: service path id. */
struct chain {
	__u32 vrf;		/* 0: no such chain */
	__u8 hops;
	__u8 flags;		/* CHAIN_F_* */
	__u16 reserved;
	__u16 pools[CHAIN_HOPS];
	__u8 hop_flags[CHAIN_HOPS]; /* HOP_F_* */
};

/* How the next connection's adapter is chosen. */
enum balance {
	BALANCE_TURNS = 0,	/* slot after slot: round-robin, or weighted, as the slots were filled */
	BALANCE_LEAST = 1,	/* whose instance has the fewest connections, of the first POOL_MEMBERS slots */
	BALANCE_HASH = 2,	/* by the flow, equal for both directions: Maglev (Eisenbud et al. 2016) */
};

#define POOL_MEMBERS 64
#define POOL_LINE_SLOTS 32

/* Adapters of one position of one chain that take new connections. One aligned word, read and written at once. Index: pool. */
struct pool {
	__u16 slots;		/* 0: nobody takes any */
	__u16 balance;		/* enum balance */
	__u32 first_line;	/* slots are in lines of POOL_LINE_SLOTS from here on in pool_lines */
};

struct pool_line {
	__u16 adapters[POOL_LINE_SLOTS];
};

enum adapter_kind {
	ADAPTER_NONE = 0,
	ADAPTER_ETHERNET = 1,	/* frames to the instance's MAC, by a device that leads to this adapter alone */
	ADAPTER_IPIP = 2,	/* IP in IP (RFC 2003, 2473, 4213) between two addresses that are this adapter's alone */
	ADAPTER_GENEVE = 3,	/* RFC 8926 as AWS Gateway Load Balancer speaks it */
};

#define ADAPTER_F_DEAD 1	/* its connections go elsewhere or are reset, by HOP_F_STATELESS */
#define ADAPTER_F_SECURE 2	/* of a chain with CHAIN_F_SECURE */

/* Index: adapter; 0 is none. Two cache lines, the first all that Ethernet needs. */
struct adapter {
	__u8 kind;		/* enum adapter_kind */
	__u8 flags;		/* ADAPTER_F_* */
	__u16 mtu;		/* largest packet that fits in */
	__u16 chain;
	__u8 hop;		/* position in the chain, from 0 */
	__u8 family;		/* of the outer addresses */
	__u32 vrf_stage;	/* vrf | stage << STAGE_SHIFT of what comes out */
	__u32 instance;		/* index into instance_state */
	__u16 nexthop_inside;	/* indexes of the next hops that lead here */
	__u16 nexthop_outside;
	__u32 inside_ifindex;	/* Ethernet: device of the side where a connection begins; else the device towards `remote` */
	__u32 outside_ifindex;	/* Ethernet: of the side where it goes on; the same as inside_ifindex: one arm */
	__u8 inside_mac[6];	/* the instance's */
	__u8 outside_mac[6];
	__u8 reserved[24];
	__u8 local[16];		/* IPv4 in the first four bytes */
	__u8 remote[16];
	__u64 endpoint;		/* Geneve options, as numbers */
	__u64 attachment;
	__u64 reserved2[2];
};

#define ADAPTER_OUTSIDE 0x8000	/* of adapter_ports: the device is the outside arm */
#define ADAPTER_UNDERLAY 0x4000	/* many adapters, by what is in the outer headers */

/* Which adapter the outer addresses of a packet from an instance mean. Geneve: `endpoint` alone; the addresses, 0 here, are compared afterwards. */
struct adapter_key {
	__u8 remote[16];
	__u8 local[16];
	__u64 endpoint;		/* 0: IP in IP */
};

/* Shared by all adapters of an instance. Programs count, the agent zeroes a new one. Index: instance. */
struct instance_state {
	__u64 connections;	/* now */
	__u64 opened;
};

/* Per CPU. Index: adapter. */
struct adapter_traffic {
	__u64 to_packets;	/* towards the instance */
	__u64 to_bytes;
	__u64 from_packets;
	__u64 from_bytes;
	__u64 seen_ns;		/* CLOCK_MONOTONIC, coarse: newest from it */
	__u64 seen_jiffies;	/* when seen_ns was read */
};

#endif
