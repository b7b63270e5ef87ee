/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * User namespaces: their maps, and which of them user space has been told.
 */
#ifndef EYAS_USERNS_H
#define EYAS_USERNS_H

#define MIX(sum, v) ((sum) = ((sum) ^ (__u64)(v)) * 0x100000001b3ULL)

/* One step for an extent, because the digest is made at every fork and exec. The
 * fields are multiplied, not shifted together: of that the compiler makes one
 * load of two fields, which verifiers before 6.2 refuse. */
#define MIX_EXTENT(sum, map, i)                                                    \
	MIX(sum, (map)->extent[i].first +                                          \
		     (__u64)(map)->extent[i].lower_first * 0x9e3779b97f4a7c15ULL + \
		     (__u64)(map)->extent[i].count * 0xc2b2ae3d27d4eb4fULL)

/* Digest of both maps; changes when they are written. Beyond 5 extents the
 * union holds pointers, and those are what is digested. */
static __always_inline __u64 map_sum(struct user_namespace *ns)
{
	__u64 sum = 0xcbf29ce484222325ULL;

	MIX(sum, ns->uid_map.nr_extents);
	MIX(sum, ns->gid_map.nr_extents);
	MIX_EXTENT(sum, &ns->uid_map, 0);
	MIX_EXTENT(sum, &ns->uid_map, 1);
	MIX_EXTENT(sum, &ns->uid_map, 2);
	MIX_EXTENT(sum, &ns->uid_map, 3);
	MIX_EXTENT(sum, &ns->uid_map, 4);
	MIX_EXTENT(sum, &ns->gid_map, 0);
	MIX_EXTENT(sum, &ns->gid_map, 1);
	MIX_EXTENT(sum, &ns->gid_map, 2);
	MIX_EXTENT(sum, &ns->gid_map, 3);
	MIX_EXTENT(sum, &ns->gid_map, 4);
	return sum;
}

struct extents_loop {
	__u64 from; /* kernel address of the sorted array */
	__u32 base; /* where in eyas_userns.extent it goes */
	__u32 program;
	__u32 failed;
};

static long copy_extent(__u32 i, void *data)
{
	struct extents_loop *l = data;
	struct scratch *s;
	__u32 program = l->program, at = l->base + i;
	struct uid_gid_extent *e;
	__u64 from = l->from + (__u64)i * sizeof(*e);

	s = bpf_map_lookup_elem(&scratches, &program);
	if (!s || at >= 2 * EYAS_MAX_EXTENTS)
		return 1;
	if (extents_mode == EXTENTS_CAST) {
		e = bpf_rdonly_cast((void *)from, bpf_core_type_id_kernel(struct uid_gid_extent));
		s->userns.extent[at].first = e->first;
		s->userns.extent[at].lower = e->lower_first;
		s->userns.extent[at].count = e->count;
	} else if (extents_mode == EXTENTS_PROBE) {
		struct eyas_extent copy;
		if (bpf_probe_read_kernel(&copy, sizeof(copy), (void *)from)) {
			l->failed = 1;
			return 1;
		}
		s->userns.extent[at] = copy;
	}
	return 0;
}

#define COPY_EXTENT(out, map, i)                               \
	do {                                                   \
		(out)[i].first = (map)->extent[i].first;       \
		(out)[i].lower = (map)->extent[i].lower_first; \
		(out)[i].count = (map)->extent[i].count;       \
	} while (0)

/* Copies one map to extent[base...] and returns how many there are now. */
static __always_inline __u32 copy_map(struct eyas_userns *out, struct uid_gid_map *map, __u32 base,
				      __u32 program, __u16 *flags)
{
	__u32 nr = map->nr_extents;
	struct eyas_extent *e;

	if (base > EYAS_MAX_EXTENTS)
		return 0;
	e = &out->extent[base];
	if (nr <= 5) {
		/* All five, whatever nr is: a branch each would double the
		 * verifier's paths each time. */
		COPY_EXTENT(e, map, 0);
		COPY_EXTENT(e, map, 1);
		COPY_EXTENT(e, map, 2);
		COPY_EXTENT(e, map, 3);
		COPY_EXTENT(e, map, 4);
		return nr;
	}
	if (nr > EYAS_MAX_EXTENTS || extents_mode == EXTENTS_INLINE) {
		*flags |= EYAS_FLAG_PARTIAL;
		return 0;
	}
	/* The pointer to the sorted array, by its halves: verifiers before 6.2
	 * know only the union's first member. OPAQUE keeps the loads apart. */
	__u32 low = map->extent[0].first, high = map->extent[0].lower_first;
	struct extents_loop l = {};

	OPAQUE(low);
	l.from = low | (__u64)high << 32;
	l.base = base;
	l.program = program;
	bpf_loop(nr, copy_extent, &l, 0);
	if (l.failed) {
		*flags |= EYAS_FLAG_PARTIAL;
		return 0;
	}
	return nr;
}

/* Builds a user namespace's record in the scratch; returns its size. */
static __always_inline __u32 fill_userns(struct scratch *s, struct user_namespace *ns, __u64 sum,
					 __u32 program)
{
	struct eyas_userns *u = &s->userns;
	__u32 nr_uid, nr_gid, size;
	__u16 flags = 0;

	nr_uid = copy_map(u, &ns->uid_map, 0, program, &flags);
	if (nr_uid > EYAS_MAX_EXTENTS)
		nr_uid = 0;
	nr_gid = copy_map(u, &ns->gid_map, nr_uid, program, &flags);
	if (nr_gid > EYAS_MAX_EXTENTS)
		nr_gid = 0;
	size =
	    offsetof(struct eyas_userns, extent) + (nr_uid + nr_gid) * sizeof(struct eyas_extent);
	header(&u->h, EYAS_KIND_USERNS, size);
	u->h.flags = flags;
	u->id = ns_id(&ns->ns);
	u->map_sum = sum;
	u->inum = ns->ns.inum;
	u->level = ns->level;
	u->parent = ns->level > 0 ? ns->parent->ns.inum : 0;
	u->owner_uid = ns->owner.val;
	u->owner_gid = ns->group.val;
	u->nr_uid = nr_uid;
	u->nr_gid = nr_gid;
	u->pad = 0;
	return size;
}

/* How many user namespaces one event tells of. Each tells of itself with its
 * own first process; user space asks for what is still missing. More makes the
 * verifier walk hundreds of thousands of instructions. */
#define TELL_LEVELS 3

/* Tells user space of the innermost user namespaces that it does not know in
 * their present form, from the inside out. A map can only be written when the
 * parent's is, and only once: above a known one all are known. Returns the
 * digest of the innermost one's maps. */
static __noinline __u64 tell_userns(struct scratch *s, struct user_namespace *ns, __u32 program)
{
	__u64 innermost = 0;

	for (int i = 0; i < TELL_LEVELS; i++) {
		struct ns_key key = {};
		__u64 sum, *known;
		__u32 size;

		if (ns->level <= 0)
			return innermost;
		key.id = ns_id(&ns->ns);
		key.inum = ns->ns.inum;
		sum = map_sum(ns);
		if (i == 0)
			innermost = sum;
		known = bpf_map_lookup_elem(&told, &key);
		if (known && *known == sum)
			return innermost;
		size = fill_userns(s, ns, sum, program);
		if (size > sizeof(struct eyas_userns))
			return innermost;
		emit(program, &s->userns, size);
		bpf_map_update_elem(&told, &key, &sum, BPF_ANY);
		ns = ns->parent;
	}
	return innermost;
}

#endif
