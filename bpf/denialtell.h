/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * How denials.bpf.c tells of a refusal: in the row of its kind, and in one of the
 * process that met it.
 */
#ifndef EYAS_DENIALTELL_H
#define EYAS_DENIALTELL_H

/* One row per container and kind of refusal. 4096 rows of 144 bytes, made on
 * demand; user space takes those that rest. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct eyas_denial_key);
	__type(value, struct eyas_denial);
} denials SEC(".maps");

/* And of each process, of which a kind's row has the last one only. Nobody takes
 * them: of 4096, 1 MB, those fall out that were told of the longest ago. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct eyas_denial_process);
	__type(value, struct eyas_denial);
} processes SEC(".maps");

/* The last check that failed in the system call that a task is in. Only failed
 * checks of nested tasks get here, so the oldest may fall out. */
struct failed {
	__u64 inode;
	__u32 dev;
	__s32 syscall;
	__u32 cause;
	__u32 detail;
	__u32 target;
	__u32 target_level;
	__u32 id[2];
	__u16 told; /* as a refused access */
	__u16 reading; /* to read was asked for, and then more */
	__u16 mode;
	__u16 proc; /* of a procfs */
};

/* Refusals that found no room in the map. */
__u64 lost[EYAS_DENIALS_PROGRAMS];

/* Counts a refusal in a row. */
static __always_inline void count(struct eyas_denial *row, struct task_struct *task,
				  struct failed *f, __u32 third)
{
	__u64 seq;

	__sync_fetch_and_add(&row->count, 1);
	/* Two at once: one of them is the last. */
	seq = row->seq;
	if (seq & 1 || __sync_val_compare_and_swap(&row->seq, seq, seq + 1) != seq)
		return;
	row->time = bpf_ktime_get_boot_ns();
	row->start = task->group_leader->start_boottime;
	row->pid = task->tgid;
	row->uid = task->real_cred->euid.val;
	row->gid = task->real_cred->egid.val;
	row->userns = task->real_cred->user_ns->ns.inum;
	row->inode = f->inode;
	row->dev = f->dev;
	row->target = f->target;
	row->target_level = f->target_level;
	row->id[0] = f->id[0];
	row->id[1] = f->id[1];
	row->id[2] = third;
	row->syscall = f->syscall;
	bpf_get_current_comm(row->comm, sizeof(row->comm));
	/* Of an addition whose result nobody uses the compiler makes one that
	 * orders nothing. */
	__sync_val_compare_and_swap(&row->seq, seq + 1, seq + 2);
}

/* Tells of a refusal. f says why, when that is known; third is a third id. */
static __noinline int tell(struct failed *f, __u32 program, __u32 op, __u32 error, __u32 third)
{
	struct task_struct *task = bpf_get_current_task_btf();
	static const struct eyas_denial zero;
	struct eyas_denial_process key = {};
	struct eyas_denial *row;

	if (!f)
		return 0;
	key_of(task, &key.kind.who);
	key.kind.who.cgroup = 0;
	key.kind.op = op;
	key.kind.error = error;
	key.kind.cause = f->cause;
	key.kind.detail = f->detail;
	row = bpf_map_lookup_elem(&denials, &key.kind);
	if (!row) {
		bpf_map_update_elem(&denials, &key.kind, &zero, BPF_NOEXIST);
		row = bpf_map_lookup_elem(&denials, &key.kind);
	}
	if (!row) {
		/* In a register: of what it has spilled the compiler checks one copy
		 * and uses another, which verifiers before 6.3 do not connect. */
		asm volatile("" : "+r"(program));
		if (program < EYAS_DENIALS_PROGRAMS)
			__sync_fetch_and_add(&lost[program], 1);
		return 0;
	}
	count(row, task, f, third);
	key.start = task->group_leader->start_boottime;
	key.pid = task->tgid;
	row = bpf_map_lookup_elem(&processes, &key);
	if (!row) {
		bpf_map_update_elem(&processes, &key, &zero, BPF_NOEXIST);
		row = bpf_map_lookup_elem(&processes, &key);
	}
	if (row)
		count(row, task, f, third);
	return 0;
}

#endif
