/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Writes that no program on vfs_write was run for.
 *
 * A kernel that preempts a program half way skips it for others on that CPU: the one that
 * tells, and its second, too. Programs of LSM hooks are not skipped (Linux 6.2). One notes
 * for each thread the stream that it is about to write to, and how much it has written to
 * whatever file, which the kernel counts. The second tells what the note has as untold. At
 * the thread's next write, or at its end, the count has grown by what was written, to the
 * byte. Where the programs that add up run, too, they strike the note out.
 */
#ifndef EYAS_LOGBEGUN_H
#define EYAS_LOGBEGUN_H

/* include/linux/fs.h */
#define MAY_WRITE 2

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_io_accounting {
	__u64 wchar; /* CONFIG_TASK_XACCT */
};

struct task_struct___io {
	struct task_io_accounting ioac;
};

#pragma clang attribute pop

struct begun {
	struct eyas_log_key key;
	__u64 wchar; /* before it */
	__u32 open; /* it is not accounted for */
	__u32 told; /* or dropped */
};

/* By the address of the task. Those that write to watched streams; one that finds no room is
 * counted in lost, and has no notes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct begun);
} log_begun SEC(".maps");

static __always_inline struct begun *begun_by(struct task_struct *task)
{
	__u64 at = (__u64)task;

	return bpf_map_lookup_elem(&log_begun, &at);
}

static __always_inline __u64 wchar_of(struct task_struct *task)
{
	return ((struct task_struct___io *)task)->ioac.wchar;
}

/* What was written since the note was made belongs to its stream. */
static __always_inline void settle(struct begun *b, __u64 wchar, __u32 program)
{
	struct eyas_log_stream *row;

	if (!b->open)
		return;
	b->open = 0;
	if (wchar <= b->wchar)
		return;
	row = bpf_map_lookup_elem(&log_streams, &b->key);
	if (row)
		ADD(row->written, wchar - b->wchar);
	else
		ADD(lost[program], 1);
}

static __noinline int begins(struct pid *pid, struct file *file)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct inode___stream *inode = (void *)file->f_inode;
	struct begun *b, new = {.open = 1};
	__u64 at = (__u64)task;
	struct writing w = {};

	b = begun_by(task);
	if (b)
		settle(b, wchar_of(task), EYAS_LOGS_BEGIN);
	if (!stream(inode))
		return 0;
	file_of(inode, &w);
	if (!whose(pid, &w))
		return 0;
	new.key = w.key;
	new.wchar = wchar_of(task);
	if (b)
		*b = new; /* only this thread looks at it */
	else if (bpf_map_update_elem(&log_begun, &at, &new, BPF_ANY))
		ADD(lost[EYAS_LOGS_BEGIN], 1);
	return 0;
}

/* file_permission(file, mask), before each read and write */
SEC("lsm/file_permission")
int logs_begin(unsigned long long *ctx)
{
	struct pid *pid = writer(EYAS_LOGS_BEGIN);

	if (pid && (__u32)ctx[1] & MAY_WRITE)
		begins(pid, (void *)ctx[0]);
	return 0;
}

/* exit_files(task), in do_exit(): a container is not taken for gone before. */
SEC("fentry/exit_files")
int logs_exit(unsigned long long *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct begun *b;

	if (!seen[EYAS_LOGS_EXIT])
		seen[EYAS_LOGS_EXIT] = 1;
	b = begun_by(task);
	if (b)
		settle(b, wchar_of(task), EYAS_LOGS_EXIT);
	return 0;
}

/* Nobody can see the task any more. This is not skipped, as an exit may be. */
SEC("lsm/task_free")
int logs_free(unsigned long long *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	__u64 at = (__u64)task;
	struct begun *b;

	if (!seen[EYAS_LOGS_FREE])
		seen[EYAS_LOGS_FREE] = 1;
	b = begun_by(task);
	if (b) {
		settle(b, wchar_of(task), EYAS_LOGS_FREE);
		bpf_map_delete_elem(&log_begun, &at);
	}
	return 0;
}

#endif
