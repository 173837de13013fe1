/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * All that the programs and the agent share: map keys and values, enums, limits; those of routes and of flows are in abi/. TypeScript
 * codecs and names are generated from the BTF (npm run codegen -> schema/abi.gen.ts); the agent refuses an object or a pinned map with
 * another layout hash.
 * Rules: fixed-width types, no bitfields, no anonymous members, no implicit padding; __be types are network order.
 *
 * Words: a *sid* is a local session id: 12 random bits, 16 bits of *place*, four zero bits. A *path handle* is sid | path id; it is the
 * skb mark between hooks and the XFRM if_id of the path's SAs, so one number names a path everywhere. Sessions and paths live in arrays:
 * a session at its place, its paths at place + path id, so n path ids take n places in a row. Every entry says whose it is, and a
 * reader compares: a stale or invented id meets an entry of another name, or an empty one.
 *
 * The kernel copies a new value over an array's old one, field by field, while programs read. So an entry is written under a name that no
 * packet uses yet, and what must change together lies in one aligned 8-byte word that is read at once.
 */
#ifndef BRANCHLINE_ABI_H
#define BRANCHLINE_ABI_H

#include "wire.h"
#include "abi/fib.h"
#include "abi/flow.h"
#include "abi/chain.h"

#define MAX_PATHS 65536 /* places; a node may have fewer (agent/kernel/sizes.ts) */
#define MAX_PEERS 32768
#define MAX_NEXTHOPS 32768 /* what the 15 bits of a FIB answer can name */
#define MAX_VRFS 16384 /* numbers 1 to 16383; a flow's id has 24 bits for one */
#define MAX_ROUTES 1048576
#define MAX_FLOW_LINES 1048576 /* of two slots; an edge has fewer */
#define MAX_PORTS 1024

/* Why a packet was dropped. One exit counts it and samples an event. Append only; names are shown to people. */
enum drop_reason {
	DROP_NONE = 0,
	/* outer packet, WAN side */
	DROP_MP_TRUNCATED,	/* shorter than its MP header and 16 bytes of payload */
	DROP_MP_VERSION,
	DROP_MP_TYPE,
	DROP_MP_NO_SESSION,
	DROP_MP_PATH,		/* path id outside the session's paths */
	DROP_MP_TAG,
	DROP_MP_REPLAY,
	DROP_MP_TOO_OLD,	/* behind the replay window of its path, or the window of its lane */
	DROP_OUTER_FRAGMENT,	/* MP is never sent in fragments */
	DROP_OUTER_MALFORMED,	/* UDP or IP length does not match */
	/* inner packet */
	DROP_INNER_MALFORMED,
	DROP_INNER_SPOOFED,	/* virtual source address is not the peer's */
	DROP_NO_VRF,
	DROP_NO_ROUTE,
	DROP_UNREACHABLE,	/* route known, reachable flag off: VPN switched off or owner lost */
	DROP_PROHIBITED,
	DROP_TTL,
	DROP_TOO_BIG,
	DROP_CLEAR_ON_SECURE,	/* came in clear, but its route is secure */
	DROP_SECURE_ON_CLEAR,	/* came over IPsec, but its route is clear */
	DROP_LOOP,		/* would go back to the peer it came from */
	/* sending */
	DROP_NO_PEER,		/* next hop names a peer that is gone */
	DROP_NO_PATH,		/* no usable path towards the peer */
	DROP_NO_ESP,		/* secure route, but this kernel or peer has no ESP */
	DROP_NO_SA,		/* ipsec0 without SA of the path */
	DROP_PLAINTEXT,		/* would have left mp0 unencrypted although secure (esp offload) */
	DROP_NOT_OURS,		/* on mp0, but neither a path handle nor a peer's virtual address */
	DROP_REWRITE,		/* the kernel refused to change the packet */
	DROP_FEC_PARITY,	/* parity packet that stands where no group ends, or is none */
	DROP_FEC_LENGTH,	/* what parity and the group's other packets add up to cannot be a packet */
	/* service chains */
	DROP_NO_CHAIN,		/* its chain or pool is gone, or keeps secure and clear apart */
	DROP_NO_INSTANCE,	/* nobody in the pool takes connections, and the hop fails closed */
	DROP_INSTANCE_LOST,	/* its instance died, and what it knew of the connection with it */
	DROP_CHAIN_TAG,		/* an instance returned a cookie, endpoint or service index that was not given to it */
	DROP_NO_ADAPTER,	/* from a device or address of instances, but of no adapter */
	DROP_NOT_CHAINED,	/* leads where only what passed its chain may go */
	DROP_NOT_LINKED,	/* the flow table has no room to remember which instance has the connection */
	DROP_REASONS,		/* count; not a reason */
};

