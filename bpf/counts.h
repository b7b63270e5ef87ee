/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Counts that miss nothing: rows per container, and what is found out of events
 * whose run the kernel skipped.
 */
#ifndef EYAS_COUNTS_H
#define EYAS_COUNTS_H

static __noinline struct eyas_counts *counts_at(struct eyas_counts_key *key, __u32 program)
{
	struct eyas_counts zero = {}, *c;
	struct eyas_stats *s;

	c = bpf_map_lookup_elem(&counts, key);
	if (c)
		return c;
	bpf_map_update_elem(&counts, key, &zero, BPF_NOEXIST);
	c = bpf_map_lookup_elem(&counts, key);
	if (c)
		return c;
	s = stats_of(program);
	if (s)
		s->lost_counts++;
	return NULL;
}

/* The key of a process, by any of its threads. */
static __always_inline void process_id_of(struct process_id *key, struct task_struct *task)
{
	key->start = task->group_leader->start_boottime;
	key->pid = task->tgid;
}

static __always_inline void recovered(__u32 program, __u32 n)
{
	struct eyas_stats *s = stats_of(program);

	if (s)
		s->recovered += n;
}

static __always_inline void guard(struct task_struct *task, struct process_id *id,
				  struct eyas_counts_key *key)
{
	struct birth b = {.pidns_start = key->pidns_start, .pidns = key->pidns};

	b.exec_id = task->self_exec_id;
	bpf_map_update_elem(&births, id, &b, BPF_NOEXIST);
}

/* How many execs of a process were not counted yet, this one included. */
static __always_inline __u32 execs_due(struct task_struct *task, struct eyas_counts_key *key)
{
	struct process_id id = {};
	struct birth *b;
	__u32 due;

	process_id_of(&id, task);
	b = bpf_map_lookup_elem(&births, &id);
	if (!b) {
		guard(task, &id, key);
		return 1;
	}
	due = task->self_exec_id - b->exec_id;
	b->exec_id = task->self_exec_id;
	/* 0: the snapshot noted the process in the middle of this exec. */
	if (due <= 1)
		return 1;
	recovered(EYAS_PROGRAM_EXEC, due - 1);
	return due;
}

/* Takes a process off births; returns how many of its execs were skipped. */
static __always_inline __u32 unguard(struct task_struct *task, struct process_id *id)
{
	struct birth *b = bpf_map_lookup_elem(&births, id);
	__u32 due;

	if (!b)
		return 0;
	due = task->self_exec_id - b->exec_id;
	bpf_map_delete_elem(&births, id);
	if (due)
		recovered(EYAS_PROGRAM_EXEC, due);
	return due;
}

/* Guards a process that is older than the programs. One that dies meanwhile is
 * either seen dead here or finds its row at its exit. */
static __always_inline void guard_older(struct task_struct *task)
{
	struct eyas_counts_key key = {};
	struct process_id id = {};

	process_id_of(&id, task);
	if (bpf_map_lookup_elem(&births, &id))
		return;
	key_of(task, &key);
	guard(task, &id, &key);
	if (task->signal->live.counter == 0)
		bpf_map_delete_elem(&births, &id);
}

#endif
