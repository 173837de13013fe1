/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Time. A precise read costs 33 ns and a coarse one (a tick, 4 ms) 19: a packet pays for one read, precise only where it is measured. */
#ifndef BRANCHLINE_CLOCK_H
#define BRANCHLINE_CLOCK_H

#include <bpf/bpf_helpers.h>

/* CLOCK_MONOTONIC in ns. Header timestamps and round trips. */
static __always_inline __u64 clock_precise(void)
{
	return bpf_ktime_get_ns();
}

/* CLOCK_MONOTONIC_COARSE in ns. "When was it last seen", rate limits. */
static __always_inline __u64 clock_coarse(void)
{
	return bpf_ktime_get_coarse_ns();
}

/* The header's clock: µs, wraps every 71 minutes; differences are taken modulo 2^32. */
static __always_inline __u32 clock_us(__u64 ns)
{
	return ns / 1000;
}

#endif
