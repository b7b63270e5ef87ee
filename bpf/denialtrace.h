/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What costs more than denials.bpf.c may, and is only there when somebody asks for
 * it: a program on every system call that a seccomp filter looks at; and, for a
 * while (tracing is set), one at the end of every system call of the node and one
 * on each check of a file's modes. They tell of the calls that have no program of
 * their own, and why a file was refused whose owner is mapped.
 */
#ifndef EYAS_DENIALTRACE_H
#define EYAS_DENIALTRACE_H

/* What tells that a system call was refused, whatever it is. ENOSPC and EDQUOT
 * are of quotas that nobody sees from inside. */
#define REFUSALS (RULES | E(EROFS) | E(ENOSPC) | E(EOVERFLOW) | E(EUSERS) | E(EDQUOT))

/* include/uapi/linux/magic.h, fs/smb/client/cifsfs.h, fs/smb/common/smb2pdu.h */
#define NFS_SUPER_MAGIC 0x6969
#define CIFS_SUPER_MAGIC 0xff534d42
#define SMB2_SUPER_MAGIC 0xfe534d42
#define CEPH_SUPER_MAGIC 0x00c36400
#define V9FS_MAGIC 0x01021997
#define FUSE_SUPER_MAGIC 0x65735546

/* arch/x86/include/asm/thread_info.h */
#define TS_COMPAT 0x0002

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct thread_info___x64 {
	__u32 status;
};

struct task_struct___x64 {
	struct thread_info___x64 thread_info;
};

struct dentry___of {
	struct inode___owned *d_inode;
};

#pragma clang attribute pop

static __always_inline bool compat(struct task_struct *task)
{
	struct task_struct___x64 *x = (void *)task;

	return bpf_core_field_exists(x->thread_info.status) && x->thread_info.status & TS_COMPAT;
}

/* What a system call is about to return, at the end of its filter. */
static __always_inline long returning(struct task_struct *task)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(task);
	struct pt_regs___x64 *x = (void *)regs;
	struct pt_regs___arm64 *a = (void *)regs;

	if (!regs)
		return 0;
	if (bpf_core_field_exists(x->orig_ax))
		return x->ax;
	if (bpf_core_field_exists(a->syscallno))
		return a->user_regs.regs[0];
	return 0;
}

/* __secure_computing() returns -1 when the system call is not to be made, and what
 * it returns to its caller is set. A filter that kills or traps leaves no error.
 * ENOSYS is what newer filters say of calls that they do not know, and what made
 * them is prepared for. */
SEC("fexit/__secure_computing")
int denials_seccomp(unsigned long long *ctx)
{
	struct task_struct *task = caller(EYAS_DENIALS_SECCOMP);
	__u64 id = bpf_get_current_pid_tgid();
	struct failed f = {};
	__s64 error;

	if (!task || (int)result(ctx) != -1 || compat(task))
		return 0;
	error = -returning(task);
	if (error != EPERM && error != EACCES && !(tracing && error == ENOSYS))
		return 0;
	f.syscall = syscall_of(task);
	f.cause = EYAS_CAUSE_SECCOMP;
	f.detail = f.syscall;
	tell(&f, EYAS_DENIALS_SECCOMP, EYAS_DENIED_CALL, error, 0);
	if (tracing) {
		f.told = TOLD_CALL;
		bpf_map_update_elem(&failures, &id, &f, BPF_ANY);
	}
	return 0;
}

/* A file system whose modes are not what decides. */
static __always_inline bool served(unsigned long magic)
{
	switch (magic) {
	case NFS_SUPER_MAGIC:
	case CIFS_SUPER_MAGIC:
	case SMB2_SUPER_MAGIC:
	case CEPH_SUPER_MAGIC:
	case V9FS_MAGIC:
	case FUSE_SUPER_MAGIC:
		return true;
	}
	return false;
}

