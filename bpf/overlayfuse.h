/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The same for fuse-overlayfs, which engines use where they may not mount overlays:
 * programs on functions of fuse.ko. Its rows have depth 0. What it copies up is known
 * to its daemon alone. Other FUSE file systems are left out.
 */
#ifndef EYAS_OVERLAYFUSE_H
#define EYAS_OVERLAYFUSE_H

#define FUSE_DEPTH 0

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block___fuse {
	const char *s_subtype; /* as after the dot in mountinfo */
};

#pragma clang attribute pop

static __always_inline bool is_overlayfs(struct super_block *sb)
{
	const char *subtype = ((struct super_block___fuse *)sb)->s_subtype;
	struct uid_gid_extent *three;
	union {
		char text[16];
		__u32 words[4];
	} name = {};

	if (casts) {
		/* A cast wants a type of the kernel: this one is three words. */
		three = bpf_rdonly_cast(subtype, bpf_core_type_id_kernel(struct uid_gid_extent));
		name.words[0] = three->first;
		name.words[1] = three->lower_first;
		name.words[2] = three->count;
		three =
		    bpf_rdonly_cast(subtype + 12, bpf_core_type_id_kernel(struct uid_gid_extent));
		name.words[3] = three->first;
	} else {
		bpf_probe_read_kernel_str(name.text, sizeof(name.text), subtype);
	}
	return __builtin_memcmp(name.text, "fuse-overlayfs", sizeof("fuse-overlayfs")) == 0;
}

/* The task of a call on a file of fuse-overlayfs when it is to be counted. */
static __always_inline struct task_struct *fuse_caller(__u32 program, struct super_block *sb)
{
	struct task_struct *task = caller(program);

	return task && is_overlayfs(sb) ? task : NULL;
}

SEC("fentry/fuse_file_read_iter")
int overlay_fuse_read_start(unsigned long long *ctx)
{
	struct kiocb *iocb = (void *)ctx[0];
	struct task_struct *task =
	    fuse_caller(EYAS_OVERLAY_FUSE_READ_START, iocb->ki_filp->f_inode->i_sb);
	struct under_way *w;

	if (task && (w = begin(task)))
		w->read[FUSE_DEPTH] = bpf_ktime_get_ns();
	return 0;
}

SEC("fentry/fuse_file_write_iter")
int overlay_fuse_write_start(unsigned long long *ctx)
{
	struct kiocb *iocb = (void *)ctx[0];
	struct task_struct *task =
	    fuse_caller(EYAS_OVERLAY_FUSE_WRITE_START, iocb->ki_filp->f_inode->i_sb);
	struct under_way *w;

	if (task && (w = begin(task)))
		w->write[FUSE_DEPTH] = bpf_ktime_get_ns();
	return 0;
}

/* Counts the end of a read or a write. */
#define FUSE_IO(program, way, calls, bytes)                            \
	do {                                                           \
		struct kiocb *iocb = (void *)ctx[0];                   \
		struct super_block *sb = iocb->ki_filp->f_inode->i_sb; \
		struct task_struct *task = fuse_caller(program, sb);   \
		struct eyas_overlay *row;                              \
		struct under_way *w;                                   \
		__u64 since = 0;                                       \
		long ret;                                              \
                                                                       \
		if (!task)                                             \
			return 0;                                      \
		w = under_way(task);                                   \
		if (w)                                                 \
			since = taken(&w->way[FUSE_DEPTH]);            \
		ret = result(ctx);                                     \
		if (ret < 0 && ret != -EIOCBQUEUED)                    \
			return 0;                                      \
		row = row_at(task, sb, FUSE_DEPTH, program);           \
		if (!row)                                              \
			return 0;                                      \
		if (ret < 0)                                           \
			ADD(row->queued, 1);                           \
		else                                                   \
			ADD(row->bytes, ret);                          \
		observe(&row->calls, ret < 0 ? 0 : since);             \
		return 0;                                              \
	} while (0)

SEC("fexit/fuse_file_read_iter")
int overlay_fuse_read(unsigned long long *ctx)
{
	FUSE_IO(EYAS_OVERLAY_FUSE_READ, read, reads, read_bytes);
}

SEC("fexit/fuse_file_write_iter")
int overlay_fuse_write(unsigned long long *ctx)
{
	FUSE_IO(EYAS_OVERLAY_FUSE_WRITE, write, writes, write_bytes);
}

/* Since 6.9; from 6.5 to then splices from FUSE are not seen, and before they are
 * reads. */
SEC("fexit/fuse_splice_read")
int overlay_fuse_splice_read(unsigned long long *ctx)
{
	struct file *in = (void *)ctx[0];
	struct super_block *sb = in->f_inode->i_sb;
	struct task_struct *task = fuse_caller(EYAS_OVERLAY_FUSE_SPLICE_READ, sb);
	struct eyas_overlay *row;
	long ret;

	if (!task || (ret = result(ctx)) < 0)
		return 0;
	row = row_at(task, sb, FUSE_DEPTH, EYAS_OVERLAY_FUSE_SPLICE_READ);
	if (row) {
		ADD(row->splice_reads, 1);
		ADD(row->splice_read_bytes, ret);
	}
	return 0;
}

SEC("fexit/fuse_file_mmap")
int overlay_fuse_mmap(unsigned long long *ctx)
{
	struct file *file = (void *)ctx[0];
	struct super_block *sb = file->f_inode->i_sb;
	struct task_struct *task = fuse_caller(EYAS_OVERLAY_FUSE_MMAP, sb);
	struct eyas_overlay *row;

	if (!task || failed(ctx))
		return 0;
	row = row_at(task, sb, FUSE_DEPTH, EYAS_OVERLAY_FUSE_MMAP);
	if (row)
		ADD(row->mmaps, 1);
	return 0;
}

SEC("fexit/fuse_open")
int overlay_fuse_open(unsigned long long *ctx)
{
	struct inode *inode = (void *)ctx[0];
	struct super_block *sb = inode->i_sb;
	struct task_struct *task = fuse_caller(EYAS_OVERLAY_FUSE_OPEN, sb);
	struct eyas_overlay *row;

	if (!task || failed(ctx))
		return 0;
	row = row_at(task, sb, FUSE_DEPTH, EYAS_OVERLAY_FUSE_OPEN);
	if (row)
		ADD(row->opens, 1);
	return 0;
}

#endif
