/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The identity of a process: its pids and namespaces at every level, and the
 * strings of its memory.
 */
#ifndef EYAS_PROCESS_H
#define EYAS_PROCESS_H

/* numbers[] may be indexed by a constant only, hence the unrolling by hand. */
#define PID_LEVEL(p, pid, top, i)                                                 \
	do {                                                                      \
		if ((i) <= (top)) {                                               \
			struct upid *u = &(pid)->numbers[i];                      \
			(p)->level[i].pid = u->nr;                                \
			(p)->level[i].pidns = u->ns->ns.inum;                     \
			(p)->level[i].pidns_start = (i) ? pidns_start(u->ns) : 0; \
			(p)->level[i].pidns_owner = u->ns->user_ns->ns.inum;      \
		}                                                                 \
	} while (0)
#define PID_LEVELS4(p, pid, top, i)            \
	do {                                   \
		PID_LEVEL(p, pid, top, i);     \
		PID_LEVEL(p, pid, top, i + 1); \
		PID_LEVEL(p, pid, top, i + 2); \
		PID_LEVEL(p, pid, top, i + 3); \
	} while (0)

static __always_inline void fill_pids(struct eyas_process *p, struct pid *pid, __u32 top)
{
	PID_LEVEL(p, pid, top, 0);
	PID_LEVEL(p, pid, top, 1);
	PID_LEVEL(p, pid, top, 2);
	if (top <= 2)
		return;
	PID_LEVEL(p, pid, top, 3);
	PID_LEVELS4(p, pid, top, 4);
	if (top <= 7)
		return;
	PID_LEVELS4(p, pid, top, 8);
	PID_LEVELS4(p, pid, top, 12);
	if (top <= 15)
		return;
	PID_LEVELS4(p, pid, top, 16);
	PID_LEVELS4(p, pid, top, 20);
	PID_LEVELS4(p, pid, top, 24);
	PID_LEVELS4(p, pid, top, 28);
	PID_LEVEL(p, pid, top, 32);
}

static __always_inline void copy_words(void *to, const void *from, int words)
{
	volatile __u64 *out = to;
	const volatile __u64 *in = from;
#pragma unroll
	for (int i = 0; i < words; i++)
		out[i] = in[i];
}

/* Builds the identity of a process in the scratch, all but the strings of its
 * memory, and says in *innermost what its counts belong to. Returns the size
 * so far, 0 when the task is half dead already. */
static __noinline __u32 fill_process(struct eyas_process *p, struct task_struct *task, __u16 kind,
				     __u64 map_digest)
{
	struct task_struct *leader = task->group_leader;
	struct pid *pid = leader->thread_pid;
	const struct cred *cred = task->real_cred;
	struct nsproxy *nsproxy = task->nsproxy;
	struct user_namespace *ns = cred->user_ns;
	__u32 top, levels;

	if (!pid)
		return 0;
	top = pid->level;
	if (top >= EYAS_PID_LEVELS)
		return 0;
	p->start = leader->start_boottime;
	p->cgroup = task->cgroups->dfl_cgrp->kn->id;
	p->map_sum = map_digest;
	p->pid = task->tgid;
	p->ppid = task->real_parent->tgid;
	p->uid = cred->euid.val;
	p->gid = cred->egid.val;
	p->ruid = cred->uid.val;
	p->rgid = cred->gid.val;
	p->loginuid = bpf_core_field_exists(task->loginuid) ? task->loginuid.val : (__u32)-1;
	p->threads = task->signal->nr_threads;
	p->argv_len = 0;
	p->exe_copied = 0;
	p->argv_copied = 0;
	p->pad = 0;
	p->exec_id = task->self_exec_id;
	p->pad2 = 0;
	p->pid_levels = top + 1;
	p->user_levels = ns->level + 1;
	p->mntns = 0;
	copy_words(p->comm, task->comm, 2);
	if (nsproxy) {
		p->mntns = nsproxy->mnt_ns->ns.inum;
		copy_words(p->nodename, nsproxy->uts_ns->name.nodename, EYAS_NODENAME / 8);
	} else {
		__builtin_memset(p->nodename, 0, sizeof(p->nodename));
	}
	fill_pids(p, pid, top);
	for (int i = 0; i < EYAS_USER_LEVELS; i++) {
		__u32 l = ns->level;
		if (l >= EYAS_USER_LEVELS)
			return 0;
		p->level[l].userns = ns->ns.inum;
		p->level[l].userns_id = ns_id(&ns->ns);
		p->level[l].owner_uid = ns->owner.val;
		p->level[l].owner_gid = ns->group.val;
		if (l == 0)
			break;
		ns = ns->parent;
	}
	levels = p->pid_levels > p->user_levels ? p->pid_levels : p->user_levels;
	if (levels > EYAS_USER_LEVELS)
		return 0;
	levels = offsetof(struct eyas_process, level) + levels * sizeof(struct eyas_level);
	header(&p->h, kind, levels);
	return levels;
}

