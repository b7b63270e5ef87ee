/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Which files are a container's streams: noted when its first process begins its
 * program.
 */
#ifndef EYAS_LOGWATCH_H
#define EYAS_LOGWATCH_H

/* A pid namespace is read by helpers, not by the types that the verifier follows: the
 * innermost of 33, and a walk outwards from it, would be too many paths for it. */
static __always_inline struct pid_namespace *innermost(struct pid *pid)
{
	struct pid_namespace *ns = NULL;
	__u64 at = bpf_core_field_offset(struct pid, numbers);
	__u32 level = pid->level;

	if (level >= EYAS_PID_LEVELS)
		return NULL;
	at += level * bpf_core_type_size(struct upid) + bpf_core_field_offset(struct upid, ns);
	bpf_probe_read_kernel(&ns, sizeof(ns), (char *)pid + at);
	return ns;
}

static __always_inline struct pid_namespace *outwards(struct pid_namespace *ns)
{
	struct pid_namespace___parent *n = (void *)ns;

	return BPF_CORE_READ(n, parent);
}

static __always_inline void box_of(struct pid_namespace *ns, struct eyas_log_box *box)
{
	box->pidns = BPF_CORE_READ(ns, ns.inum);
	/* The leader's: see pidns_start in who.h. */
	box->start = BPF_CORE_READ(ns, child_reaper, group_leader, start_boottime);
}

/* A walk from a pid namespace outwards, to the last but the host's. */
struct walk {
	struct pid_namespace *ns;
	__u32 want; /* of the next one */
	__u32 found; /* what is said of the nearest one that anything is said of */
};

static long selects(__u32 i, void *data)
{
	struct walk *w = data;
	struct pid_namespace *ns = w->ns;
	struct eyas_log_box box = {};
	__u32 *flags;

	if (BPF_CORE_READ(ns, level) == 0)
		return 1;
	box_of(ns, &box);
	flags = bpf_map_lookup_elem(&log_selected, &box);
	if (flags && *flags & (w->want | EYAS_LOG_NONE)) {
		w->found = *flags;
		return 1;
	}
	w->want = EYAS_LOG_INSIDE;
	w->ns = outwards(ns);
	return 0;
}

/* What is to be told of the container with this pid namespace, 0: nothing. What is said
 * of it, or of one around it, comes before what is said of all. */
static __always_inline __u32 selected(struct pid_namespace *ns)
{
	struct walk w = {.ns = ns, .want = EYAS_LOG_SELF};

	bpf_loop(EYAS_PID_LEVELS, selects, &w, 0);
	if (w.found)
		return w.found & EYAS_LOG_NONE ? 0 : w.found;
	if (everything & (BPF_CORE_READ(ns, level) > 1 ? EYAS_LOG_INSIDE : EYAS_LOG_SELF))
		return everything;
	return 0;
}

/* Notes a descriptor of a container's first process, if it is a stream. */
static __always_inline void note(struct fdtable *fdt, __u32 fd, struct eyas_log_key *key,
				 __u32 program)
{
	struct eyas_log_stream row = {.fd = fd};
	struct inode___stream *inode;
	struct file *file;
	__u32 one = 1, major;
	__u16 mode;

	if (fdt->max_fds <= fd)
		return;
	/* An array of pointers is no type that the verifier follows. */
	if (bpf_probe_read_kernel(&file, sizeof(file), &fdt->fd[fd]) || !file)
		return;
	inode = (void *)BPF_CORE_READ(file, f_inode);
	mode = BPF_CORE_READ(inode, i_mode) & S_IFMT;
	if (mode == S_IFCHR) {
		major = BPF_CORE_READ(inode, i_rdev) >> 20;
		if (major < UNIX98_PTY_SLAVE_MAJOR ||
		    major >= UNIX98_PTY_SLAVE_MAJOR + UNIX98_PTY_MAJOR_COUNT)
			return;
	} else if (mode != S_IFIFO && mode != S_IFSOCK) {
		return;
	}
	key->file.inode = BPF_CORE_READ(inode, i_ino);
	key->file.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	/* First the row, so that a file without one is not looked for. */
	if (bpf_map_update_elem(&log_streams, key, &row, BPF_NOEXIST) &&
	    !bpf_map_lookup_elem(&log_streams, key)) {
		ADD(lost[program], 1);
		return;
	}
	if (bpf_map_update_elem(&log_files, &key->file, &one, BPF_ANY))
		ADD(lost[program], 1);
}

/* Notes the streams of a container, once: what its first process makes of its
 * descriptors later is its own affair. */
static __noinline int watch(struct task_struct *task, __u32 program)
{
	struct task_struct *leader = task->group_leader;
	struct pid *pid = leader->thread_pid;
	struct files_struct *files;
	struct eyas_log_key key = {};
	struct pid_namespace *ns;
	__u32 what;
	__u64 full = 0;

	if (!pid || pid->level == 0)
		return 0;
	ns = innermost(pid);
	if (!ns || BPF_CORE_READ(ns, child_reaper, tgid) != task->tgid)
		return 0;
	what = selected(ns);
	if (!what)
		return 0;
	files = ((struct task_struct___files *)leader)->files;
	if (!files)
		return 0;
	box_of(ns, &key.box);
	if (bpf_map_lookup_elem(&log_boxes, &key.box))
		return 0;
	if (bpf_map_update_elem(&log_boxes, &key.box, &full, BPF_NOEXIST)) {
		ADD(lost[program], 1);
		return 0;
	}
	if (!(what & EYAS_LOG_NO_STDOUT))
		note(files->fdt, EYAS_LOG_STDOUT, &key, program);
	if (!(what & EYAS_LOG_NO_STDERR))
		note(files->fdt, EYAS_LOG_STDERR, &key, program);
	return 0;
}

#endif
