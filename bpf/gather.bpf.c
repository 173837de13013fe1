// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * mpg1, tc ingress: TCP segments that clear tunnels delivered and that the kernel's GRO joined on the way from mpg0 to here (path/gather.h).
 *
 *   LAN port, out of the frame's source address -> neighbour -> host
 */
#include "maps.h"
#include "path/drop.h"
#include "path/gather.h"

static __always_inline int disperse(struct __sk_buff *skb)
{
	__u32 port = gathered_port(skb);

	return port ? bpf_redirect_neigh(port, NULL, 0, 0) : DROP(DROP_NOT_OURS);
}

SEC("tc")
int gather_ingress(struct __sk_buff *skb)
{
	return finish(skb, disperse(skb), 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
