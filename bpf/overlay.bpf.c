// clang-format off
//go:build ignore
// clang-format on

/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the layered file system does for nested containers: programs on
 * functions of overlay.ko. I/O on other file systems does not pass here and
 * costs nothing. Host processes are filtered out first.
 *
 * What is not covered: the bytes that a mapping reads and writes (the kernel maps the
 * real file; its faults are counted), the bytes of asynchronous I/O, and calls that failed.
 */
#include "kernel.h"
#include "fs.h"
#include "wire.h"
#include "overlay.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "who.h"

/* One row per (container, cgroup, overlay) that had I/O. Rows are 576 bytes and
 * made on demand; user space takes those that rest. Not per CPU: on a node of
 * 128 CPUs a row would have 72 KB. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct eyas_overlay_key);
	__type(value, struct eyas_overlay);
} overlays SEC(".maps");

/* What a task has under way. A read of an overlay upon an overlay is one at each
 * depth. Copy-ups and removals do not nest: an overlay cannot be the upper layer
 * of another. */
#define DEPTHS 4
struct under_way {
	__u64 read[DEPTHS]; /* when it began, 0: none */
	__u64 write[DEPTHS];
	__u64 copy_up;
	__u64 copied; /* bytes */
	__u32 with_data;
	__u32 with_meta;
	__u32 whiteouts;
	__u32 pad;
};
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct under_way);
} doing SEC(".maps");

/* Storage of tasks costs a few loads and dies with the task, but since 6.19 the
 * kernel cannot allocate it on CPUs that lack a 128-bit compare-and-swap. There,
 * rows by pid stand in for it, of which the least recently used fall out. */
const volatile bool has_storage = true;
/* The kernel has bpf_rdonly_cast (6.2), whose pointers a locked down one, too, lets
 * programs read. */
const volatile bool casts = true;
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct under_way);
} doing_by_pid SEC(".maps");

/* Whether a program has run, before any filter: for the self-test. */
volatile __u8 seen[EYAS_OVERLAY_PROGRAMS];
/* Calls that found no room in the map. */
__u64 lost[EYAS_OVERLAY_PROGRAMS];

const enum eyas_overlay_program *unused_program __attribute__((unused));

#define ADD(field, n) __sync_fetch_and_add(&(field), (n))

static __always_inline long result(void *ctx)
{
	__u64 ret = 0;

	bpf_get_func_ret(ctx, &ret);
	return ret;
}

/* Functions that return an int leave the upper half undefined. */
static __always_inline bool failed(void *ctx)
{
	return (int)result(ctx) != 0;
}

/* The task of the call when it is to be counted. */
static __always_inline struct task_struct *caller(__u32 program)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (!seen[program])
		seen[program] = 1;
	return nested(task) ? task : NULL;
}

static __noinline struct eyas_overlay *row_by(struct task_struct *task, __u32 dev, __u32 depth,
					      __u32 program)
{
	struct eyas_overlay_key key = {};
	struct eyas_overlay *row;
	static const struct eyas_overlay zero;

	key_of(task, &key.who);
	key.dev = dev;
	key.depth = depth;
	row = bpf_map_lookup_elem(&overlays, &key);
	if (row)
		return row;
	bpf_map_update_elem(&overlays, &key, &zero, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&overlays, &key);
	if (!row && program < EYAS_OVERLAY_PROGRAMS)
		ADD(lost[program], 1);
	return row;
}

static __always_inline struct eyas_overlay *row_at(struct task_struct *task, struct super_block *sb,
						   __u32 depth, __u32 program)
{
	return row_by(task, sb->s_dev, depth, program);
}

static __always_inline struct eyas_overlay *row_of(struct task_struct *task, struct super_block *sb,
						   __u32 program)
{
	return row_at(task, sb, sb->s_stack_depth, program);
}

static __always_inline struct under_way *under_way(struct task_struct *task)
{
	__u64 id;

	if (has_storage)
		return bpf_task_storage_get(&doing, task, NULL, 0);
	id = bpf_get_current_pid_tgid();
	return bpf_map_lookup_elem(&doing_by_pid, &id);
}