static __always_inline int refused_inode(struct task_struct *task, void *idmap,
					 struct inode___owned *inode, bool last)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct failed *before = bpf_map_lookup_elem(&failures, &id);
	struct failed f = {};

	/* What is known of the call says more: that the owner is not mapped; and of
	 * a change, which capability it took. */
	if (before && before->syscall == syscall_of(task)) {
		if (before->cause == EYAS_CAUSE_OWNER)
			return 0;
		if (last && before->cause == EYAS_CAUSE_CAPABILITY)
			return 0;
	}
	f.inode = inode->i_ino;
	f.dev = inode->i_sb->s_dev;
	f.mode = inode->i_mode;
	f.proc = inode->i_sb->s_magic == PROC_SUPER_MAGIC;
	owner_of(&f, inode, idmap);
	f.cause = EYAS_CAUSE_MODE;
	if (f.id[0] == (__u32)-1 || f.id[1] == (__u32)-1) {
		f.cause = EYAS_CAUSE_OWNER;
	} else if (served(inode->i_sb->s_magic)) {
		f.cause = EYAS_CAUSE_SERVER;
		f.target = inode->i_sb->s_magic;
	}
	remember(task, &f);
	return 0;
}

/* inode_permission(idmap, inode, mask), of each directory of a path and of what it
 * leads to. */
SEC("fexit/inode_permission")
int denials_mode(unsigned long long *ctx)
{
	void *idmap = (void *)ctx[0];
	struct inode___owned *inode = (void *)ctx[1];
	struct task_struct *task = caller(EYAS_DENIALS_MODE);
	int ret;

	if (!task)
		return 0;
	ret = result(ctx);
	if (ret != -EACCES && ret != -EPERM && ret != -EROFS)
		return 0;
	return refused_inode(task, idmap, inode, false);
}

/* notify_change(idmap, dentry, attr, ...): chmod, chown, truncate, utimes. */
SEC("fexit/notify_change")
int denials_change(unsigned long long *ctx)
{
	void *idmap = (void *)ctx[0];
	struct dentry___of *dentry = (void *)ctx[1];
	struct task_struct *task = caller(EYAS_DENIALS_CHANGE);
	int ret;

	if (!task)
		return 0;
	ret = result(ctx);
	if (ret != -EACCES && ret != -EPERM)
		return 0;
	return refused_inode(task, idmap, dentry->d_inode, true);
}

/* The end of every system call, with what it returns. */
SEC("tp_btf/sys_exit")
int denials_call(unsigned long long *ctx)
{
	long ret = ctx[1];
	struct task_struct *task = caller(EYAS_DENIALS_CALL);
	__u64 id = bpf_get_current_pid_tgid();
	struct failed *known, f = {};
	__u32 error = -ret, third = 0;

	if (!task || !tracing)
		return 0;
	if (ret >= 0 || ret <= -4096 || !(REFUSALS & KNOWN & E(error)) || compat(task))
		goto out;
	f.syscall = syscall_of(task);
	/* As after a signal's handler; or with an error that is no refusal. */
	if (f.syscall < 0 || f.syscall == polling)
		goto out;
	for (int i = 0; i < 4; i++)
		if (f.syscall == asking[i])
			goto out;
	known = bpf_map_lookup_elem(&failures, &id);
	if (known && known->syscall == f.syscall) {
		if (known->told)
			goto out;
		/* No permission is at fault when a file system is full, or read-only. */
		if (RULES & E(error)) {
			f = *known;
			third = known->mode;
		}
	}
	if (error == EOVERFLOW) {
		f.cause = EYAS_CAUSE_ID;
		f.id[0] = f.id[1] = -1;
	}
	if (f.cause == EYAS_CAUSE_OTHER || f.cause == EYAS_CAUSE_ID || f.cause == EYAS_CAUSE_MODE ||
	    f.cause == EYAS_CAUSE_SERVER || f.cause == EYAS_CAUSE_OWNER)
		f.detail = f.syscall;
	else
		f.detail |= f.syscall << EYAS_DENIED_CALL_SHIFT;
	tell(&f, EYAS_DENIALS_CALL, EYAS_DENIED_CALL, error, third);
out:
	bpf_map_delete_elem(&failures, &id);
	return 0;
}

#endif
