/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet's class, by its DSCP, and the queue in front of a WAN link that the class has. ESP wears the DSCP of what it carries (XFRM copies it, RFC 4301 5.1.2), so
 * secure and clear packets are told apart alike.
 */
#ifndef BRANCHLINE_CLASS_H
#define BRANCHLINE_CLASS_H

#include "../abi.h"
#include "kernel.h"

#define DSCP(tos) ((tos) >> 2)
#define CLASS_BITS 2

/* The classes of 32 code points in one word, so that a packet's is a shift and not a chain of branches. */
#define OF(code, class) ((__u64)(class) << ((code) % 32 * CLASS_BITS))

/* Code points 0 to 31: LE (RFC 8622), CS1, AF1x; CS2, AF2x, CS3, AF3x */
#define CLASSES_LOW                                                                                                                    \
	(OF(1, CLASS_BULK) | OF(8, CLASS_BULK) | OF(10, CLASS_BULK) | OF(12, CLASS_BULK) | OF(14, CLASS_BULK) |                         \
	 OF(16, CLASS_TRANSACTIONAL) | OF(18, CLASS_TRANSACTIONAL) | OF(20, CLASS_TRANSACTIONAL) | OF(22, CLASS_TRANSACTIONAL) |        \
	 OF(24, CLASS_TRANSACTIONAL) | OF(26, CLASS_TRANSACTIONAL) | OF(28, CLASS_TRANSACTIONAL) | OF(30, CLASS_TRANSACTIONAL))

/* 32 to 63: CS4, AF4x; CS5, VOICE-ADMIT (RFC 5865), EF, CS6, CS7 */
#define CLASSES_HIGH                                                                                                                   \
	(OF(32, CLASS_TRANSACTIONAL) | OF(34, CLASS_TRANSACTIONAL) | OF(36, CLASS_TRANSACTIONAL) | OF(38, CLASS_TRANSACTIONAL) |        \
	 OF(40, CLASS_REALTIME) | OF(44, CLASS_REALTIME) | OF(46, CLASS_REALTIME) | OF(48, CLASS_REALTIME) | OF(56, CLASS_REALTIME))

/* @tos: DSCP and ECN, as in an IPv4 header or an IPv6 traffic class. The rows above are after RFC 4594. */
static __always_inline enum traffic_class class_of_tos(__u8 tos)
{
	__u64 classes = tos & 0x80 ? CLASSES_HIGH : CLASSES_LOW;

	return classes >> (DSCP(tos) % 32 * CLASS_BITS) & (CLASSES - 1);
}

/* RFC 6040, normal mode: DSCP and ECN as they are. */
static __always_inline __u8 traffic_class(const __u8 *inner)
{
	return inner[0] >> 4 == 6 ? inner[0] << 4 | inner[1] >> 4 : inner[1];
}

/* For skb->priority: the HTB class of the WAN device's qdisc that takes it, without filters. Where another qdisc is, its low bits are Linux's own priorities. */
static __always_inline __u32 queue_of_class(enum traffic_class class)
{
	return QUEUE_MAJOR << 16 | QUEUE_MINOR | (QUEUE_PRIORITIES >> class * 4 & 0xf);
}

#endif