static __always_inline struct under_way *begin(struct task_struct *task)
{
	static const struct under_way nothing;
	struct under_way *w;
	__u64 id;

	if (has_storage)
		return bpf_task_storage_get(&doing, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	w = under_way(task);
	if (w)
		return w;
	id = bpf_get_current_pid_tgid();
	bpf_map_update_elem(&doing_by_pid, &id, &nothing, BPF_NOEXIST);
	return under_way(task);
}

/* since is when the call began, 0 when that is not known. */
static __always_inline void observe(struct eyas_histogram *h, __u64 since)
{
	__u64 ns;
	__u32 i = 0;

	if (!since) {
		ADD(h->untimed, 1);
		return;
	}
	ns = bpf_ktime_get_ns() - since;
#pragma unroll
	for (int b = 0; b < EYAS_BOUNDS; b++)
		i += ns > 1024ULL << (2 * b);
	if (i < EYAS_BUCKETS)
		ADD(h->bucket[i], 1);
	ADD(h->sum, ns);
}

/* Takes a start out of a slot. */
static __always_inline __u64 taken(__u64 *slot)
{
	__u64 since = *slot;

	*slot = 0;
	return since;
}

static __always_inline __u32 depth_of(struct super_block *sb)
{
	return sb->s_stack_depth & (DEPTHS - 1);
}

SEC("fentry/ovl_read_iter")
int overlay_read_start(unsigned long long *ctx)
{
	struct kiocb *iocb = (void *)ctx[0];
	struct task_struct *task = caller(EYAS_OVERLAY_READ_START);
	struct under_way *w;

	if (task && (w = begin(task)))
		w->read[depth_of(iocb->ki_filp->f_inode->i_sb)] = bpf_ktime_get_ns();
	return 0;
}

SEC("fexit/ovl_read_iter")
int overlay_read(unsigned long long *ctx)
{
	struct kiocb *iocb = (void *)ctx[0];
	struct task_struct *task = caller(EYAS_OVERLAY_READ);
	struct super_block *sb;
	struct eyas_overlay *row;
	struct under_way *w;
	__u64 since = 0;
	long ret;

	if (!task)
		return 0;
	sb = iocb->ki_filp->f_inode->i_sb;
	w = under_way(task);
	if (w)
		since = taken(&w->read[depth_of(sb)]);
	ret = result(ctx);
	if (ret < 0 && ret != -EIOCBQUEUED)
		return 0;
	row = row_of(task, sb, EYAS_OVERLAY_READ);
	if (!row)
		return 0;
	if (ret < 0)
		ADD(row->queued, 1);
	else
		ADD(row->read_bytes, ret);
	observe(&row->reads, ret < 0 ? 0 : since);
	return 0;
}

SEC("fentry/ovl_write_iter")
int overlay_write_start(unsigned long long *ctx)
{
	struct kiocb *iocb = (void *)ctx[0];
	struct task_struct *task = caller(EYAS_OVERLAY_WRITE_START);
	struct under_way *w;

	if (task && (w = begin(task)))
		w->write[depth_of(iocb->ki_filp->f_inode->i_sb)] = bpf_ktime_get_ns();
	return 0;
}

SEC("fexit/ovl_write_iter")
int overlay_write(unsigned long long *ctx)
{
	struct kiocb *iocb = (void *)ctx[0];
	struct task_struct *task = caller(EYAS_OVERLAY_WRITE);
	struct super_block *sb;
	struct eyas_overlay *row;
	struct under_way *w;
	__u64 since = 0;
	long ret;

	if (!task)
		return 0;
	sb = iocb->ki_filp->f_inode->i_sb;
	w = under_way(task);
	if (w)
		since = taken(&w->write[depth_of(sb)]);
	ret = result(ctx);
	if (ret < 0 && ret != -EIOCBQUEUED)
		return 0;
	row = row_of(task, sb, EYAS_OVERLAY_WRITE);
	if (!row)
		return 0;
	if (ret < 0)
		ADD(row->queued, 1);
	else
		ADD(row->write_bytes, ret);
	observe(&row->writes, ret < 0 ? 0 : since);
	return 0;
}

/* Counts a call that returns bytes. */
#define COUNT_BYTES(program, sb, calls, bytes)              \
	do {                                                \
		struct task_struct *task = caller(program); \
		struct eyas_overlay *row;                   \
		long ret;                                   \
                                                            \
		if (!task || (ret = result(ctx)) < 0)       \
			return 0;                           \
		row = row_of(task, sb, program);            \
		if (row) {                                  \
			ADD(row->calls, 1);                 \
			ADD(row->bytes, ret);               \
		}                                           \
		return 0;                                   \
	} while (0)

/* Counts a call that returns 0 when it succeeds. */
#define COUNT(program, sb, calls)                           \
	do {                                                \
		struct task_struct *task = caller(program); \
		struct eyas_overlay *row;                   \
                                                            \
		if (!task || failed(ctx))                   \
			return 0;                           \
		row = row_of(task, sb, program);            \
		if (row)                                    \
			ADD(row->calls, 1);                 \
		return 0;                                   \
	} while (0)

/* Before 6.5 a splice from an overlay is a read. */
SEC("fexit/ovl_splice_read")
int overlay_splice_read(unsigned long long *ctx)
{
	struct file *in = (void *)ctx[0];

	COUNT_BYTES(EYAS_OVERLAY_SPLICE_READ, in->f_inode->i_sb, splice_reads, splice_read_bytes);
}

SEC("fexit/ovl_splice_write")
int overlay_splice_write(unsigned long long *ctx)
{
	struct file *out = (void *)ctx[1];

	COUNT_BYTES(EYAS_OVERLAY_SPLICE_WRITE, out->f_inode->i_sb, splice_writes,
		    splice_write_bytes);
}

SEC("fexit/ovl_copy_file_range")
int overlay_copy_range(unsigned long long *ctx)
{
	struct file *out = (void *)ctx[2];

	COUNT_BYTES(EYAS_OVERLAY_COPY_RANGE, out->f_inode->i_sb, copy_ranges, copy_range_bytes);
}

SEC("fexit/ovl_open")
int overlay_open(unsigned long long *ctx)
{
	struct inode *inode = (void *)ctx[0];

	COUNT(EYAS_OVERLAY_OPEN, inode->i_sb, opens);
}

SEC("fexit/ovl_mmap")
int overlay_mmap(unsigned long long *ctx)
{
	struct file *file = (void *)ctx[0];

	COUNT(EYAS_OVERLAY_MMAP, file->f_inode->i_sb, mmaps);
}

/* A page of a mapping that was not there. Which overlay it is, the mapped file tells,
 * which is one of the layer. File systems without pages of their own (tmpfs) do not get
 * here. */
SEC("fexit/filemap_fault")
int overlay_fault(unsigned long long *ctx)
{
	struct vm_fault *vmf = (void *)ctx[0];
	struct task_struct *task = caller(EYAS_OVERLAY_FAULT);
	struct backing_file *backing = NULL;
	struct super_block *sb;
	struct eyas_overlay *row;
	struct dentry *dentry;
	struct file *file;

	if (!task || (__u32)result(ctx) & VM_FAULT_NONE)
		return 0;
	file = vmf->vma->vm_file;
	dentry = file->f_path.dentry;
	if (casts && bpf_core_field_exists(backing->user_path) && file->f_mode & FMODE_BACKING) {
		backing = bpf_rdonly_cast(file, bpf_core_type_id_kernel(struct backing_file));
		dentry = backing->user_path.dentry;
	}
	sb = dentry->d_sb;
	if (sb->s_magic != OVERLAYFS_SUPER_MAGIC)
		return 0;
	row = row_by(task, sb->s_dev, sb->s_stack_depth, EYAS_OVERLAY_FAULT);
	if (row)
		ADD(row->faults, 1);
	return 0;
}

SEC("fexit/ovl_create_object")
int overlay_create(unsigned long long *ctx)
{
	struct dentry *dentry = (void *)ctx[0];

	COUNT(EYAS_OVERLAY_CREATE, dentry->d_sb, creates);
}

SEC("fentry/ovl_do_remove")
int overlay_remove_start(unsigned long long *ctx)
{
	struct task_struct *task = caller(EYAS_OVERLAY_REMOVE_START);
	struct under_way *w;

	if (task && (w = begin(task)))
		w->whiteouts = 0;
	return 0;
}

/* Its dentries are those of the layer: which overlay it is, the removal knows. */
SEC("fexit/ovl_cleanup_and_whiteout")
int overlay_whiteout(unsigned long long *ctx)
{
	struct task_struct *task = caller(EYAS_OVERLAY_WHITEOUT);
	struct under_way *w;

	if (task && !failed(ctx) && (w = under_way(task)))
		w->whiteouts++;
	return 0;
}

SEC("fexit/ovl_do_remove")
int overlay_remove(unsigned long long *ctx)
{
	struct dentry *dentry = (void *)ctx[0];
	struct task_struct *task = caller(EYAS_OVERLAY_REMOVE);
	struct eyas_overlay *row;
	struct under_way *w;

	if (!task || failed(ctx))
		return 0;
	row = row_of(task, dentry->d_sb, EYAS_OVERLAY_REMOVE);
	if (!row)
		return 0;
	ADD(row->removes, 1);
	w = under_way(task);
	if (w && w->whiteouts)
		ADD(row->whiteouts, w->whiteouts);
	return 0;
}

SEC("fentry/ovl_copy_up_one")
int overlay_copy_up_start(unsigned long long *ctx)
{
	struct task_struct *task = caller(EYAS_OVERLAY_COPY_UP_START);
	struct under_way *w;

	if (!task || !(w = begin(task)))
		return 0;
	w->copied = 0;
	w->with_data = w->with_meta = 0;
	w->copy_up = bpf_ktime_get_ns();
	return 0;
}

/* (ofs, dentry, new_file, len), since 6.5 with one more. */
SEC("fexit/ovl_copy_up_file")
int overlay_copy_up_data(unsigned long long *ctx)
{
	__u64 len = ctx[3];
	struct task_struct *task = caller(EYAS_OVERLAY_COPY_UP_DATA);
	struct under_way *w;

	if (!task || failed(ctx) || !(w = under_way(task)))
		return 0;
	w->copied += len;
	w->with_data = 1;
	return 0;
}

SEC("fexit/ovl_copy_up_metadata")
int overlay_copy_up_meta(unsigned long long *ctx)
{
	struct task_struct *task = caller(EYAS_OVERLAY_COPY_UP_META);
	struct under_way *w;

	if (task && !failed(ctx) && (w = under_way(task)))
		w->with_meta = 1;
	return 0;
}

/* Succeeds as well when somebody else was faster and nothing was copied. */
SEC("fexit/ovl_copy_up_one")
int overlay_copy_up(unsigned long long *ctx)
{
	struct dentry *dentry = (void *)ctx[1];
	struct task_struct *task = caller(EYAS_OVERLAY_COPY_UP);
	struct eyas_overlay *row;
	struct under_way *w;
	__u64 since, copied;
	__u32 data, meta;

	if (!task || !(w = under_way(task)))
		return 0;
	since = taken(&w->copy_up);
	copied = taken(&w->copied);
	data = w->with_data;
	meta = w->with_meta;
	w->with_data = w->with_meta = 0;
	if (failed(ctx) || !(data || meta))
		return 0;
	row = row_of(task, dentry->d_sb, EYAS_OVERLAY_COPY_UP);
	if (!row)
		return 0;
	if (data) {
		ADD(row->copy_ups_data, 1);
		ADD(row->copy_up_bytes, copied);
	} else if ((dentry->d_inode->i_mode & S_IFMT) == S_IFREG) {
		ADD(row->copy_ups_metadata, 1);
	} else {
		ADD(row->copy_ups_other, 1);
	}
	observe(&row->copy_ups, since);
	return 0;
}

#include "overlayfuse.h"

/* GPL-2.0 OR Apache-2.0; the kernel knows the former, and some helpers ask for it. */
char LICENSE[] SEC("license") = "GPL";
