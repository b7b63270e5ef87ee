// clang-format off
//go:build ignore
// clang-format on

/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Who is who: the identity of every process that lives in a pid or user
 * namespace other than the initial ones. Host processes are filtered out
 * first, before anything is looked up.
 *
 * What is not covered: a process that moves into a user namespace (setns,
 * unshare) and neither forks nor execs afterwards shows itself only to the
 * iterator; no tracepoint tells. Nor does one tell that a dead process was
 * reaped.
 */
#include "kernel.h"
#include "wire.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "maps.h"
#include "who.h"
#include "userns.h"
#include "process.h"
#include "counts.h"
#include "oom.h"

/* task_newtask, not sched_process_fork: it fires when the child is complete but
 * before it runs. Guarded, the loader attaches this to sched_wakeup_new, which
 * fires a little later under the runqueue's lock. */
SEC("tp_btf/task_newtask")
int BPF_PROG(on_newtask, struct task_struct *task)
{
	struct eyas_counts_key key = {};
	struct eyas_counts *c;
	struct scratch *s;
	__u32 size;
	__u64 sum;

	hit(EYAS_PROGRAM_NEWTASK);
	if (!nested(task))
		return 0;
	key_of(task, &key);
	c = counts_at(&key, EYAS_PROGRAM_NEWTASK);
	if (task->pid != task->tgid) {
		if (c)
			__sync_fetch_and_add(&c->threads, 1);
		return 0;
	}
	if (c)
		__sync_fetch_and_add(&c->forks, 1);
	if (guarded) {
		struct process_id id = {};

		process_id_of(&id, task);
		guard(task, &id, &key);
	}
	s = scratch_of(EYAS_PROGRAM_NEWTASK);
	if (!s)
		return 0;
	sum = tell_userns(s, task->real_cred->user_ns, EYAS_PROGRAM_NEWTASK);
	size = fill_process(&s->process, task, EYAS_KIND_FORK, sum);
	OPAQUE(size);
	if (size && size <= sizeof(s->process))
		emit(EYAS_PROGRAM_NEWTASK, &s->process, size);
	return 0;
}

/* Fires after the new image is in place and the other threads are gone, so
 * the current task is the leader. By now the entrypoint's map is written. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
	struct eyas_counts_key key = {};
	struct eyas_counts *c;
	struct scratch *s;
	__u32 size, n = 1;
	__u64 sum;

	hit(EYAS_PROGRAM_EXEC);
	if (!nested(task))
		return 0;
	key_of(task, &key);
	c = counts_at(&key, EYAS_PROGRAM_EXEC);
	if (guarded)
		n = execs_due(task, &key);
	if (c)
		__sync_fetch_and_add(&c->execs, n);
	s = scratch_of(EYAS_PROGRAM_EXEC);
	if (!s)
		return 0;
	sum = tell_userns(s, task->real_cred->user_ns, EYAS_PROGRAM_EXEC);
	size = fill_process(&s->process, task, EYAS_KIND_EXEC, sum);
	OPAQUE(size);
	if (!size || size > sizeof(s->process))
		return 0;
	size = fill_args(s, task, size);
	OPAQUE(size);
	if (size > sizeof(s->process) + sizeof(s->tail))
		return 0;
	s->process.h.size = size;
	emit(EYAS_PROGRAM_EXEC, &s->process, size);
	return 0;
}

/* Counts and tells the death of a process. */
static __always_inline void tell_exit(struct task_struct *task, struct process_id *id,
				      struct eyas_counts_key *key, __u32 execs, __u32 program)
{
	struct signal_struct *sig = task->signal;
	__u32 code = task->group_leader->exit_code;
	struct eyas_exit e = {};
	struct eyas_counts *c;

	if (sig->flags & SIGNAL_GROUP_EXIT)
		code = sig->group_exit_code;
	header(&e.h, EYAS_KIND_EXIT, sizeof(e));
	if (sig->oom_mm)
		e.h.flags |= EYAS_FLAG_OOM;
	e.start = id->start;
	e.pid = id->pid;
	e.code = code;
	c = counts_at(key, program);
	if (c) {
		if (execs)
			__sync_fetch_and_add(&c->execs, execs);
		if (code & 0x7f)
			__sync_fetch_and_add(&c->exits_signal, 1);
		else if (code)
			__sync_fetch_and_add(&c->exits_error, 1);
		else
			__sync_fetch_and_add(&c->exits_zero, 1);
		if (e.h.flags & EYAS_FLAG_OOM)
			__sync_fetch_and_add(&c->oom_kills, 1);
	}
	emit(program, &e, sizeof(e));
}

/* Once per process: when its last thread exits. signal->live has been counted
 * down before the tracepoint. */
SEC("tp_btf/sched_process_exit")
int on_exit(unsigned long long *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];
	struct eyas_counts_key key = {};
	struct process_id id = {};
	__u32 execs = 0;
	__u8 one = 1;

	hit(EYAS_PROGRAM_EXIT);
	if (!nested(task))
		return 0;
	if (task->signal->live.counter != 0)
		return 0;
	process_id_of(&id, task);
	if (tells_last) {
		/* bool group_dead; a volatile load, because kernels without the
		 * argument must not see it. */
		if (!(*(volatile __u64 *)(ctx + 1) & 1))
			return 0;
	} else if (bpf_map_update_elem(&reported, &id, &one, BPF_NOEXIST)) {
		/* Always: the thread that saw live == 0 first may be gone by
		 * now, so nr_threads does not tell whether there were several. */
		return 0;
	}
	if (guarded)
		execs = unguard(task->group_leader, &id);
	key_of(task, &key);
	tell_exit(task, &id, &key, execs, EYAS_PROGRAM_EXIT);
	return 0;
}

