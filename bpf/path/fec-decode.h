/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The receiving half of path/fec.h. No packet waits: each is added to its group's sum and goes on.
 *
 *   packet -> group -> add -+- k of k + 1 are there, and a member is missing: the sum is that member
 *                           |    +- this is the parity: it becomes the member
 *                           |    +- this is a member: a copy of it comes again (owed), and becomes the one that is missing
 *                           +- else: a member goes on, parity has done its duty
 *
 * A group's place is found by its name. Whoever finds another's there takes it over, unless that is a later one of the same lane: then nobody can be rebuilt any more, but
 * nothing wrong comes of it, since `seen` tells exactly what the sum holds.
 */
#ifndef BRANCHLINE_FEC_DECODE_H
#define BRANCHLINE_FEC_DECODE_H

#include "decap.h"
#include "fec.h"

/* Another CPU adds 1500 bytes in 100 ns; a try takes about 10. */
#define FEC_CLAIM_TRIES 64

#define FEC_COPY_MARK(handle) (~(handle)) /* skb->mark of an owed copy: no handle, all of which end in a path id of a session */

static __always_inline bool fec_is_parity(const struct arrival *a)
{
	return (a->mp.version_type & 0xf) == MP_PARITY;
}

/* Members that the two header fields can name, and a place at which a parity may stand. Anything else is not protected. */
static __always_inline bool fec_valid(const struct mp_hdr *mp, const struct fec_place *place)
{
	__u32 k = fec_k(mp->fec);

	if (!k || !(bpf_ntohl(mp->sequence) & FEC_NUMBER_MASK))
		return false;
	return !(mp->fec & MP_FEC_PARITY) || place->row == k - 1;
}

static __always_inline struct fec_group *fec_group_at(__u32 sid, __u32 sequence, __u32 code, const struct fec_place *place)
{
	__u32 hash = (sid + (sequence >> MP_LANE_SHIFT)) * 0x9e3779b1;
	__u32 index = ((hash >> 16) + (place->block << fec_depth_shift(code)) + place->column) & (FEC_GROUPS - 1);

	return bpf_map_lookup_elem(&fec_groups, &index);
}

static __always_inline bool fec_claim(struct fec_group *group)
{
	for (int i = 0; i < FEC_CLAIM_TRIES; i++)
		if (!__sync_val_compare_and_swap(&group->claimed, 0, 1))
			return true;
	return false;
}

static __always_inline void fec_release(struct fec_group *group)
{
	__sync_lock_test_and_set(&group->claimed, 0);
}

/* Whether the group, claimed, is the named one, if need be from now on. */
static __always_inline bool fec_open(struct fec_group *group, __u32 sid, __u32 sequence, __u32 code)
{
	if (group->sid == sid && group->sequence == sequence && group->code == code)
		return true;
	/* A late packet of a group that has gone. The sign of a difference of 29-bit numbers. */
	if (group->sid == sid && group->sequence >> MP_LANE_SHIFT == sequence >> MP_LANE_SHIFT &&
	    (__s32)((sequence - group->sequence) << (32 - MP_LANE_SHIFT)) < 0)
		return false;
	group->sid = sid;
	group->sequence = sequence;
	group->code = code;
	group->seen = 0;
	group->owed = 0;
	fec_clear(&group->sum);
	return true;
}

/* Adds what the header holds of a member, or of all of them. */
static __always_inline void fec_fold_header(struct fec_sum *sum, const struct arrival *a)
{
	sum->timestamp_us ^= a->mp.timestamp_us;
	if (fec_is_parity(a))
		sum->length_qos ^= bpf_ntohl(a->mp.policy_version);
	else
		sum->length_qos ^= (a->length - MP_HDR_LEN) << 8 | a->mp.qos;
}

static __always_inline __u32 fec_row(__u32 bit)
{
	return (bit & 0xffff0000 ? 16 : 0) + (bit & 0xff00ff00 ? 8 : 0) + (bit & 0xf0f0f0f0 ? 4 : 0) + (bit & 0xcccccccc ? 2 : 0) +
	       (bit & 0xaaaaaaaa ? 1 : 0);
}

/* Bits of the members that are missing. */
static __always_inline __u32 fec_absent(__u32 seen, __u32 k)
{
	__u32 all = (k < 31 ? 1U << k : 1U << 31) - 1;

	return all & ~seen;
}

/* Bit of the only member that is missing while all else is there; 0: none. */
static __always_inline __u32 fec_missing(__u32 seen, __u32 k)
{
	__u32 missing = fec_absent(seen, k);

	return seen & FEC_PARITY_SEEN && !(missing & (missing - 1)) ? missing : 0;
}

/* Puts the sum in the place of the packet's payload, and what is known of the member into `a`. The group is claimed. */
static __noinline int fec_become(struct __sk_buff *skb, struct arrival *a, struct fec_group *group, __u32 row)
{
	__u32 length = group->sum.length_qos >> 8;

	if (length < sizeof(struct iphdr) || length > group->sum.longest)
		return DROP(DROP_FEC_LENGTH);
	/* The verifier does not know what `longest` can be, and clang would drop what it thinks it does. */
	asm volatile("" : "+r"(length));
	if (length > FEC_BYTES)
		return DROP(DROP_FEC_LENGTH);
	if (bpf_skb_change_tail(skb, a->offset + MP_HDR_LEN + length, 0) ||
	    bpf_skb_store_bytes(skb, a->offset + MP_HDR_LEN, group->sum.words, length, 0))
		return DROP(DROP_REWRITE);
	a->mp.version_type = MP_VERSION << 4 | MP_DATA;
	a->mp.fec = group->code;
	a->mp.qos = group->sum.length_qos & ~MP_F_ASK;
	a->mp.timestamp_us = group->sum.timestamp_us;
	a->mp.sequence = bpf_htonl(group->sequence + (row << fec_depth_shift(group->code)));
	a->payload[0] = group->sum.words[0];
	a->payload[1] = group->sum.words[1];
	a->length = MP_HDR_LEN + length;
	a->marked = 0;
	a->rebuilt = 1;
	count(COUNT_REBUILT);
	return GO_ON;
}

