/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What Branchline puts on a WAN. docs/wire.md explains it byte by byte; this file is the only definition.
 *
 *  IPv4 or IPv6 | UDP, both ports usually 2426 | MP header, 40 bytes | payload
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-------+-------+---------------+---+-----+-----+---------------+
 *  |Version| Type  |    Path id    |Cls|Prio |Flags|P|Dep|    k    |  0
 *  +-------+-------+---------------+---+-----+-----+---------------+
 *  |                 Session id, chosen by the receiver            |  4
 *  +---------------------------------------------------------------+
 *  |Lane |  Sequence, 0: none; in PROBE_REPLY the echoed timestamp |  8
 *  +-----------------------------------------------+---------------+
 *  |             Service path id (RFC 8300)        | Service index | 12
 *  +-----------------------------------------------+---------------+
 *  |                                                               | 16
 *  +          Packet number, per session, path and direction       +
 *  |                                                               | 20
 *  +---------------------------------------------------------------+
 *  |                Timestamp, µs of the sender's clock            | 24
 *  +---------------------------------------------------------------+
 *  |                         Policy version                        | 28
 *  +---------------------------------------------------------------+
 *  |                                                               | 32
 *  +   Tag: SipHash-2-4 over bytes 0..31 and 16 bytes of payload   +
 *  |                                                               | 36
 *  +---------------------------------------------------------------+
 *
 * A packet's *sequence* is its number among those of its session and lane, over all paths: it tells a copy from an original, and which packets
 * are of one FEC group. A lane is what one CPU of the sender counts, so that none has to ask another. Packets that are neither copied nor
 * protected carry 0. P, Dep and k are of FEC: path/fec.h.
 *
 * The payload of DATA is one IPv4 or IPv6 packet: a host's (clear), ESP between virtual addresses (secure), or the node's own
 * (route session). The handshake types carry their own layout after the first byte (schema/mpinit.ts) and no tag.
 */
#ifndef BRANCHLINE_WIRE_H
#define BRANCHLINE_WIRE_H

#include <linux/types.h>

#define MP_PORT 2426
#define MP_VERSION 1
#define MP_TAGGED_PAYLOAD 16 /* payload bytes under the tag; a shorter payload does not exist (an IPv4 header is 20) */
#define MP_PATHS 16          /* paths of one session: the path id is the low nibble of a path handle */

enum mp_type {
	MP_DATA = 1,
	MP_PROBE = 2,       /* answered by the receiving kernel program, no agent involved */
	MP_PROBE_REPLY = 3, /* the probe's payload behind what the answering path has received (struct mp_report); `sequence` echoes the timestamp */
	MP_PARITY = 4,      /* what k packets of a sequence add up to, path/fec.h */
	MP_FIRST_HANDSHAKE = 8, /* from here on: for the agent's UDP socket */
	MP_INIT = 8,
	MP_RESPONSE = 9,
	MP_COOKIE = 10,
	MP_RESET = 11, /* hint: "I do not know this session"; unauthenticated, may only cause a new handshake */
	MP_INIT_KEM = 12, /* the other part of an INIT and of a RESPONSE: ML-KEM */
	MP_RESPONSE_KEM = 13,
};

/* First what the packets of a path mostly have in common, so that the tag's first rounds need not be done for each: path/tag.h. */
struct mp_hdr {
	__u8 version_type; /* version << 4 | enum mp_type */
	__u8 path;
	__u8 qos;	   /* class << 6 | priority << 3 | flags */
	__u8 fec;	   /* MP_FEC_PARITY | log2 of the depth << MP_FEC_DEPTH_SHIFT | k; 0: not protected */
	__be32 session;
	__be32 sequence;   /* lane << MP_LANE_SHIFT | number in the lane; 0: none */
	__be32 service_path; /* service path id << 8 | service index; 0: no chain */
	__be64 number;
	__be32 timestamp_us;
	__be32 policy_version;
	__be64 tag;
};

#define MP_HDR_LEN 40

/* Of qos. */
#define MP_F_ASK 1	 /* answer at once, by a PROBE_REPLY, that this packet has come */
#define MP_F_SPREAD 2	 /* others of its flow take other paths: to be put in order again (path/playout.h) */

#define MP_CLASS_SHIFT 6
#define MP_PRIORITY_SHIFT 3

#define MP_LANES 8
#define MP_LANE_SHIFT 29

#define MP_FEC_PARITY 0x80
#define MP_FEC_DEPTH_SHIFT 5
#define MP_FEC_K 0x1f

/* What a trigger holds behind its IP and UDP headers (path/probe.h). */
struct mp_trigger {
	__u8 path;
	__u8 round;	/* of probes that are sent together to learn what size gets through; 0: of none */
	__be16 size;	/* of the outer packet, padded with zeros; 0, or less than the trigger needs: as it is */
	__u8 reserved[12];
};

/* First bytes of a PROBE_REPLY's payload: what its sender has received of the path, as of the packet that it answers. */
struct mp_report {
	__be64 highest; /* packet number */
	__be64 packets;
};

#endif
