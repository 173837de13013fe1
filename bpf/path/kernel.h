/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the programs need of the kernel and the UAPI headers of Debian 12 (6.1) do not declare, and the few members of the
 * kernel's own sk_buff that __sk_buff hides. Read-only; relocated by BTF, so one object fits 6.12 and later.
 */
#ifndef BRANCHLINE_KERNEL_H
#define BRANCHLINE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TCX_NEXT -1 /* enum tcx_action_base: the next program, then the stack */

#define ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7) /* enum bpf_adj_room_flags, since 6.3 */
#define ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)

#define HOST_FRAME 0 /* skb->pkt_type: PACKET_HOST of linux/if_packet.h */
#define OTHER_HOST_FRAME 3 /* PACKET_OTHERHOST */

#define CHECKSUM_PARTIAL 3 /* linux/skbuff.h: the device or the kernel completes the checksum on its way out */

/*
 * An argument of a global function that is never NULL (kernel 6.8). The stages are global, not static, functions: the verifier
 * walks each of them once by itself instead of once per path that leads to it.
 */
#define __nonnull __attribute__((btf_decl_tag("arg:nonnull")))

struct sk_buff___kernel {
	unsigned char *head;
	unsigned char *data;
	__u16 network_header;
	__u16 csum_start;  /* from head */
	__u16 csum_offset; /* from csum_start */
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;

/* Bytes in front of the network header: 14, or 0 on a device without link layer. */
static __always_inline __u32 link_length(struct __sk_buff *skb)
{
	struct sk_buff___kernel *kernel = bpf_cast_to_kern_ctx(skb);

	return kernel->network_header - (__u32)((__u64)kernel->data - (__u64)kernel->head);
}

/* The layer 4 checksum is still to be completed, by a device or the kernel. */
static __always_inline bool checksum_pending(struct __sk_buff *skb)
{
	struct sk_buff___kernel *kernel = bpf_cast_to_kern_ctx(skb);

	return BPF_CORE_READ_BITFIELD(kernel, ip_summed) == CHECKSUM_PARTIAL;
}

/* Where a pending checksum begins, in bytes from `data`, and where it will be stored. */
static __always_inline void checksum_place(struct __sk_buff *skb, __u32 *start, __u32 *store)
{
	struct sk_buff___kernel *kernel = bpf_cast_to_kern_ctx(skb);

	*start = kernel->csum_start - (__u32)((__u64)kernel->data - (__u64)kernel->head);
	*store = *start + kernel->csum_offset;
}

/*
 * The packet's start and end as pointers. clang takes the two fields for the 32-bit numbers that they are declared as, and where branches
 * share them hands the verifier a truncated number; each read is therefore one instruction of its own.
 */
static __always_inline void *packet_data(struct __sk_buff *skb)
{
	void *data;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(data) : "r"(skb), "i"(offsetof(struct __sk_buff, data)));
	return data;
}

static __always_inline void *packet_end(struct __sk_buff *skb)
{
	void *end;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(end) : "r"(skb), "i"(offsetof(struct __sk_buff, data_end)));
	return end;
}

/* `length` bytes at `offset` (a constant small sum) of the packet for direct access, pulled into its linear part; NULL: too short. */
static __always_inline void *reach(struct __sk_buff *skb, __u32 offset, __u32 length)
{
	void *data = packet_data(skb);

	if (data + offset + length <= packet_end(skb))
		return data + offset;
	if (bpf_skb_pull_data(skb, offset + length))
		return NULL;
	data = packet_data(skb);
	if (data + offset + length > packet_end(skb))
		return NULL;
	return data + offset;
}

#endif
