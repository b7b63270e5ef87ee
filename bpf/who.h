/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Who a task is, as far as every program needs it: whether it is nested at all,
 * and what its counts belong to.
 */
#ifndef EYAS_WHO_H
#define EYAS_WHO_H

static __always_inline bool nested(struct task_struct *task)
{
	struct pid *pid = task->thread_pid;
	struct user_namespace *ns;

	if (pid && pid->level > 0)
		return true;
	ns = task->real_cred->user_ns;
	return ns->level > 0;
}

static __always_inline __u64 ns_id(struct ns_common *ns)
{
	if (bpf_core_field_exists(ns->ns_id))
		return ns->ns_id;
	return 0;
}

/* Start of the namespace's first process: with the inum it names the
 * namespace for good. The leader's, because a multi-threaded pid 1 that is
 * dying is replaced by another of its threads (find_child_reaper). */
static __always_inline __u64 pidns_start(struct pid_namespace *ns)
{
	return ns->child_reaper->group_leader->start_boottime;
}

/* What a task's counts belong to. */
static __noinline void key_of(struct task_struct *task, struct eyas_counts_key *key)
{
	struct pid *pid = task->group_leader->thread_pid;
	struct user_namespace *ns = task->real_cred->user_ns;
	struct pid_namespace *pidns = NULL;
	__u32 top;

	key->cgroup = task->cgroups->dfl_cgrp->kn->id;
	key->userns = ns->ns.inum;
	key->userns_id = ns_id(&ns->ns);
	key->pidns = 0;
	key->pidns_start = 0;
	if (!pid)
		return;
	top = pid->level;
	/* The innermost level, by constants; most containers are not deep. */
#define AT(i)           \
	if (top == (i)) \
		pidns = pid->numbers[i].ns;
	/* clang-format off */
	if (top <= 3) {
		AT(0) AT(1) AT(2) AT(3)
	} else if (top <= 12) {
		AT(4) AT(5) AT(6) AT(7) AT(8) AT(9) AT(10) AT(11) AT(12)
	} else {
		AT(13) AT(14) AT(15) AT(16) AT(17) AT(18) AT(19) AT(20) AT(21) AT(22)
		AT(23) AT(24) AT(25) AT(26) AT(27) AT(28) AT(29) AT(30) AT(31) AT(32)
	}
	/* clang-format on */
#undef AT
	if (pidns) {
		key->pidns = pidns->ns.inum;
		key->pidns_start = top ? pidns_start(pidns) : 0;
	}
}

#endif
