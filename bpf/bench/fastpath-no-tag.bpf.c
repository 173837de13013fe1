// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The fast path without the tag's computation: the difference is what the tag costs in its place. */
#include "../path/tag.h"
#define tag(key, plain, mp, payload) ((void)(key), (void)(plain), (void)(mp), (void)(payload), (__be64)0)
#include "fastpath.bpf.c"
