// clang-format off
//go:build ignore
// clang-format on

/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What containers write to their standard streams: what was fd 1 and 2 of a
 * container's first process when it began its program, if that is a pipe, a terminal
 * or a socket. Only writes by the container, or by those inside it, are told; what
 * its engine then does with them is not. Nothing of a container that was not
 * selected is copied. Host processes are filtered out first.
 *
 * What is not covered: splice and sendfile, whose bytes are only added up; send and io_uring,
 * which nothing here sees; and what other threads do to a buffer while it is written. Writes of
 * several processes to one pipe at once may be told in another order.
 */
#include "kernel.h"
#include "fs.h"
#include "wire.h"
#include "logs.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "logmaps.h"
#include "logwatch.h"
#include "logtell.h"

/* Called when the new program is in place, and what is closed on exec is closed. */
SEC("fexit/setup_new_exec")
int logs_exec(unsigned long long *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (!seen[EYAS_LOGS_EXEC])
		seen[EYAS_LOGS_EXEC] = 1;
	return watch(task, EYAS_LOGS_EXEC);
}

/* The same a little before, when what is closed on exec is closed, too: the kernel may skip
 * a run of the other, and does not skip this one (see logbegun.h). */
SEC("lsm/bprm_committed_creds")
int logs_committed(unsigned long long *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (!seen[EYAS_LOGS_COMMITTED])
		seen[EYAS_LOGS_COMMITTED] = 1;
	watch(task, EYAS_LOGS_COMMITTED);
	return 0;
}

/* Those that are older than the programs, or than their selection. */
SEC("iter/task")
int logs_each(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task) {
		seen[EYAS_LOGS_EACH] = 1;
		return 0;
	}
	if (task->pid != task->tgid)
		return 0;
	watch(task, EYAS_LOGS_EACH);
	return 0;
}

static long finds(__u32 i, void *data)
{
	struct writing *w = data;
	struct pid_namespace *ns = w->ns;

	if (BPF_CORE_READ(ns, level) == 0)
		return 1;
	box_of(ns, &w->key.box);
	if (bpf_map_lookup_elem(&log_streams, &w->key)) {
		w->found = true;
		return 1;
	}
	w->ns = outwards(ns);
	return 0;
}

static __always_inline bool stream(struct inode___stream *inode)
{
	__u16 mode = inode->i_mode & S_IFMT;

	return mode == S_IFIFO || mode == S_IFCHR || mode == S_IFSOCK;
}

/* Whose stream a file is to this process: the innermost container's of those that it
 * is in. */
static __always_inline struct eyas_log_stream *whose(struct pid *pid, struct writing *w)
{
	if (!bpf_map_lookup_elem(&log_files, &w->key.file))
		return NULL;
	w->ns = innermost(pid);
	if (w->ns)
		bpf_loop(EYAS_PID_LEVELS, finds, w, 0);
	return w->found ? bpf_map_lookup_elem(&log_streams, &w->key) : NULL;
}

static __always_inline void file_of(struct inode___stream *inode, struct writing *w)
{
	w->key.file.inode = inode->i_ino;
	w->key.file.dev = inode->i_sb->s_dev;
}

static __always_inline struct pid *writer(__u32 program)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pid *pid = task->thread_pid;

	if (!seen[program])
		seen[program] = 1;
	return pid && pid->level > 0 ? pid : NULL;
}

static __always_inline long result(void *ctx)
{
	__u64 ret = 0;

	bpf_get_func_ret(ctx, &ret);
	return ret;
}

#include "logbegun.h"
#include "logsum.h"

static __noinline int wrote(struct pid *pid, struct writing *w)
{
	struct begun *b = begun_by(bpf_get_current_task_btf());
	struct eyas_log_stream *row;

	if (!w || (w->again && (!b || !b->open || b->told)))
		return 0;
	row = whose(pid, w);
	if (!row)
		return 0;
	if (b)
		b->told = 1;
	book(row);
	if (affords(&w->key.box, w->left))
		bpf_loop(EYAS_LOG_CHUNKS, piece, w, 0);
	if (w->left) {
		row = bpf_map_lookup_elem(&log_streams, &w->key);
		if (row) {
			ADD(row->dropped_records, 1);
			ADD(row->dropped_bytes, w->left);
		}
	}
	return 0;
}

static __always_inline int write(void *ctx, struct file *file, __u32 program, struct writing *w)
{
	struct pid *pid = writer(program);
	struct inode___stream *inode;
	long ret;

	if (!pid)
		return 0;
	inode = (void *)file->f_inode;
	if (!stream(inode))
		return 0;
	ret = result(ctx);
	if (ret <= 0)
		return 0;
	w->left = ret;
	if (!w->vec)
		w->here = ret;
	file_of(inode, w);
	return wrote(pid, w);
}

/* vfs_write(file, buffer, count, pos) */
SEC("fexit/vfs_write")
int logs_write(unsigned long long *ctx)
{
	struct writing w = {.base = ctx[1]};

	return write(ctx, (void *)ctx[0], EYAS_LOGS_WRITE, &w);
}

/* vfs_writev(file, vec, parts, pos, flags) */
SEC("fexit/vfs_writev")
int logs_writev(unsigned long long *ctx)
{
	struct writing w = {.vec = ctx[1], .parts = ctx[2]};

	return write(ctx, (void *)ctx[0], EYAS_LOGS_WRITEV, &w);
}

/* The same for runs of those that were skipped, which logbegun.h knows of. */
SEC("fexit/vfs_write")
int logs_again(unsigned long long *ctx)
{
	struct writing w = {.base = ctx[1], .again = true};

	return write(ctx, (void *)ctx[0], EYAS_LOGS_AGAIN, &w);
}

SEC("fexit/vfs_writev")
int logs_againv(unsigned long long *ctx)
{
	struct writing w = {.vec = ctx[1], .parts = ctx[2], .again = true};

	return write(ctx, (void *)ctx[0], EYAS_LOGS_AGAINV, &w);
}

/* GPL-2.0 OR Apache-2.0; the kernel knows the former, and some helpers ask for it. */
char LICENSE[] SEC("license") = "GPL";