/* Copies user memory of the current process behind the record. */
static __always_inline __u32 read_user(struct scratch *s, __u32 at, __u32 len, __u64 from,
				       __u32 bound)
{
	char *base = (char *)s;

	OPAQUE(at);
	OPAQUE(len);
	if (at > sizeof(struct eyas_process) + EYAS_EXE_MAX)
		return 0;
	if (len > bound)
		len = bound;
	if (len == 0)
		return 0;
	if (args_mode == ARGS_HELPER) {
		if (bpf_probe_read_user(base + at, len, (void *)from))
			return 0;
		return len;
	}
	if (args_mode == ARGS_DYNPTR) {
		struct bpf_dynptr d;

		if (bpf_dynptr_from_mem(base + at, EYAS_ARGV_MAX, 0, &d))
			return 0;
		if (bpf_probe_read_user_dynptr(&d, 0, len, (void *)from))
			return 0;
		return len;
	}
	return 0;
}

/* Copies a string of user memory behind the record, with its NUL if that is
 * within len: most are short. */
static __always_inline __u32 read_user_string(struct scratch *s, __u32 at, __u32 len, __u64 from)
{
	char *base = (char *)s;
	long got;

	if (args_mode != ARGS_HELPER)
		return read_user(s, at, len, from, EYAS_EXE_MAX);
	OPAQUE(at);
	OPAQUE(len);
	if (at > sizeof(struct eyas_process))
		return 0;
	if (len > EYAS_EXE_MAX)
		len = EYAS_EXE_MAX;
	got = bpf_probe_read_user_str(base + at, len, (void *)from);
	OPAQUE(got);
	return got > 0 && got <= EYAS_EXE_MAX ? got : 0;
}

/* The path as execve() got it stands above the environment (fs/exec.c,
 * bprm->exec; create_elf_tables() leaves it at env_end), the arguments at
 * arg_start. Both were just written there, so the pages are present. */
static __always_inline __u32 fill_args(struct scratch *s, struct task_struct *task, __u32 size)
{
	struct eyas_process *p = &s->process;
	struct mm_struct *mm = task->mm;
	__u64 start, end, env_end, page_left;
	__u32 len, got;

	if (!mm || args_mode == ARGS_NONE)
		return size;
	start = mm->arg_start;
	end = mm->arg_end;
	env_end = mm->env_end;

	/* The path ends at most 8 bytes before the top of the stack area; do
	 * not read over the end of its page into nothing. */
	page_left = 4096 - (env_end & 4095);
	len = page_left < EYAS_EXE_MAX ? page_left : EYAS_EXE_MAX;
	got = read_user_string(s, size, len, env_end);
	p->exe_copied = got;
	size += got;

	if (end <= start)
		return size;
	p->argv_len = end - start;
	len = end - start > EYAS_ARGV_MAX ? EYAS_ARGV_MAX : end - start;
	if (end - start > EYAS_ARGV_MAX)
		p->h.flags |= EYAS_FLAG_ARGV_CUT;
	OPAQUE(size);
	got = read_user(s, size, len, start, EYAS_ARGV_MAX);
	p->argv_copied = got;
	size += got;
	return size;
}

#endif
