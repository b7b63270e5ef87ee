/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * OOM kills: who was killed, and at the limit of which cgroup. The kernel holds
 * one lock (oom_lock) from the search for a victim until all are marked, for the
 * whole machine, so what is under way stands in plain variables.
 *
 * What is not covered: processes that share the victim's memory without being
 * its threads are killed with it, but not marked.
 */
#ifndef EYAS_OOM_H
#define EYAS_OOM_H

/* What oom_kill_process() is at, if on_oom can run here. */
static struct {
	__u64 by; /* the task that runs it; 0: nobody does */
	__u64 kill;
	struct eyas_memcg limit;
} killing;

/* Built here: too large for the stack. */
static struct eyas_victim victim;

/* What is beyond the css, which is a memory cgroup's first member, is read as
 * extents are: the verifier knows the css alone. */
static __always_inline void fill_memcg(struct eyas_memcg *out, struct cgroup_subsys_state *css)
{
	struct mem_cgroup *m;

	out->cgroup = css->cgroup->kn->id;
	out->level = css->cgroup->level;
	out->flags = 0;
	if (css->cgroup->root->hierarchy_id)
		out->flags |= EYAS_MEMCG_V1;
	out->usage = out->max = out->ooms = 0;
	if (extents_mode == EXTENTS_CAST) {
		m = bpf_rdonly_cast(css, bpf_core_type_id_kernel(struct mem_cgroup));
		out->usage = m->memory.usage.counter;
		out->max = m->memory.max;
		out->ooms = m->memory_events_local[MEMCG_OOM].counter;
		if (m->oom_group)
			out->flags |= EYAS_MEMCG_GROUP;
		out->flags |= EYAS_MEMCG_READ;
	} else if (extents_mode == EXTENTS_PROBE) {
		m = (struct mem_cgroup *)css;
		out->usage = BPF_CORE_READ(m, memory.usage.counter);
		out->max = BPF_CORE_READ(m, memory.max);
		out->ooms = BPF_CORE_READ(m, memory_events_local[MEMCG_OOM].counter);
		if (BPF_CORE_READ(m, oom_group))
			out->flags |= EYAS_MEMCG_GROUP;
		out->flags |= EYAS_MEMCG_READ;
	}
}

/* The memory cgroups of a task from its own outwards, without the root, which
 * has no limit. */
static __always_inline void fill_memcgs(struct eyas_victim *v, struct task_struct *task)
{
	/* Which of a task's controllers is the memory controller depends on the
	 * kernel's configuration. */
	__u32 id = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
	struct cgroup_subsys_state *css;

	v->memcgs = 0;
	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id) || id > 30)
		return;
	css = *(struct cgroup_subsys_state **)((void *)&task->cgroups->subsys + id * sizeof(css));
	for (int i = 0; i < EYAS_MEMCGS; i++) {
		if (!css || !css->parent)
			return;
		fill_memcg(&v->memcg[i], css);
		v->memcgs = i + 1;
		css = css->parent;
	}
	v->h.flags |= EYAS_FLAG_PARTIAL;
}

/* Pages. Since 6.2 each CPU holds a part back, up to a batch of them. */
static __always_inline void fill_rss(struct eyas_victim *v, struct mm_struct *mm)
{
	struct mm_struct___rss *old = (void *)mm;

	v->file = v->anon = v->swap = v->shmem = 0;
	if (!mm)
		return;
	if (bpf_core_field_exists(old->rss_stat.count)) {
		/* Verifiers of these kernels refuse a plain read of the array. */
		if (extents_mode != EXTENTS_PROBE)
			return;
		v->file = BPF_CORE_READ(old, rss_stat.count[MM_FILEPAGES].counter);
		v->anon = BPF_CORE_READ(old, rss_stat.count[MM_ANONPAGES].counter);
		v->swap = BPF_CORE_READ(old, rss_stat.count[MM_SWAPENTS].counter);
		v->shmem = BPF_CORE_READ(old, rss_stat.count[MM_SHMEMPAGES].counter);
	} else if (bpf_core_field_exists(mm->rss_stat)) {
		v->file = mm->rss_stat[MM_FILEPAGES].count;
		v->anon = mm->rss_stat[MM_ANONPAGES].count;
		v->swap = mm->rss_stat[MM_SWAPENTS].count;
		v->shmem = mm->rss_stat[MM_SHMEMPAGES].count;
	}
}

/* Fires for each process that is killed, before it dies and with its memory in
 * place. Host processes are told too: they may die of a pod's limit. */
SEC("tp_btf/mark_victim")
int BPF_PROG(on_victim, struct task_struct *task)
{
	struct eyas_victim *v = &victim;

	hit(EYAS_PROGRAM_VICTIM);
	header(&v->h, EYAS_KIND_VICTIM, sizeof(*v));
	v->start = task->group_leader->start_boottime;
	v->cgroup = task->cgroups->dfl_cgrp->kn->id;
	v->pid = task->tgid;
	v->by = bpf_get_current_pid_tgid() >> 32;
	v->score_adj = task->signal->oom_score_adj;
	v->pad = 0;
	copy_words(v->comm, task->group_leader->comm, 2);
	fill_rss(v, task->mm);
	fill_memcgs(v, task);
	v->kill = 0;
	if (killing.by == bpf_get_current_pid_tgid()) {
		v->kill = killing.kill;
		v->limit = killing.limit;
	}
	emit(EYAS_PROGRAM_VICTIM, v, sizeof(*v));
	return 0;
}

/* Whose limit it is: no cgroup's when the machine itself is out of memory. */
SEC("fentry/oom_kill_process")
int BPF_PROG(on_oom, struct oom_control *oc)
{
	struct mem_cgroup *m = oc->memcg;

	hit(EYAS_PROGRAM_OOM);
	__builtin_memset(&killing.limit, 0, sizeof(killing.limit));
	if (m)
		fill_memcg(&killing.limit, &m->css);
	killing.kill = bpf_ktime_get_boot_ns();
	killing.by = bpf_get_current_pid_tgid();
	return 0;
}

SEC("fexit/oom_kill_process")
int BPF_PROG(on_oom_done, struct oom_control *oc)
{
	hit(EYAS_PROGRAM_OOM_DONE);
	killing.by = 0;
	return 0;
}

#endif
