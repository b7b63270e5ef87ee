/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * How much goes into streams, by programs that do nothing else.
 *
 * A kernel that preempts a program half way skips it for others on that CPU until it
 * goes on. These are short, and are skipped at other times than those that tell. They
 * are attached before those, so that they run after them: a write that is under way is
 * never taken for one that was skipped. Those on writes are detached where logbegun.h's
 * run, which do the same at the next write or at the end, and are not skipped.
 *
 * What goes by sendfile and splice cannot be told, and is thus what is missing.
 */
#ifndef EYAS_LOGSUM_H
#define EYAS_LOGSUM_H

static __noinline int adds(struct pid *pid, struct writing *w)
{
	struct eyas_log_stream *row;

	if (!w)
		return 0;
	row = whose(pid, w);
	if (!row)
		return 0;
	ADD(row->written, w->left);
	return 1;
}

static __always_inline int sum(void *ctx, struct file *file, __u32 program)
{
	struct pid *pid = writer(program);
	struct inode___stream *inode;
	struct writing w = {};
	struct begun *b;
	long ret;

	if (!pid)
		return 0;
	inode = (void *)file->f_inode;
	if (!stream(inode))
		return 0;
	ret = result(ctx);
	if (ret <= 0)
		return 0;
	w.left = ret;
	file_of(inode, &w);
	if (!adds(pid, &w))
		return 0;
	b = begun_by(bpf_get_current_task_btf());
	if (b)
		b->open = 0;
	return 0;
}

SEC("fexit/vfs_write")
int logs_sum(unsigned long long *ctx)
{
	return sum(ctx, (void *)ctx[0], EYAS_LOGS_SUM);
}

SEC("fexit/vfs_writev")
int logs_sumv(unsigned long long *ctx)
{
	return sum(ctx, (void *)ctx[0], EYAS_LOGS_SUMV);
}

/* What a system call has moved into a descriptor. */
static __always_inline int moved(void *ctx, __u32 fd, __u32 program)
{
	struct pid *pid = writer(program);
	struct files_struct *files;
	struct inode___stream *inode;
	struct writing w = {};
	struct fdtable *fdt;
	struct file *file;
	struct begun *b;
	long ret;

	if (!pid)
		return 0;
	ret = result(ctx);
	if (ret <= 0)
		return 0;
	/* The kernel counts it as written; of a pipe it has not asked whether that may be. */
	b = program == EYAS_LOGS_SENDFILE ? begun_by(bpf_get_current_task_btf()) : NULL;
	if (b)
		b->wchar += ret;
	files = ((struct task_struct___files *)bpf_get_current_task_btf())->files;
	if (!files)
		return 0;
	fdt = files->fdt;
	if (fdt->max_fds <= fd || bpf_probe_read_kernel(&file, sizeof(file), &fdt->fd[fd]) || !file)
		return 0;
	inode = (void *)BPF_CORE_READ(file, f_inode);
	w.key.file.inode = BPF_CORE_READ(inode, i_ino);
	w.key.file.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	w.left = ret;
	adds(pid, &w);
	return 0;
}

/* sendfile64(out, in, offset, count) */
SEC("fexit/sys_sendfile64")
int logs_sendfile(unsigned long long *ctx)
{
	struct pt_regs___x64 *x = (void *)ctx[0];
	struct pt_regs___arm64 *a = (void *)ctx[0];
	__u32 out;

	if (bpf_core_field_exists(x->di))
		out = x->di;
	else
		out = a->user_regs.regs[0];
	return moved(ctx, out, EYAS_LOGS_SENDFILE);
}

/* splice(in, offset, out, offset, count, flags) */
SEC("fexit/sys_splice")
int logs_splice(unsigned long long *ctx)
{
	struct pt_regs___x64 *x = (void *)ctx[0];
	struct pt_regs___arm64 *a = (void *)ctx[0];
	__u32 out;

	if (bpf_core_field_exists(x->dx))
		out = x->dx;
	else
		out = a->user_regs.regs[2];
	return moved(ctx, out, EYAS_LOGS_SPLICE);
}

#endif