/* Named packet counters, per CPU. */
enum counter {
	COUNT_LAN_IN,		/* packets from hosts that a VRF look-up saw */
	COUNT_LAN_OUT,		/* packets handed to hosts */
	COUNT_TO_PEER_SECURE,
	COUNT_TO_PEER_CLEAR,
	COUNT_FROM_PEER_SECURE,
	COUNT_FROM_PEER_CLEAR,
	COUNT_LOCAL_IN,		/* inner packets for the node itself */
	COUNT_LOCAL_OUT,
	COUNT_MP_IN,		/* accepted MP packets, any type */
	COUNT_MP_OUT,
	COUNT_HANDSHAKE_IN,	/* handed to the agent's socket */
	COUNT_PROBE_ANSWERED,
	COUNT_PROBE_REPLY_IN,
	COUNT_ICMP_SENT,
	COUNT_MSS_CLAMPED,
	COUNT_FLOW_NEW,
	COUNT_FLOW_HIT,
	COUNT_BURST_OUT,	/* GSO packets encapsulated whole, to be cut on their way to the WAN */
	COUNT_FLOW_REPLACED,	/* of the new ones: took the slot of a flow that is not established or has outlived itself */
	COUNT_FLOW_FULL,	/* not remembered: every slot that it may have holds an established flow */
	COUNT_FLOW_BUSY,	/* not remembered: another CPU was entering one there */
	COUNT_RELAYED,		/* of mp-in: sent on to the next clear tunnel by XDP */
	COUNT_PLAYED,		/* of lan-out: given the time at which to leave (path/playout.h) */
	COUNT_PLAYED_LATE,	/* of those: it was over */
	COUNT_ASK_OUT,		/* of mp-out: data that asked for an answer, since its path was silent */
	COUNT_ASK_IN,		/* of mp-in: the same from a peer, given to be answered */
	COUNT_PARITY_OUT,
	COUNT_PARITY_IN,	/* of mp-in */
	COUNT_REBUILT,		/* packets that were lost, and came back from parity */
	COUNT_REBUILT_LATE,	/* of those: came after all, and was not needed any more */
	COUNT_UNPROTECTED,	/* groups whose parity could not be sent */
	COUNT_COPY_OUT,		/* of mp-out: the second of a packet that is sent twice */
	COUNT_COPY_IN,		/* of mp-in: a packet that had come before, by another path */
	COUNT_STEERED,		/* of flow-new: connections that policy gave to a chain */
	COUNT_SHADOWED,		/* ... and those that a shadow rule would have */
	COUNT_TO_SERVICE,	/* packets into service instances */
	COUNT_FROM_SERVICE,
	COUNT_RESET_SENT,	/* TCP resets made, for connections whose instance died */
	COUNT_HOP_SKIPPED,	/* connections that went past a hop without usable instance, which fails open */
	COUNT_HELD,		/* from a peer, held back between tunnels to be put in order; of those: */
	COUNT_HELD_LATE,	/* its time was over */
	COUNTERS,
};

/* A session as the agent wrote it; programs only read it. Index: place of the sid. One cache line. */
struct session {
	__u32 sid;
	__u32 remote_sid;	/* what the peer wants to see in our headers */
	__u32 peer;
	__u32 vrf;
	__be32 vaddr_local;
	__be32 vaddr_remote;
	__u32 policy_version;	/* highest that the agent has parameters for */
	__u32 path_mask;	/* paths that exist: packets of others are refused */
	__u64 tx_key[2];	/* SipHash keys */
	__u64 rx_key[2];
};

/* What a packet asks of the way, by the DSCP of the inner packet (path/class.h). */
enum traffic_class {
	CLASS_DEFAULT = 0,
	CLASS_REALTIME = 1,
	CLASS_TRANSACTIONAL = 2,
	CLASS_BULK = 3,
	CLASSES,		/* count; not a class */
};

/*
 * skb->priority of what leaves for a peer, TC_H_MAKE(QUEUE_MAJOR << 16, minor): a class of the HTB that the agent puts on a WAN link of known rate
 * (agent/node/queues.ts). The low four bits of a minor are what pfifo_fast, prio and fq read of it elsewhere (TC_PRIO_*, linux/pkt_sched.h).
 */
#define QUEUE_MAJOR 0x2426U
#define QUEUE_MINOR 0x10
#define QUEUE_PRIORITIES 0x2460 /* by traffic class, four bits each: BULK 2, INTERACTIVE_BULK 4, INTERACTIVE 6, BESTEFFORT 0 */

