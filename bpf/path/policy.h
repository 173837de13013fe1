/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which chain a connection goes through: the first rule of its VRF's policy that its first packet matches. Asked once for a connection, so rules are
 * read one after the other; a shadow rule is counted and passed over.
 */
#ifndef BRANCHLINE_POLICY_H
#define BRANCHLINE_POLICY_H

#include "drop.h"

union policy_word {
	__u64 word;
	struct {
		__u32 first;
		__u16 rules, reserved;
	} is;
};

/* What of a policy changes together. */
static __always_inline union policy_word policy_word(const struct policy *policy)
{
	return (union policy_word){ .word = *(const volatile __u64 *)policy };
}

/* NULL: nobody has written rules for the VRF. */
static __always_inline struct policy *policy_of_vrf(__u32 vrf)
{
	struct policy *policy = bpf_map_lookup_elem(&policies, &vrf);

	return policy && policy_word(policy).is.rules ? policy : NULL;
}

struct rule_search {
	const struct flow_key *key;
	__u32 first;
	bool ports;	/* it has some */
	__u16 chain;	/* found: service path id, 0: not steered */
	__u8 flags;	/* RULE_F_* */
};

/* Whether the first `length` bits agree. */
static __always_inline bool prefix_holds(const __u8 *prefix, const __u8 *address, __u32 length)
{
	const __u32 *a = (const __u32 *)prefix, *b = (const __u32 *)address;

#pragma unroll
	for (__u32 i = 0; i < 4; i++) {
		__u32 bits = length > 32 * i ? length - 32 * i : 0;
		/* In 64 bits a shift by 32 leaves nothing. */
		__u32 mask = bits >= 32 ? ~0U : (__u32)(~0ULL << (32 - bits));

		if ((a[i] ^ b[i]) & bpf_htonl(mask))
			return false;
	}
	return true;
}

static __always_inline bool port_within(__be16 port, __u16 from, __u16 to, bool ports)
{
	return ports ? bpf_ntohs(port) >= from && bpf_ntohs(port) <= to : from == 0 && to == 0xffff;
}

/* 1 ends the search. */
static long rule_step(__u32 i, struct rule_search *search)
{
	__u32 index = search->first + i;
	struct policy_rule *rule = bpf_map_lookup_elem(&policy_rules, &index);
	const struct flow_key *key = search->key;
	__u64 *hits;

	/* Applications are not known yet. */
	if (!rule || rule->application || (rule->proto && rule->proto != key->proto))
		return 0;
	if (!port_within(key->sport, rule->sport_from, rule->sport_to, search->ports) ||
	    !port_within(key->dport, rule->dport_from, rule->dport_to, search->ports))
		return 0;
	if (!prefix_holds(rule->src, key->src, rule->src_length) || !prefix_holds(rule->dst, key->dst, rule->dst_length))
		return 0;
	hits = bpf_map_lookup_elem(&rule_hits, &index);
	if (hits)
		*hits += 1;
	if (rule->flags & RULE_F_SHADOW) {
		if (rule->chain)
			count(COUNT_SHADOWED);
		return 0;
	}
	search->chain = rule->chain;
	search->flags = rule->flags;
	return 1;
}

static __always_inline bool has_ports(const struct journey *j)
{
	__u8 proto = j->key.proto;

	return j->fragment == FRAGMENT_NONE && (proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE ||
						proto == IPPROTO_SCTP || proto == IPPROTO_DCCP);
}

/* Service path id | RULE_F_* << 16; 0: not steered. */
__noinline __u32 policy_decide(const struct journey *j __nonnull)
{
	struct policy *policy = policy_of_vrf(VRF_OF(j->key.vrf));
	struct rule_search search = { .key = &j->key, .ports = has_ports(j) };
	union policy_word now;

	if (!policy)
		return 0;
	now = policy_word(policy);
	search.first = now.is.first;
	bpf_loop(now.is.rules, rule_step, &search, 0);
	return search.chain ? search.chain | (__u32)search.flags << 16 : 0;
}

#endif
