// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The product's FIB beside BPF_MAP_TYPE_LPM_TRIE, look-up by look-up, and answers to whatever address is asked: what the property tests compare
 * with their own longest prefix match.
 *
 * Addresses come from `questions`, filled by the test or the benchmark; a run takes the next LOOKUPS from a random place on. Pipelined: a
 * question does not wait for the last answer. Dependent: its place does.
 */
#include "bench.h"
#include "../path/fib.h"

#define QUESTIONS (1 << 20)
#define LOOKUPS 64
#define ANSWERS 4096 /* of one run of `ask` */

struct question {
	__u32 vrf;
	__u32 family;
	__u64 high;
	__u64 low;
	__u32 answer;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, QUESTIONS);
	__type(key, __u32);
	__type(value, struct question);
} questions SEC(".maps");

struct lpm_key {
	__u32 prefixlen;
	__be32 vrf;
	__be32 words[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 21);
	__type(key, struct { __u32 prefixlen; __be32 vrf; __be32 address; });
	__type(value, __u32);
} lpm4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 21);
	__type(key, struct lpm_key);
	__type(value, __u32);
} lpm6 SEC(".maps");

/* A function of its own, as fib_find4 is. */
__noinline __u32 lpm_find(__u32 vrf, __u32 family, __u64 high, __u64 low)
{
	struct lpm_key key = {
		.prefixlen = 160, .vrf = bpf_htonl(vrf),
		.words = { bpf_htonl(high >> 32), bpf_htonl(high), bpf_htonl(low >> 32), bpf_htonl(low) },
	};
	__u32 *answer;

	if (family == FAMILY_IPV4) {
		key.prefixlen = 64;
		answer = bpf_map_lookup_elem(&lpm4, &key);
	} else {
		answer = bpf_map_lookup_elem(&lpm6, &key);
	}
	return answer ? *answer : 0;
}

static __always_inline __u32 lpm(const struct question *q)
{
	return lpm_find(q->vrf, q->family, q->high, q->low);
}

static __always_inline __u32 ours(const struct question *q)
{
	return q->family == FAMILY_IPV4 ? fib_find4(q->vrf, q->high >> 32) : fib_find6(q->vrf, q->high, q->low);
}

/* For more questions in a row than the verifier follows branches. */
__noinline __u32 find(__u32 vrf, __u32 family, __u64 high, __u64 low)
{
	return family == FAMILY_IPV4 ? fib_find4(vrf, high >> 32) : fib_find6(vrf, high, low);
}

static __always_inline __u32 ours_apart(const struct question *q)
{
	return find(q->vrf, q->family, q->high, q->low);
}

static __always_inline __u32 nothing(const struct question *q)
{
	return q->high >> 63;
}

/* Questions lie in random order already: taking them in turn spares both sides the cache miss of a question. */
#define LOOK_UP(name, lookup, dependent)                                                                                                   \
	SEC("tc")                                                                                                                          \
	int name(struct __sk_buff *skb __unused)                                                                                           \
	{                                                                                                                                  \
		struct cursor *c = cursor_here();                                                                                          \
		__u32 sum = 0, place, answer = 0;                                                                                          \
                                                                                                                                           \
		if (!c)                                                                                                                    \
			return TC_ACT_SHOT;                                                                                                \
		place = c->state;                                                                                                          \
		for (int i = 0; i < LOOKUPS; i++) {                                                                                        \
			__u32 index = (place + i + ((dependent) ? answer >> 31 : 0)) & (QUESTIONS - 1);                                    \
			struct question *q = bpf_map_lookup_elem(&questions, &index);                                                      \
                                                                                                                                           \
			if (!q)                                                                                                            \
				return TC_ACT_SHOT;                                                                                        \
			answer = lookup(q);                                                                                                \
			sum += answer;                                                                                                     \
		}                                                                                                                          \
		c->state = place + LOOKUPS;                                                                                                \
		c->result = sum;                                                                                                           \
		return TC_ACT_OK;                                                                                                          \
	}

LOOK_UP(fib_pipelined, ours, 0)
LOOK_UP(fib_dependent, ours, 1)
LOOK_UP(lpm_pipelined, lpm, 0)
LOOK_UP(lpm_dependent, lpm, 1)
LOOK_UP(none_pipelined, nothing, 0)
LOOK_UP(none_dependent, nothing, 1)

/* Answers ANSWERS questions, from the one on that the packet's first four bytes name. */
#define ASK(name, lookup)                                                                                                                  \
	SEC("tc")                                                                                                                          \
	int name(struct __sk_buff *skb)                                                                                                    \
	{                                                                                                                                  \
		__u32 first;                                                                                                               \
                                                                                                                                           \
		if (bpf_skb_load_bytes(skb, 0, &first, sizeof(first)))                                                                     \
			return TC_ACT_SHOT;                                                                                                \
		for (__u32 i = 0; i < ANSWERS; i++) {                                                                                      \
			__u32 index = first + i;                                                                                           \
			struct question *q = bpf_map_lookup_elem(&questions, &index);                                                      \
                                                                                                                                           \
			if (!q)                                                                                                            \
				return TC_ACT_OK;                                                                                          \
			q->answer = lookup(q);                                                                                             \
		}                                                                                                                          \
		return TC_ACT_OK;                                                                                                          \
	}

ASK(ask, ours_apart)
ASK(ask_lpm, lpm)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