/* Guarded only. A task is freed in a soft interrupt, so this is never skipped.
 * By now it has no pid any more; its namespace was noted at birth. The first
 * thread is the last to be freed, and the former first thread of a process of
 * which another one has execed has another pid. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(on_free, struct task_struct *task)
{
	struct eyas_counts_key key = {};
	struct user_namespace *ns;
	struct process_id id = {};
	struct birth *b;

	hit(EYAS_PROGRAM_FREE);
	if (task->pid != task->tgid)
		return 0;
	id.start = task->start_boottime;
	id.pid = task->tgid;
	b = bpf_map_lookup_elem(&births, &id);
	if (!b)
		return 0;
	ns = task->real_cred->user_ns;
	key.pidns = b->pidns;
	key.pidns_start = b->pidns_start;
	key.cgroup = task->cgroups->dfl_cgrp->kn->id;
	key.userns = ns->ns.inum;
	key.userns_id = ns_id(&ns->ns);
	recovered(EYAS_PROGRAM_EXIT, 1);
	tell_exit(task, &id, &key, unguard(task, &id), EYAS_PROGRAM_FREE);
	return 0;
}

/* Fires once per moved process, for v1 hierarchies too: the id is read from
 * the task, so a v1 move merely repeats it. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(on_attach, struct cgroup *cgroup, const char *path, struct task_struct *task)
{
	struct eyas_attach a = {};

	hit(EYAS_PROGRAM_ATTACH);
	if (!nested(task))
		return 0;
	header(&a.h, EYAS_KIND_CGROUP, sizeof(a));
	a.start = task->group_leader->start_boottime;
	a.pid = task->tgid;
	a.cgroup = task->cgroups->dfl_cgrp->kn->id;
	emit(EYAS_PROGRAM_ATTACH, &a, sizeof(a));
	return 0;
}

/* map_write() asks for CAP_SYS_ADMIN in the namespace before it writes; a
 * namespace without a map that is asked about will have one soon. */
SEC("tp_btf/cap_capable")
int BPF_PROG(on_capable, const struct cred *cred, struct user_namespace *target,
	     const struct user_namespace *capable, int cap)
{
	struct eyas_hint h = {};

	hit(EYAS_PROGRAM_CAPABLE);
	if (cap != CAP_SYS_ADMIN || target->level == 0 || target->uid_map.nr_extents ||
	    target->gid_map.nr_extents)
		return 0;
	header(&h.h, EYAS_KIND_MAPHINT, sizeof(h));
	h.userns = target->ns.inum;
	h.userns_id = ns_id(&target->ns);
	h.pid = bpf_get_current_pid_tgid() >> 32;
	emit(EYAS_PROGRAM_CAPABLE, &h, sizeof(h));
	return 0;
}

/* The row of scratches for this copy of each_task. */
const volatile __u32 task_row = EYAS_PROGRAM_TASKS;

/* Every nested process, once: threads are counted by their leader. Sees the
 * pid namespace of the reader, which therefore must be the initial one. */
SEC("iter/task")
int each_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct scratch *s;
	__u32 size;

	if (!task) {
		hit(EYAS_PROGRAM_TASKS);
		return 0;
	}
	if (task->pid != task->tgid || !nested(task))
		return 0;
	s = scratch_of(task_row);
	if (!s)
		return 0;
	size = fill_process(&s->process, task, EYAS_KIND_TASK, map_sum(task->real_cred->user_ns));
	OPAQUE(size);
	if (!size || size > sizeof(s->process))
		return 0;
	if (task->signal->live.counter == 0)
		s->process.h.flags |= EYAS_FLAG_ZOMBIE;
	else if (guarded)
		guard_older(task);
	bpf_seq_write(ctx->meta->seq, &s->process, size);
	return 0;
}

/* Nothing: what the kernel's statistics say of it is their own clock, on the
 * tracepoint that the loader attaches it to. */
SEC("tp_btf/sched_process_exit")
int nothing(unsigned long long *ctx)
{
	return 0;
}

/* The least an iteration can do: what a snapshot costs more is the facts. */
SEC("iter/task")
int count_tasks(struct bpf_iter__task *ctx)
{
	if (ctx->task)
		return 0;
	hit(EYAS_PROGRAM_TASKS);
	return 0;
}

/* All user namespaces of one process, from its own outwards. */
SEC("iter/task")
int each_userns(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct user_namespace *ns;
	struct scratch *s;

	if (!task) {
		hit(EYAS_PROGRAM_USERNS);
		return 0;
	}
	s = scratch_of(EYAS_PROGRAM_USERNS);
	if (!s)
		return 0;
	ns = task->real_cred->user_ns;
	for (int i = 0; i < EYAS_USER_LEVELS; i++) {
		__u32 size;

		if (ns->level <= 0)
			return 0;
		size = fill_userns(s, ns, map_sum(ns), EYAS_PROGRAM_USERNS);
		if (size > sizeof(struct eyas_userns))
			return 0;
		bpf_seq_write(ctx->meta->seq, &s->userns, size);
		ns = ns->parent;
	}
	return 0;
}

/* GPL-2.0 OR Apache-2.0; the kernel knows the former, and some helpers ask for it. */
char LICENSE[] SEC("license") = "GPL";
