/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The routing table of a VRF: longest prefix match to an index into `nexthops`. Only this file knows the data structure. */
#ifndef BRANCHLINE_FIB_H
#define BRANCHLINE_FIB_H

#include "../maps.h"
#include "journey.h"
#include "parse.h"

/* NULL: no route. `address` is 16 bytes, an IPv4 one mapped. */
static __always_inline __u32 *fib_lookup(__u32 vrf, __u8 family, const __u8 *address)
{
	if (family == FAMILY_IPV4) {
		struct fib4_key key = { .prefixlen = 64, .vrf = bpf_htonl(vrf), .addr = mapped_ipv4(address) };

		return bpf_map_lookup_elem(&fib4, &key);
	} else {
		struct fib6_key key = { .prefixlen = 160, .vrf = bpf_htonl(vrf) };

		__builtin_memcpy(key.addr, address, sizeof(key.addr));
		return bpf_map_lookup_elem(&fib6, &key);
	}
}

#endif
