// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What protection by parity costs a packet, by the product's own fec-number.h, fec-out.h and fec-decode.h: both ends, each beside a program that
 * does the same without. Packets are Ethernet, 28 bytes of outer headers, an MP header, and a payload. Sending includes the making of the parity, one for
 * K packets, but not the copy (bpf_clone_redirect) that carries the group's last packet; receiving includes the parity that comes with them.
 */
#include "bench.h"
#include "../path/fec-decode.h"
#include "../path/fec-out.h"

#define K 10
#define SID 0x100
#define AT (L3 + sizeof(struct outer4))

struct lane_state {
	struct lane lane;
	struct path_state state;
	__u64 last;	/* so that the compiler keeps what the programs without read */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lane_state);
} lanes SEC(".maps");

static __always_inline struct lane_state *lane_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&lanes, &zero);
}

SEC("tc")
int send_without(struct __sk_buff *skb)
{
	struct lane_state *here = lane_here();
	struct mp_hdr mp = {};

	if (!here)
		return TC_ACT_SHOT;
	mp.sequence = bpf_htonl(lane_next(&here->lane, 1));
	return bpf_skb_store_bytes(skb, AT, &mp, sizeof(mp), 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

/* What fec_add_out() does, but for the copy; what it sends is a header and a sum as well. */
SEC("tc")
int send(struct __sk_buff *skb)
{
	struct lane_state *here = lane_here();
	struct fec_block *block = fec_block_of(SID, 0);
	struct mp_hdr mp = {};
	struct fec_sum *sum;
	__u32 at;

	if (!here || !block)
		return TC_ACT_SHOT;
	fec_number(&mp, &here->lane, SID, 0, K);
	if (bpf_skb_store_bytes(skb, AT, &mp, sizeof(mp), 0))
		return TC_ACT_SHOT;
	at = (bpf_ntohl(mp.sequence) & FEC_NUMBER_MASK) - block->first;
	sum = &block->columns[0];
	if (fec_fold(skb, sum, AT + MP_HDR_LEN))
		return TC_ACT_SHOT;
	sum->timestamp_us ^= mp.timestamp_us;
	sum->length_qos ^= (skb->len - AT - MP_HDR_LEN) << 8 | mp.qos;
	if (at == K - 1) {
		__u32 longest = sum->longest;

		asm volatile("" : "+r"(longest));
		if (!longest || longest > FEC_BYTES || bpf_skb_store_bytes(skb, AT + MP_HDR_LEN, sum->words, longest, 0) ||
		    bpf_skb_store_bytes(skb, AT, &mp, sizeof(mp), 0))
			return TC_ACT_SHOT;
	}
	return TC_ACT_OK;
}

/* An arrival of the lane's next packet. */
static __always_inline void arrive(struct __sk_buff *skb, struct arrival *a, __u32 number, __u8 type)
{
	a->mp.version_type = MP_VERSION << 4 | type;
	a->mp.sequence = bpf_htonl(number);
	a->mp.fec = type == MP_PARITY ? MP_FEC_PARITY | K : K;
	a->handle = SID;
	a->offset = AT;
	a->length = skb->len - AT;
}

SEC("tc")
int receive_without(struct __sk_buff *skb)
{
	struct lane_state *here = lane_here();
	struct arrival a = {};

	if (!here)
		return TC_ACT_SHOT;
	arrive(skb, &a, lane_next(&here->lane, 1), MP_DATA);
	here->last = *(__u64 *)&a.mp ^ a.offset ^ a.length ^ a.handle ^ a.mp.sequence;
	return TC_ACT_OK;
}

SEC("tc")
int receive(struct __sk_buff *skb)
{
	struct lane_state *here = lane_here();
	struct arrival a = {};
	__u32 number;

	if (!here)
		return TC_ACT_SHOT;
	number = lane_next(&here->lane, 1);
	arrive(skb, &a, number, MP_DATA);
	if (fec_in(skb, &a, &here->state) != GO_ON)
		return TC_ACT_SHOT;
	if (number % K == 0) {
		arrive(skb, &a, number, MP_PARITY);
		if (fec_in(skb, &a, &here->state) != TC_ACT_SHOT)
			return TC_ACT_SHOT;
	}
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
