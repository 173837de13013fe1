/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The sending half of path/fec.h, first part: which number and code a packet gets.
 *
 * A lane's block is one CPU's, and no program interrupts another here, so nothing is locked. CPUs above the last lane do not protect.
 * k and depth change between blocks: the first packet that wants protection begins one at the next number that is a border.
 */
#ifndef BRANCHLINE_FEC_NUMBER_H
#define BRANCHLINE_FEC_NUMBER_H

#include "fec.h"
#include "session.h"

static __always_inline struct fec_block *fec_block_of(__u32 sid, __u32 lane)
{
	__u32 index = (lane & (MP_LANES - 1)) * FEC_SLOTS + (HANDLE_PLACE(sid) / 2 & (FEC_SLOTS - 1));

	return bpf_map_lookup_elem(&fec_blocks, &index);
}

/* Packets that the encoder has room for. */
static __always_inline bool fec_wanted(__u32 code)
{
	return fec_k(code) && 1U << fec_depth_shift(code) <= FEC_COLUMNS;
}

/* First number of a block of `code` at `number` or behind it; numbers begin at 1. 0: there is none before they begin anew. */
static __always_inline __u32 fec_border(__u32 number, __u32 code)
{
	__u32 size = fec_block_size(code);
	__u32 border = size ? (number - 1 + size - 1) / size * size + 1 : 0;

	return border + size - 1 <= FEC_NUMBER_MASK ? border : 0;
}

/* Takes the counter's next number; 0, which means none, is never one. Other CPUs may share the lane. */
static __always_inline __u32 lane_next(struct lane *counter, __u32 more)
{
	__u32 number = (__sync_fetch_and_add(&counter->tx_sequence, more) + more) & FEC_NUMBER_MASK;

	return number ? number : (__sync_fetch_and_add(&counter->tx_sequence, 1) + 1) & FEC_NUMBER_MASK;
}

/* Begins a block at the next border; the number of its first packet, which is `number` if that is one. 0: another CPU came between. */
static __always_inline __u32 fec_begin(struct fec_block *block, struct lane *counter, __u32 sid, __u32 number, __u32 code)
{
	__u32 border = fec_border(number, code);

	if (!border || (border != number && lane_next(counter, border - number) != border))
		return 0;
	block->sid = sid;
	block->first = border;
	block->code = code;
#pragma unroll
	for (int i = 0; i < FEC_COLUMNS; i++)
		fec_clear(&block->columns[i]);
	return border;
}

/* Sequence and code for the session's next packet of a lane, into `mp`. One that wants no protection joins a block that is open. */
static __always_inline void fec_number(struct mp_hdr *mp, struct lane *counter, __u32 sid, __u32 lane, __u32 wanted)
{
	struct fec_block *block = fec_block_of(sid, lane);
	__u32 number = lane_next(counter, 1), first;

	mp->fec = 0;
	if (block && block->sid == sid && block->code && block->next == number && number - block->first < fec_block_size(block->code)) {
		mp->fec = block->code;
		block->next = number + 1;
	} else if (block && fec_wanted(wanted)) {
		first = fec_begin(block, counter, sid, number, wanted);
		if (first) {
			mp->fec = wanted;
			number = first;
			block->next = number + 1;
		}
	}
	mp->sequence = bpf_htonl(lane << MP_LANE_SHIFT | number);
}

/*
 * For a packet of a class that wants the protection mp->fec: its sequence, and the code that it gets. Sessions of one path have no lanes. In a frame of
 * its own, so that the registers it needs are not spilled by what sends without protection.
 */
__noinline int fec_protect(struct mp_hdr *mp __nonnull, __u32 sid)
{
	__u32 wanted = mp->fec, lane = bpf_get_smp_processor_id();
	struct bundle *bundle;

	mp->fec = 0;
	if (lane >= MP_LANES)
		return 0;
	bundle = bundle_of(sid);
	if (bundle)
		fec_number(mp, &bundle->lanes[lane & (MP_LANES - 1)], sid, lane, wanted);
	return 0;
}

#endif
