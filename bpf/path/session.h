/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Sessions, paths, peers and ports by name: array places, with the entry's own name compared. NULL: there is none of that name. */
#ifndef BRANCHLINE_SESSION_H
#define BRANCHLINE_SESSION_H

#include "../maps.h"
#include "kernel.h"

#define HANDLE_SID(handle) ((handle) & ~(MP_PATHS - 1))
#define HANDLE_PATH(handle) ((handle) & (MP_PATHS - 1))
#define HANDLE_PLACE(handle) ((((handle) / MP_PATHS) & (MAX_PATHS - 1)) + HANDLE_PATH(handle))

/* The session with exactly this id. No session is called 0: that is an empty place. */
static __always_inline struct session *session_by_id(__u32 sid)
{
	__u32 place = HANDLE_PLACE(sid);
	struct session *session = bpf_map_lookup_elem(&sessions, &place);

	return session && sid && session->sid == sid ? session : NULL;
}

/* The session of a path. */
static __always_inline struct session *session_of(__u32 handle)
{
	return session_by_id(HANDLE_SID(handle));
}

static __always_inline struct path_conf *path_conf_of(__u32 handle)
{
	__u32 place = HANDLE_PLACE(handle);
	struct path_conf *conf = bpf_map_lookup_elem(&path_conf, &place);

	return conf && handle && conf->handle == handle ? conf : NULL;
}

static __always_inline struct path_state *path_state_of(__u32 handle)
{
	__u32 place = HANDLE_PLACE(handle);
	struct path_state *state = bpf_map_lookup_elem(&path_state, &place);

	return state && handle && state->handle == handle ? state : NULL;
}

/* NULL: a session of one path has none. */
static __always_inline struct bundle *bundle_of(__u32 sid)
{
	__u32 place = HANDLE_PLACE(sid) / 2;
	struct bundle *bundle = bpf_map_lookup_elem(&bundles, &place);

	return bundle && sid && bundle->sid == sid ? bundle : NULL;
}

static __always_inline struct peer *peer_of(__u32 index)
{
	struct peer *peer = bpf_map_lookup_elem(&peers, &index);

	return peer && peer->sid ? peer : NULL;
}

static __always_inline struct port *port_of(__u32 ifindex)
{
#pragma unroll
	for (int i = 0; i < PORT_PROBES; i++) {
		__u32 place = (ifindex & (MAX_PORTS - 1)) + i;
		struct port *port = bpf_map_lookup_elem(&ports, &place);

		if (port && port->ifindex == ifindex)
			return port;
	}
	return NULL;
}

static __always_inline struct node_config *node_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&node, &zero);
}

#endif