/* How the packets of a class are spread over paths. */
enum spread {
	SPREAD_BEST = 0,	/* all on `best` */
	SPREAD_FLOWS = 1,	/* each flow stays on one of `mask`, by rates */
	SPREAD_PACKETS = 2,	/* each packet where it arrives first */
	SPREAD_TWICE = 3,	/* all on `best`, and again on `second` */
};

/* Of one class towards one peer. One aligned word, read and written at once. */
struct steering {
	__u8 mode;		/* enum spread */
	__u8 best;		/* path ids */
	__u8 second;
	__u8 fec;		/* as in the MP header; 0: off */
	__u16 mask;		/* paths to use while they live; then any of the peer's */
	__u16 playout_ms;	/* packets from the peer are held back until so long after the quickest could have come; 0: not at all */
};

#define PEER_F_ESP 1		/* SAs exist: secure next hops may use the peer */

/* Where packets for a peer go now. Index: peer index; 0 is nobody. The first 8 bytes change together: a rekey is one store. */
struct peer {
	__u32 sid;		/* session to send on; 0: no such peer */
	__u16 path_mask;	/* usable paths, backup links' too */
	__u8 path_best;
	__u8 flags;		/* PEER_F_* */
	__u32 policy_version;	/* sent in headers */
	__u16 mtu_secure;	/* largest inner packet */
	__u16 mtu_clear;
	struct steering steering[CLASSES];
	__u64 reserved[2];
};

#define FAMILY_NONE 0
#define FAMILY_IPV4 4
#define FAMILY_IPV6 6

/* Outer addresses of a path, agent-written. Index: place of the handle. One cache line. IPv4 addresses sit in the first four bytes. */
struct path_conf {
	__u32 handle;
	__u32 ifindex;
	__u8 local[16];
	__u8 remote[16];
	__be16 local_port;
	__be16 remote_port;
	__u8 family;		/* FAMILY_*; NONE: not learned yet, cannot send */
	__u8 ttl;
	__u16 mtu;		/* of the WAN side, outer headers included */
	__u32 segment_ifindex;	/* macvlan over `ifindex` whose transmit cuts GSO packets; 0: none, they go by mp0 and mp1 */
	__u32 reserved;
	__u32 rate;		/* what the path carries towards the peer, bytes per ms; 0: unknown. With delay_us one word */
	__u32 delay_us;		/* one way, as far as it can be known, without queues */
};

#define WINDOW_WORDS 64		/* x 32 packets: 2048 */

/* Delay above the quickest packet so far, in steps of a factor of 2: bucket n counts those below DELAY_BUCKET_US << n, the last all others. */
#define DELAY_BUCKETS 16
#define DELAY_BUCKET_US 125

/* An epoch of 4.3 s: a minimum is forgotten one to two epochs after it was seen, so clocks may drift and routes may change. */
#define TRANSIT_EPOCH_SHIFT 32 /* of CLOCK_MONOTONIC in ns */

/*
 * What the programs learn about a path; the agent creates it, zeroed but for the tags, and then only reads it, but for `left`, which it
 * clears. Index: place of the handle. A cache line for a sender, one for a receiver, one for the next hop and the clock, one of measured delay, then
 * the window.
 */
struct path_state {
	__u32 handle;
	__u8 left;		/* 1: silent while in use, so packets go elsewhere until the agent has seen it answer (path/liveness.h) */
	__u8 asks;		/* packets that asked for an answer since it was last heard, and ASK_DUE of path/liveness.h */
	__u16 patience;		/* ms without an answer that are too long; 0: not measured yet */
	__u64 tx_number;	/* newest; also how many were sent */
	__u64 tx_bytes;
	__u32 asked_first;	/* µs of CLOCK_MONOTONIC; of `asks` */
	__u32 looked;		/* jiffies; when a sender last looked whether the path is heard */
	__u64 tx_tag[4];	/* SipHash state behind what plain DATA of the path begins with (path/tag.h); agent-written */
	__u64 rx_highest;	/* highest packet number accepted */
	__u64 rx_packets;
	__u64 rx_bytes;
	__u64 last_rx_ns;	/* CLOCK_MONOTONIC, coarse */
	__u64 rx_tag[4];
	__u64 busy_until_ns;	/* when what was given to the path will have left its link, at the path's rate */
	__u32 rtt_us;		/* of the newest probe reply; 0: none yet */
	__u32 hop_asked;
	__u64 hop[2];		/* MACs on a frame to the next hop, destination and source; path/hop.h */
	__u64 hop_remote[2];	/* ... on the way to this address */
	__u32 srtt_us;		/* smoothed (RFC 6298); 0: none yet */
	__u32 rttvar_us;
	__u32 probe_replies;
	__u32 probed_size;	/* round << 16 | size of the largest reply to the newest round of probes, outer headers included */
	__u64 told_highest;	/* the peer's newest mp_report of what we sent; a reader may see its two halves of two reports */
	__u64 told_packets;
	__u32 transit_us;	/* least arrival minus timestamp lately, of two clocks that have nothing to do with each other */
	__u32 transit_last_us;	/* of the packet measured last (path/delay.h) */
	__u32 jitter_us;	/* RFC 3550, 6.4.1, times 16 */
	__u32 reordered;	/* packets behind a later one of their class */
	__u64 rx_late;		/* copies and parity's late comers: accepted, but not needed */
	__u32 transit_newest_us; /* least of this epoch alone; transit_us: of it and the one before */
	__u32 transit_epoch;	/* TRANSIT_EPOCH_SHIFT; 0: nothing measured yet */
	__u32 highest_of[CLASSES]; /* low half of the highest number of each class; a probe counts as real-time, as it is queued */
	__u32 delay[DELAY_BUCKETS]; /* packets by arrival minus timestamp, above transit_us */
	__u64 window[WINDOW_WORDS]; /* epoch << 32 | 32 bits seen */
};

