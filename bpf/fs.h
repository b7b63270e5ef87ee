/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Files as the overlay programs see them, in the manner of kernel.h.
 */
#ifndef EYAS_FS_H
#define EYAS_FS_H

enum { BPF_MAP_TYPE_TASK_STORAGE = 29 };
enum { BPF_F_NO_PREALLOC = 1 };
enum { BPF_LOCAL_STORAGE_GET_F_CREATE = 1 };

/* include/uapi/linux/stat.h */
#define S_IFMT 0170000
#define S_IFREG 0100000
/* include/linux/errno.h: an asynchronous read or write goes on by itself */
#define EIOCBQUEUED 529
/* include/linux/fs.h */
#define FMODE_BACKING (1 << 24)
/* include/linux/mm_types.h: errors, and that it is tried again */
#define VM_FAULT_NONE 0x0c73
/* include/uapi/linux/magic.h */
#define OVERLAYFS_SUPER_MAGIC 0x794c7630

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block {
	unsigned int s_dev; /* as in mountinfo: major << 20 | minor */
	int s_stack_depth;
	unsigned long s_magic;
};

struct inode {
	unsigned short i_mode;
	struct super_block *i_sb;
};

struct dentry {
	struct inode *d_inode;
	struct super_block *d_sb;
};

struct path {
	struct dentry *dentry;
};

struct file {
	struct inode *f_inode;
	unsigned int f_mode;
	struct path f_path;
};

/* What an overlay has mapped in its stead. Before 6.8 f_path of the file is that of the
 * overlay. */
struct backing_file {
	struct path user_path;
};

struct vm_area_struct {
	struct file *vm_file;
};

struct vm_fault {
	struct vm_area_struct *vma;
};

struct kiocb {
	struct file *ki_filp;
};

#pragma clang attribute pop

#endif
