/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The maps of a node. Every object declares the same ones, and pinning by name makes them one: the object loaded first creates
 * them, the others and a restarted agent find them. abi.h defines keys and values and says who writes what.
 *
 * Sizes are the largest that a node can have; agent/kernel/sizes.ts makes maps smaller for roles that need less. BPF_F_MMAPABLE gives an
 * array whole pages of its own, and so entries of 64 bytes a cache line each.
 */
#ifndef BRANCHLINE_MAPS_H
#define BRANCHLINE_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct node_config);
} node SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_PATHS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* place of the sid */
	__type(value, struct session);
} sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_PEERS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* peer index */
	__type(value, struct peer);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_PATHS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* place of the handle */
	__type(value, struct path_conf);
} path_conf SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_PATHS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* place of the handle */
	__type(value, struct path_state);
} path_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_PATHS / 2);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* place of the sid / 2 */
	__type(value, struct bundle);
} bundles SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_NEXTHOPS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct nexthop);
} nexthops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_NEXTHOP_SETS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct nexthop_set);
} nexthop_sets SEC(".maps");

/*
 * struct fib, the roots, and what their words lead to; path/fib.h says what is where. One entry, so that a look-up asks the map once and then reads
 * by address. Its size is the node's (agent/kernel/sizes.ts), which no type can say.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, MAX_FIB_BYTES);
} fib SEC(".maps");

/* Bytes of `fib`: `.rodata.NAME` gets the size that map NAME is made with. The verifier takes it for a constant. */
const volatile __u32 fib_bytes SEC(".rodata.fib") = MAX_FIB_BYTES;

/* No program reads it; entry 0 stays empty. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_ROUTES + 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct fib_route);
} fib_routes SEC(".maps");

struct flow_line {
	struct flow slots[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);     /* begins on a page, so an entry is a cache line */
	__uint(max_entries, MAX_FLOW_LINES); /* a power of two; an edge has fewer */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct flow_line);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct flow_config);
} flow_config SEC(".maps");

#define FLOW_LOCKS 1024

/* 1 while a flow is entered, chosen by its first line: no two CPUs enter the same flow. No part of the ABI. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOW_LOCKS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u32);
} flow_locks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_PORTS + PORT_PROBES - 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* see struct port */
	__type(value, struct port);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_PEERS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __be32); /* a peer's virtual address */
	__type(value, __u32); /* peer index */
} vaddrs SEC(".maps");

/* Service chains, abi/chain.h. All but instance_state and adapter_traffic are agent-written. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_VRFS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* VRF */
	__type(value, struct policy);
} policies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_RULES);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct policy_rule);
} policy_rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_RULES);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* index into policy_rules */
	__type(value, __u64);
} rule_hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_CHAINS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* service path id */
	__type(value, struct chain);
} chains SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_POOLS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct pool);
} pools SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_POOLS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* pool; connections that were given out, program-written */
	__type(value, __u64);
} pool_turns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_POOL_LINES);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct pool_line);
} pool_lines SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_ADAPTERS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct adapter);
} adapters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_ADAPTERS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* instance */
	__type(value, struct instance_state);
} instance_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_ADAPTERS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* adapter */
	__type(value, struct adapter_traffic);
} adapter_traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_ADAPTERS * 2);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* ifindex */
	__type(value, __u32); /* adapter | ADAPTER_OUTSIDE, or ADAPTER_UNDERLAY */
} adapter_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_ADAPTERS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct adapter_key);
	__type(value, __u32); /* adapter */
} adapter_outers SEC(".maps");

/* WAN devices with wan_xdp on them: only those take frames. Agent-written. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, MP_PATHS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* ifindex */
	__type(value, __u32); /* the same */
} frame_devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_REASONS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* enum drop_reason */
	__type(value, __u64);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* enum counter */
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} events SEC(".maps");

#define FEC_BYTES 1536	/* longest payload that is protected: 24 times 64 */
#define FEC_WORDS (FEC_BYTES / 8)
#define FEC_COLUMNS 4
#define FEC_SLOTS 64	/* of a lane */
#define FEC_GROUPS 1024

/* What packets add up to (XOR); path/fec.h. Shorter ones count as if zeros followed. */
struct fec_sum {
	__u32 longest;		/* payload, bytes; what lies behind is not the sum's */
	__u32 count;
	__be32 timestamp_us;
	__u32 length_qos;	/* length << 8 | qos */
	__u64 words[FEC_WORDS];
};

/* The block that one lane of one session is sending. Only the lane's CPU touches it. */
struct fec_block {
	__u32 sid;		/* of whom; the slot is shared */
	__u32 first;		/* number of the block's first packet */
	__u32 next;		/* number that continues it; another has come meanwhile: the block is broken */
	__u32 code;		/* as in the MP header */
	struct fec_sum columns[FEC_COLUMNS];
};

/* Index: lane * FEC_SLOTS + place of the sid / 2 modulo FEC_SLOTS. No part of the ABI. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MP_LANES * FEC_SLOTS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct fec_block);
} fec_blocks SEC(".maps");

/* What has come of a group. */
struct fec_group {
	__u32 claimed;		/* 1: a CPU is at it */
	__u32 sid;
	__u32 sequence;		/* lane and number of the group's first packet */
	__u32 code;
	__u32 seen;		/* a bit for each member, and FEC_PARITY_SEEN */
	__u32 owed;		/* bit of a member that waits to be rebuilt from a copy of the packet that completed the group */
	struct fec_sum sum;
};

/* Index: path/fec-decode.h. No part of the ABI. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FEC_GROUPS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct fec_group);
} fec_groups SEC(".maps");

#define EVENT_TYPES 6

/* What this CPU has sent lately; no part of the ABI, the agent never looks at it. */
struct pace {
	__u64 event_ns[EVENT_TYPES]; /* when the last event of a type was sampled */
	__u64 icmp_ns;		     /* theoretical arrival time of the ICMP limiter (GCRA) */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct pace);
} pace SEC(".maps");

#endif