/* Adds the packet to its group, which is claimed. GO_ON: it is somebody's. */
static __always_inline int fec_add(struct __sk_buff *skb, struct arrival *a, struct path_state *state, struct fec_group *group, __u32 row)
{
	__u32 bit = fec_is_parity(a) ? FEC_PARITY_SEEN : 1U << (row & 31);
	__u32 missing;

	if (group->seen & bit) {
		/* It was rebuilt, or is a copy. */
		__sync_fetch_and_add(&state->rx_late, 1);
		if (!fec_is_parity(a))
			count(COUNT_REBUILT_LATE);
		return TC_ACT_SHOT;
	}
	if (!fec_absent(group->seen | bit, fec_k(group->code))) {
		/* The last member, or parity behind it, as nearly always: nobody will ask for the sum. */
		group->seen |= bit;
		return fec_is_parity(a) ? TC_ACT_SHOT : GO_ON;
	}
	if (fec_fold(skb, &group->sum, a->offset + MP_HDR_LEN))
		return fec_is_parity(a) ? TC_ACT_SHOT : GO_ON;
	fec_fold_header(&group->sum, a);
	group->seen |= bit;
	missing = fec_missing(group->seen, fec_k(group->code));
	if (!missing)
		return fec_is_parity(a) ? TC_ACT_SHOT : GO_ON;
	group->seen |= missing;
	if (fec_is_parity(a))
		return fec_become(skb, a, group, fec_row(missing));
	group->owed = missing;
	return GO_ON;
}

/* A member goes on; a copy of it, as it came off the wire, will be what is missing. */
static __always_inline void fec_copy(struct __sk_buff *skb, const struct arrival *a)
{
	skb->mark = FEC_COPY_MARK(a->handle);
	bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
	skb->mark = 0;
}

/*
 * A packet of a sequence that is protected, or parity. GO_ON: `a` is a DATA packet that goes on, the one that came or one that was lost. SHOT: not needed,
 * or not yet.
 */
__noinline int fec_in(struct __sk_buff *skb, struct arrival *a __nonnull, struct path_state *state __nonnull)
{
	__u32 sequence = bpf_ntohl(a->mp.sequence), code = a->mp.fec & ~MP_FEC_PARITY, owed;
	struct fec_place place = fec_place_of(sequence & FEC_NUMBER_MASK, code);
	__u32 end = a->offset + a->length;
	struct fec_group *group;
	int result;

	if (fec_is_parity(a)) {
		count(COUNT_PARITY_IN);
		if (!(a->mp.fec & MP_FEC_PARITY) || !fec_valid(&a->mp, &place))
			return DROP(DROP_FEC_PARITY);
	} else if (a->mp.fec & MP_FEC_PARITY || !fec_valid(&a->mp, &place)) {
		return GO_ON;
	}
	/* Padding would be added too. */
	if (skb->len > end && bpf_skb_change_tail(skb, end, 0))
		return DROP(DROP_REWRITE);
	sequence -= place.row << fec_depth_shift(code);
	group = fec_group_at(HANDLE_SID(a->handle), sequence, code, &place);
	if (!group || !fec_claim(group))
		return fec_is_parity(a) ? TC_ACT_SHOT : GO_ON;
	result = fec_is_parity(a) ? TC_ACT_SHOT : GO_ON;
	owed = 0;
	if (fec_open(group, HANDLE_SID(a->handle), sequence, code)) {
		result = fec_add(skb, a, state, group, place.row);
		owed = group->owed;
	}
	fec_release(group);
	if (result == GO_ON && owed)
		fec_copy(skb, a);
	return result;
}

static __always_inline bool is_fec_copy(struct __sk_buff *skb, const struct arrival *a)
{
	return skb->mark && skb->mark == FEC_COPY_MARK(a->handle) && a->mp.fec;
}

/* The copy that fec_in made: its tag holds, its number came before. GO_ON: now it is the member that was owed. */
__noinline int fec_owed(struct __sk_buff *skb, struct arrival *a __nonnull)
{
	__u32 sequence = bpf_ntohl(a->mp.sequence), code = a->mp.fec;
	struct fec_place place = fec_place_of(sequence & FEC_NUMBER_MASK, code);
	struct fec_group *group;
	int result = DROP(DROP_MP_REPLAY);

	skb->mark = 0;
	sequence -= place.row << fec_depth_shift(code);
	group = fec_group_at(HANDLE_SID(a->handle), sequence, code, &place);
	if (!group || !fec_claim(group))
		return result;
	if (group->sid == HANDLE_SID(a->handle) && group->sequence == sequence && group->code == code && group->owed) {
		__u32 owed = group->owed;

		group->owed = 0;
		result = fec_become(skb, a, group, fec_row(owed));
	}
	fec_release(group);
	return result;
}

#endif
