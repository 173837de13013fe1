/* SPDX-License-Identifier: Apache-2.0 */
/* xoshiro256** 1.0, seeded by SplitMix64 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021): the same seed, the same draws. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct random {
	uint64_t s[4];
};

static inline void random_seed(struct random *random, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15ull;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ z >> 27) * 0x94d049bb133111ebull;
		random->s[i] = z ^ z >> 31;
	}
}

static inline uint64_t random_rotate(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static inline uint64_t random_next(struct random *random)
{
	uint64_t *s = random->s, result = random_rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = random_rotate(s[3], 45);
	return result;
}

/* Uniform in [0, 1). */
static inline double random_unit(struct random *random)
{
	return (random_next(random) >> 11) * 0x1p-53;
}

/* Draws nothing for 0, so that a setting that is off does not shift the draws of the others. */
static inline bool random_chance(struct random *random, double share)
{
	return share > 0 && random_unit(random) < share;
}