#define LANE_WORDS 16		/* x 32 sequence numbers: 512 */

/* The sequence numbers of one lane: ours, and which of the peer's have come. */
struct lane {
	__u64 tx_sequence;
	__u64 rx_highest;
	__u64 window[LANE_WORDS];
};

/*
 * What a session's paths have in common, for sessions of two paths or more; the agent creates it zeroed. Index: place of the sid / 2, since such
 * sessions take at least two places.
 */
struct bundle {
	__u32 sid;
	__u32 transit_us;	/* least of its paths' */
	__u32 transit_newest_us; /* as in path_state */
	__u32 transit_epoch;
	__u32 played_us[CLASSES]; /* arrival minus timestamp that packets to be put in order are made to have (path/playout.h) */
	__u32 played_at[CLASSES]; /* µs of CLOCK_MONOTONIC, when it was last brought in line; 0: never */
	struct lane lanes[MP_LANES];
};

#define PORT_PROBES 8

#define PORT_F_FQ 1		/* its qdisc is an fq, which holds packets back until their time */

/* A LAN port. Index: ifindex modulo MAX_PORTS, or one of the PORT_PROBES - 1 places behind it. */
struct port {
	__u32 ifindex;		/* 0: free */
	__u32 vrf;
	__be32 addr4;		/* source of ICMP errors; 0: none */
	__u32 flags;		/* PORT_F_* */
	__u8 addr6[16];
};

/* One entry. */
struct node_config {
	__u64 abi_hash;		/* layout that the maps were made with */
	__u32 mp0_ifindex;
	__u32 mp1_ifindex;	/* the other end of the veth pair: where the kernel has segmented clear packets */
	__u32 gather_ifindex;	/* veth whose other end joins TCP segments for hosts (GRO); 0: none */
	__u32 hold_ifindex;	/* veth with an fq, where packets between tunnels wait to be put in order; 0: none */
	__u32 ipsec_ifindex;	/* 0: kernel without ESP */
	__u32 route_epoch;	/* incremented after each change of routes or next hops */
	__be32 vaddr;		/* this node's virtual address on mp0; also the source of ICMP errors made between tunnels */
	__u32 event_interval_ns; /* at most one sampled event per CPU in this time */
	__u8 icmp_src6[16];
};

enum event_type {
	EVENT_DROP = 1,
	EVENT_NO_SESSION = 2,	/* beside the drop's own event; the agent may answer with MP_RESET */
	EVENT_PATH_MOVED = 3,	/* newest authenticated packet of a path came from another address */
	EVENT_POLICY_AHEAD = 4,	/* header's policy version is higher than session.policy_version */
	EVENT_PATH_LEFT = 5,	/* a path in use is silent; packets go by another; value: that one's id, MP_PATHS: there is none */
};

#define EVENT_HEAD 64

struct event {
	__u64 time_ns;
	__u32 type;		/* enum event_type */
	__u32 reason;		/* enum drop_reason */
	__u32 ifindex;
	__u32 handle;		/* path handle, where known; EVENT_NO_SESSION: the unknown session id */
	__u32 value;		/* EVENT_POLICY_AHEAD: the version */
	__u32 length;		/* of the packet */
	__u8 family;		/* of the outer addresses below, where known */
	__u8 head_length;
	__be16 src_port;
	__be16 dst_port;
	__u16 reserved;
	__u8 src[16];
	__u8 dst[16];
	__u8 head[EVENT_HEAD];	/* first bytes of the packet from its network header */
};

#endif
