// clang-format off
//go:build ignore
// clang-format on

/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What nested processes were refused, and why: programs at the end of system
 * calls that are rare, and of the few checks of the kernel that say why. A
 * failed check is only remembered; that something was refused is told by the
 * call that it is part of. Checks whose failure the kernel shrugs off are thus
 * no refusals. The one exception is access to a file, whose calls are not rare:
 * there the last check is the answer.
 *
 * What is not covered: 32-bit system calls; and, unless denialtrace.h is asked
 * for, calls that a seccomp filter answers, which never get here, and the calls
 * that have no program here.
 */
#include "kernel.h"
#include "fs.h"
#include "wire.h"
#include "denials.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "who.h"
#include "denialtell.h"

/* include/uapi/asm-generic/errno-base.h, errno.h */
enum {
	EPERM = 1,
	EAGAIN = 11,
	EACCES = 13,
	EINVAL = 22,
	EMFILE = 24,
	ENOSPC = 28,
	EROFS = 30,
	ENOSYS = 38,
	EOVERFLOW = 75,
	EUSERS = 87,
	EDQUOT = 122,
};
/* A set of errnos. Of the high ones, those that are a refusal have the bits of
 * some that are none (ENOSTR and the two after it). */
#define E(n)                             \
	(1ULL << ((n) == EOVERFLOW ? 60  \
		  : (n) == EUSERS  ? 61  \
		  : (n) == EDQUOT  ? 62  \
		  : (n) < 60	   ? (n) \
				   : 63))
#define KNOWN (~(1ULL << 63))
#define RULES (E(EPERM) | E(EACCES)) /* what a permission can be refused with */

/* include/uapi/linux/capability.h, include/linux/security.h */
#define CAP_DAC_OVERRIDE 1
#define CAP_DAC_READ_SEARCH 2
#define CAP_PERFMON 38
#define CAP_BPF 39
#define CAP_CHECKPOINT_RESTORE 40
#define CAP_OPT_NOAUDIT 2
/* include/uapi/linux/magic.h, stat.h */
#define PROC_SUPER_MAGIC 0x9fa0
#define S_IFMT 0170000
#define S_IFREG 0100000

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs___x64 {
	unsigned long di, si, dx, r10, r8;
	unsigned long ax, orig_ax;
};

struct user_pt_regs {
	__u64 regs[31];
};

struct pt_regs___arm64 {
	struct user_pt_regs user_regs;
	int syscallno;
};

struct kernel_clone_args {
	__u64 flags;
};

struct super_block___owned {
	__u32 s_dev;
	unsigned long s_magic;
	struct user_namespace *s_user_ns;
};

struct inode___owned {
	unsigned short i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	unsigned long i_ino;
	struct super_block___owned *i_sb;
};

/* How a mount changes owners, since 6.8. */
struct mnt_idmap___maps {
	struct uid_gid_map uid_map;
	struct uid_gid_map gid_map;
};
/* Since 6.2; before it is the user namespace itself. */
struct mnt_idmap___owner {
	struct user_namespace *owner;
};

#pragma clang attribute pop

struct pt_regs;

enum { READING_NO, READING_ASKED, READING };
/* Of a failed check whose refusal is told: as that of access to a file; or of the
 * system call, which is known until it ends when all are traced. */
enum { TOLD_NOT, TOLD_ACCESS, TOLD_CALL };
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, __u64);
	__type(value, struct failed);
} failures SEC(".maps");

/* Numbers of the calls that ask what is allowed: access() and its kin. What they
 * answer is no refusal. */
const volatile __s32 asking[4] = {-1, -1, -1, -1};
/* Of epoll_ctl(), which says of a file that is always ready that it may not (EPERM). */
const volatile __s32 polling = -1;
/* And of execve() and execveat(), which also ask whether the file may be read,
 * and make the process one that nobody may dump when it may not (would_dump). */
const volatile __s32 executing[2] = {-1, -1};

/* Whether every system call is looked at, for a while: see denialtrace.h. */
volatile __u8 tracing;

/* Whether a program has run, before any filter: for the self-test. */
volatile __u8 seen[EYAS_DENIALS_PROGRAMS];
const enum eyas_denial_program *unused_program __attribute__((unused));
const enum eyas_denial_op *unused_op __attribute__((unused));
const enum eyas_denial_cause *unused_cause __attribute__((unused));

static __always_inline struct task_struct *caller(__u32 program)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (!seen[program])
		seen[program] = 1;
	return nested(task) ? task : NULL;
}

static __always_inline long result(void *ctx)
{
	__u64 ret = 0;

	bpf_get_func_ret(ctx, &ret);
	return ret;
}

static __always_inline __s32 syscall_of(struct task_struct *task)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(task);
	struct pt_regs___x64 *x = (void *)regs;
	struct pt_regs___arm64 *a = (void *)regs;

	if (!regs)
		return -1;
	if (bpf_core_field_exists(x->orig_ax))
		return x->orig_ax;
	if (bpf_core_field_exists(a->syscallno))
		return a->syscallno;
	return -1;
}

/* Argument i of a system call, whose function gets the registers. */
static __always_inline __u32 argument(struct pt_regs *regs, int i)
{
	struct pt_regs___x64 *x = (void *)regs;
	struct pt_regs___arm64 *a = (void *)regs;

	if (bpf_core_field_exists(x->di)) {
		switch (i) {
		case 0:
			return x->di;
		case 1:
			return x->si;
		case 2:
			return x->dx;
		case 3:
			return x->r10;
		}
	} else if (bpf_core_field_exists(a->user_regs)) {
		switch (i) {
		case 0:
			return a->user_regs.regs[0];
		case 1:
			return a->user_regs.regs[1];
		case 2:
			return a->user_regs.regs[2];
		case 3:
			return a->user_regs.regs[3];
		}
	}
	return 0;
}

static __always_inline void remember(struct task_struct *task, struct failed *f)
{
	__u64 id = bpf_get_current_pid_tgid();

	f->syscall = syscall_of(task);
	bpf_map_update_elem(&failures, &id, f, BPF_ANY);
}

/* The end of a call that may have been refused. */
struct call {
	long ret;
	__u64 errors; /* what a refusal returns, by E() */
	__u32 program;
	__u32 op;
	__u32 without; /* the cause if no check is known to have failed */
	__u32 id[3];
};

static __noinline int ended(struct call *c)
{
	bool said = false;

	struct task_struct *task = bpf_get_current_task_btf();
	__u64 id = bpf_get_current_pid_tgid();
	struct failed *known = bpf_map_lookup_elem(&failures, &id);
	struct failed f = {};
	__u32 error, third;
	bool refused;

	if (!c)
		return 0;
	error = -c->ret;
	refused = c->ret < 0 && c->ret > -4096;
	if (!refused || !(c->errors & KNOWN & E(error)))
		goto out;
	third = c->id[2];
	f.syscall = syscall_of(task);
	f.cause = c->without;
	f.id[0] = c->id[0];
	f.id[1] = c->id[1];
	if (known && known->syscall == f.syscall && known->told != TOLD_CALL) {
		if (known->told && error == EACCES) {
			said = true;
			goto out;
		}
		/* A limit is no matter of permissions, nor is an id. */
		if (f.cause == EYAS_CAUSE_OTHER || known->cause == EYAS_CAUSE_UCOUNT ||
		    known->cause == EYAS_CAUSE_PIDS) {
			f.cause = known->cause;
			f.detail = known->detail;
			f.target = known->target;
			f.target_level = known->target_level;
		}
		if (f.cause == EYAS_CAUSE_OWNER || f.cause == EYAS_CAUSE_MODE ||
		    f.cause == EYAS_CAUSE_SERVER) {
			f.id[0] = known->id[0];
			f.id[1] = known->id[1];
			f.inode = known->inode;
			f.dev = known->dev;
			third = known->mode;
		}
	}
	tell(&f, c->program, c->op, error, third);
	said = true;
out:
	if (tracing && refused) {
		/* The end of the system call is still to come, and wants to know. */
		if (said) {
			f.syscall = syscall_of(task);
			f.told = TOLD_CALL;
			bpf_map_update_elem(&failures, &id, &f, BPF_ANY);
		}
		return 0;
	}
	if (known)
		bpf_map_delete_elem(&failures, &id);
	return 0;
}

/* cap_capable(cred, ns, cap, opts) */
SEC("fexit/cap_capable")
int denials_capable(unsigned long long *ctx)
{
	struct user_namespace *target = (void *)ctx[1];
	int cap = ctx[2];
	unsigned int opts = ctx[3];
	struct task_struct *task = caller(EYAS_DENIALS_CAPABLE);
	struct failed f = {}, *before;
	__u64 id = bpf_get_current_pid_tgid();

	if (!task || opts & CAP_OPT_NOAUDIT || !(int)result(ctx))
		return 0;
	/* The capabilities that were once a part of CAP_SYS_ADMIN are asked for
	 * first, and it after them: theirs is the name to tell. */
	before = cap == CAP_SYS_ADMIN ? bpf_map_lookup_elem(&failures, &id) : NULL;
	if (before && before->cause == EYAS_CAUSE_CAPABILITY && before->target == target->ns.inum &&
	    before->detail >= CAP_PERFMON && before->detail <= CAP_CHECKPOINT_RESTORE &&
	    before->syscall == syscall_of(task))
		return 0;
	f.cause = EYAS_CAUSE_CAPABILITY;
	f.detail = cap;
	f.target = target->ns.inum;
	f.target_level = target->level;
	remember(task, &f);
	return 0;
}

/* What an id of a file system is through a mount: as it is, if the mount has no
 * map. One that the map does not have is nobody's. */
static __always_inline __u32 through(struct uid_gid_map *map, __u32 id)
{
	__u32 nr = map->nr_extents;

	if (nr == 0 || nr > 5)
		return id; /* none; or more than can be read here */
#define EXTENT(i)                                                         \
	if (nr > (i) && id - map->extent[i].first < map->extent[i].count) \
		return map->extent[i].lower_first + (id - map->extent[i].first);
	EXTENT(0)
	EXTENT(1)
	EXTENT(2)
	EXTENT(3)
	EXTENT(4)
#undef EXTENT
	return -1;
}

/* The owner of a file as the mount shows it. idmap is what the kernel passes. */
static __always_inline void owner_of(struct failed *f, struct inode___owned *inode, void *idmap)
{
	f->id[0] = inode->i_uid.val;
	f->id[1] = inode->i_gid.val;
	if (!idmap || inode->i_sb->s_user_ns->level > 0)
		return;
	if (bpf_core_field_exists(((struct mnt_idmap___maps *)0)->uid_map)) {
		struct mnt_idmap___maps *m = idmap;

		f->id[0] = through(&m->uid_map, f->id[0]);
		f->id[1] = through(&m->gid_map, f->id[1]);
	} else {
		struct user_namespace *ns = idmap;

		if (bpf_core_field_exists(((struct mnt_idmap___owner *)0)->owner))
			ns = ((struct mnt_idmap___owner *)idmap)->owner;
		if (ns->level == 0)
			return; /* the mount has no map */
		f->id[0] = through(&ns->uid_map, f->id[0]);
		f->id[1] = through(&ns->gid_map, f->id[1]);
	}
}

/* privileged_wrt_inode_uidgid(ns, idmap, inode): no capability helps with files
 * of ids that the user namespace does not map. */
SEC("fexit/privileged_wrt_inode_uidgid")
int denials_owner(unsigned long long *ctx)
{
	struct user_namespace *ns = (void *)ctx[0];
	void *idmap = (void *)ctx[1];
	struct inode___owned *inode = (void *)ctx[2];
	struct task_struct *task = caller(EYAS_DENIALS_OWNER);
	__u64 id = bpf_get_current_pid_tgid();
	struct failed f = {}, *before;

	if (!task || (__u8)result(ctx))
		return 0;
	f.cause = EYAS_CAUSE_OWNER;
	f.target = ns->ns.inum;
	f.target_level = ns->level;
	f.inode = inode->i_ino;
	f.dev = inode->i_sb->s_dev;
	f.mode = inode->i_mode;
	f.proc = inode->i_sb->s_magic == PROC_SUPER_MAGIC;
	owner_of(&f, inode, idmap);
	before = bpf_map_lookup_elem(&failures, &id);
	if (before && before->reading == READING_ASKED && before->cause == EYAS_CAUSE_OWNER &&
	    before->inode == f.inode && before->dev == f.dev && before->syscall == syscall_of(task))
		f.reading = READING;
	remember(task, &f);
	return 0;
}

/* Whether a failed check of access to a file is the end of it. */
static __always_inline bool final(struct failed *f)
{
	/* procfs lets a process at its own descriptors and threads all the same. */
	if (f->proc)
		return false;
	for (int i = 0; i < 4; i++)
		if (f->syscall == asking[i])
			return false;
	for (int i = 0; i < 2; i++)
		if (f->syscall == executing[i] && f->reading == READING &&
		    (f->mode & S_IFMT) == S_IFREG)
			return false;
	return true;
}

/* capable_wrt_inode_uidgid(idmap, inode, cap): CAP_DAC_OVERRIDE is asked for when
 * modes and ACLs have refused, and is the last resort; to read, or to search a
 * directory, CAP_DAC_READ_SEARCH is asked for before it. That a user may not what
 * an owner may is no news; that the owner is not mapped is. */
SEC("fexit/capable_wrt_inode_uidgid")
int denials_access(unsigned long long *ctx)
{
	int cap = ctx[2];
	struct task_struct *task = caller(EYAS_DENIALS_ACCESS);
	__u64 id = bpf_get_current_pid_tgid();
	struct failed *f, copy;

	if (!task || (cap != CAP_DAC_OVERRIDE && cap != CAP_DAC_READ_SEARCH) || (__u8)result(ctx))
		return 0;
	f = bpf_map_lookup_elem(&failures, &id);
	if (!f || f->cause != EYAS_CAUSE_OWNER || f->syscall != syscall_of(task) || f->told)
		return 0;
	if (cap == CAP_DAC_READ_SEARCH) {
		f->reading = READING_ASKED;
		return 0;
	}
	if (!final(f))
		return 0;
	f->told = TOLD_ACCESS;
	copy = *f;
	return tell(&copy, EYAS_DENIALS_ACCESS, EYAS_DENIED_ACCESS, EACCES, 0);
}

/* inc_ucount(ns, uid, type) returns NULL at a limit; which user namespace's, it
 * does not say: this one's or one above. */
SEC("fexit/inc_ucount")
int denials_ucount(unsigned long long *ctx)
{
	struct user_namespace *ns = (void *)ctx[0];
	__u32 type = ctx[2];
	struct task_struct *task = caller(EYAS_DENIALS_UCOUNT);
	struct failed f = {};

	if (!task || result(ctx))
		return 0;
	f.cause = EYAS_CAUSE_UCOUNT;
	f.detail = type;
	f.target = ns->ns.inum;
	f.target_level = ns->level;
	remember(task, &f);
	return 0;
}

SEC("fexit/pids_can_fork")
int denials_pids(unsigned long long *ctx)
{
	struct task_struct *task = caller(EYAS_DENIALS_PIDS);
	struct failed f = {};

	if (!task || !(int)result(ctx))
		return 0;
	f.cause = EYAS_CAUSE_PIDS;
	remember(task, &f);
	return 0;
}

SEC("fexit/kernel_clone")
int denials_fork(unsigned long long *ctx)
{
	struct kernel_clone_args *args = (void *)ctx[0];
	long ret;

	if (!caller(EYAS_DENIALS_FORK))
		return 0;
	ret = (int)result(ctx);
	if (ret >= 0)
		return 0; /* the usual: what failed before is forgotten with the next call */
	struct call c = {
	    .ret = ret,
	    .errors = RULES | E(EAGAIN) | E(ENOSPC) | E(EUSERS),
	    .program = EYAS_DENIALS_FORK,
	    .op = EYAS_DENIED_FORK,
	    .without = ret == -EAGAIN ? EYAS_CAUSE_PROCESSES : EYAS_CAUSE_OTHER,
	    .id = {args->flags},
	};
	return ended(&c);
}

/* The end of a system call. */
#define SYSCALL(name, call_, program_, op_, errors_, without_, id0, id1)       \
	SEC("fexit/" call_)                                                    \
	int denials_##name(unsigned long long *ctx)                            \
	{                                                                      \
		struct pt_regs *regs __attribute__((unused)) = (void *)ctx[0]; \
                                                                               \
		if (!caller(program_))                                         \
			return 0;                                              \
		long ret = result(ctx);                                        \
		struct call c = {                                              \
		    .ret = ret,                                                \
		    .errors = errors_,                                         \
		    .program = program_,                                       \
		    .op = op_,                                                 \
		    .without = without_,                                       \
		    .id = {id0, id1},                                          \
		};                                                             \
		return ended(&c);                                              \
	}
#define ARG(i) argument(regs, i)
#define PLAIN(name, call, program, op) \
	SYSCALL(name, call, program, op, RULES, EYAS_CAUSE_OTHER, 0, 0)
/* Calls that take ids of the caller's user namespace. */
#define IDS(name, call, program, op, id0, id1)                             \
	SYSCALL(name, call, program, op, RULES | E(EINVAL) | E(EOVERFLOW), \
		ret == -EINVAL ? EYAS_CAUSE_ID : EYAS_CAUSE_OTHER, id0, id1)
/* Calls that make files, which belong to the caller. */
#define MAKES(name, call, program, op)                         \
	SYSCALL(name, call, program, op, RULES | E(EOVERFLOW), \
		ret == -EOVERFLOW ? EYAS_CAUSE_ID : EYAS_CAUSE_OTHER, -1, -1)

SYSCALL(unshare, "sys_unshare", EYAS_DENIALS_UNSHARE, EYAS_DENIED_UNSHARE,
	RULES | E(ENOSPC) | E(EUSERS), EYAS_CAUSE_OTHER, ARG(0), 0)
SYSCALL(setns, "sys_setns", EYAS_DENIALS_SETNS, EYAS_DENIED_SETNS, RULES, EYAS_CAUSE_OTHER, ARG(1),
	0)
PLAIN(mount, "sys_mount", EYAS_DENIALS_MOUNT, EYAS_DENIED_MOUNT)
PLAIN(fsmount, "sys_fsmount", EYAS_DENIALS_FSMOUNT, EYAS_DENIED_MOUNT)
PLAIN(fsconfig, "sys_fsconfig", EYAS_DENIALS_FSCONFIG, EYAS_DENIED_MOUNT)
PLAIN(fsopen, "sys_fsopen", EYAS_DENIALS_FSOPEN, EYAS_DENIED_MOUNT)
PLAIN(move_mount, "sys_move_mount", EYAS_DENIALS_MOVE_MOUNT, EYAS_DENIED_MOUNT)
PLAIN(open_tree, "sys_open_tree", EYAS_DENIALS_OPEN_TREE, EYAS_DENIED_MOUNT)
PLAIN(mount_setattr, "sys_mount_setattr", EYAS_DENIALS_MOUNT_SETATTR, EYAS_DENIED_MOUNT)
PLAIN(pivot_root, "sys_pivot_root", EYAS_DENIALS_PIVOT_ROOT, EYAS_DENIED_MOUNT)
PLAIN(umount, "sys_umount", EYAS_DENIALS_UMOUNT, EYAS_DENIED_UMOUNT)
IDS(chown, "sys_chown", EYAS_DENIALS_CHOWN, EYAS_DENIED_CHOWN, ARG(1), ARG(2))
IDS(lchown, "sys_lchown", EYAS_DENIALS_LCHOWN, EYAS_DENIED_CHOWN, ARG(1), ARG(2))
IDS(fchown, "sys_fchown", EYAS_DENIALS_FCHOWN, EYAS_DENIED_CHOWN, ARG(1), ARG(2))
IDS(fchownat, "sys_fchownat", EYAS_DENIALS_FCHOWNAT, EYAS_DENIED_CHOWN, ARG(2), ARG(3))
PLAIN(chmod, "sys_chmod", EYAS_DENIALS_CHMOD, EYAS_DENIED_CHMOD)
PLAIN(fchmod, "sys_fchmod", EYAS_DENIALS_FCHMOD, EYAS_DENIED_CHMOD)
PLAIN(fchmodat, "sys_fchmodat", EYAS_DENIALS_FCHMODAT, EYAS_DENIED_CHMOD)
/* Not the system calls of these: 6.1 has two functions of their name, one for
 * kernels without them, and a program can only be on a name that is unique. */
#define SET_IDS(name, function, program_, op_, id0, id1, id2)                     \
	SEC("fexit/" function)                                                    \
	int denials_##name(unsigned long long *ctx)                               \
	{                                                                         \
		__u32 first = id0, second = id1, third = id2;                     \
                                                                                  \
		if (!caller(program_))                                            \
			return 0;                                                 \
		long ret = result(ctx);                                           \
		struct call c = {                                                 \
		    .ret = ret,                                                   \
		    .errors = RULES | E(EINVAL),                                  \
		    .program = program_,                                          \
		    .op = op_,                                                    \
		    .without = ret == -EINVAL ? EYAS_CAUSE_ID : EYAS_CAUSE_OTHER, \
		    .id = {first, second, third},                                 \
		};                                                                \
		return ended(&c);                                                 \
	}
SET_IDS(setuid, "__sys_setuid", EYAS_DENIALS_SETUID, EYAS_DENIED_SETUID, ctx[0], -1, -1)
SET_IDS(setreuid, "__sys_setreuid", EYAS_DENIALS_SETREUID, EYAS_DENIED_SETUID, ctx[0], ctx[1], -1)
SET_IDS(setresuid, "__sys_setresuid", EYAS_DENIALS_SETRESUID, EYAS_DENIED_SETUID, ctx[0], ctx[1],
	ctx[2])
SET_IDS(setgid, "__sys_setgid", EYAS_DENIALS_SETGID, EYAS_DENIED_SETGID, ctx[0], -1, -1)
SET_IDS(setregid, "__sys_setregid", EYAS_DENIALS_SETREGID, EYAS_DENIED_SETGID, ctx[0], ctx[1], -1)
SET_IDS(setresgid, "__sys_setresgid", EYAS_DENIALS_SETRESGID, EYAS_DENIED_SETGID, ctx[0], ctx[1],
	ctx[2])

IDS(setgroups, "sys_setgroups", EYAS_DENIALS_SETGROUPS, EYAS_DENIED_SETGROUPS, -1, -1)
MAKES(mknod, "sys_mknod", EYAS_DENIALS_MKNOD, EYAS_DENIED_MKNOD)
MAKES(mknodat, "sys_mknodat", EYAS_DENIALS_MKNODAT, EYAS_DENIED_MKNOD)
PLAIN(sethostname, "sys_sethostname", EYAS_DENIALS_SETHOSTNAME, EYAS_DENIED_HOSTNAME)
PLAIN(setdomainname, "sys_setdomainname", EYAS_DENIALS_SETDOMAINNAME, EYAS_DENIED_HOSTNAME)
PLAIN(chroot, "sys_chroot", EYAS_DENIALS_CHROOT, EYAS_DENIED_CHROOT)
PLAIN(ptrace, "sys_ptrace", EYAS_DENIALS_PTRACE, EYAS_DENIED_PTRACE)
/* EACCES is what the verifier says of a program. */
SYSCALL(bpf, "sys_bpf", EYAS_DENIALS_BPF, EYAS_DENIED_BPF, E(EPERM), EYAS_CAUSE_OTHER, 0, 0)
PLAIN(perf, "sys_perf_event_open", EYAS_DENIALS_PERF, EYAS_DENIED_PERF)
SYSCALL(add_key, "sys_add_key", EYAS_DENIALS_ADD_KEY, EYAS_DENIED_KEY, RULES | E(EDQUOT),
	ret == -EDQUOT ? EYAS_CAUSE_KEYS : EYAS_CAUSE_OTHER, 0, 0)
SYSCALL(keyctl, "sys_keyctl", EYAS_DENIALS_KEYCTL, EYAS_DENIED_KEY, RULES | E(EDQUOT),
	ret == -EDQUOT ? EYAS_CAUSE_KEYS : EYAS_CAUSE_OTHER, ARG(0), 0)
SYSCALL(inotify_init, "sys_inotify_init", EYAS_DENIALS_INOTIFY_INIT, EYAS_DENIED_INOTIFY, E(EMFILE),
	EYAS_CAUSE_OTHER, 0, 0)
SYSCALL(inotify_init1, "sys_inotify_init1", EYAS_DENIALS_INOTIFY_INIT1, EYAS_DENIED_INOTIFY,
	E(EMFILE), EYAS_CAUSE_OTHER, 0, 0)
SYSCALL(inotify_watch, "sys_inotify_add_watch", EYAS_DENIALS_INOTIFY_WATCH, EYAS_DENIED_INOTIFY,
	E(ENOSPC), EYAS_CAUSE_OTHER, 0, 0)
SYSCALL(prlimit, "sys_prlimit64", EYAS_DENIALS_PRLIMIT, EYAS_DENIED_RLIMIT, RULES, EYAS_CAUSE_OTHER,
	ARG(1), 0)
PLAIN(setpriority, "sys_setpriority", EYAS_DENIALS_SETPRIORITY, EYAS_DENIED_PRIORITY)
PLAIN(setscheduler, "sys_sched_setscheduler", EYAS_DENIALS_SETSCHEDULER, EYAS_DENIED_PRIORITY)
PLAIN(setattr, "sys_sched_setattr", EYAS_DENIALS_SETATTR, EYAS_DENIED_PRIORITY)
PLAIN(init_module, "sys_init_module", EYAS_DENIALS_INIT_MODULE, EYAS_DENIED_MODULE)
PLAIN(finit_module, "sys_finit_module", EYAS_DENIALS_FINIT_MODULE, EYAS_DENIED_MODULE)
PLAIN(settime, "sys_clock_settime", EYAS_DENIALS_SETTIME, EYAS_DENIED_CLOCK)
PLAIN(setxattr, "sys_setxattr", EYAS_DENIALS_SETXATTR, EYAS_DENIED_XATTR)
PLAIN(lsetxattr, "sys_lsetxattr", EYAS_DENIALS_LSETXATTR, EYAS_DENIED_XATTR)
PLAIN(fsetxattr, "sys_fsetxattr", EYAS_DENIALS_FSETXATTR, EYAS_DENIED_XATTR)

/* Writes to /proc/PID/uid_map and its kin: (file, buf, size, ppos). */
#define MAP_WRITE(name, function, program_, op_)    \
	SEC("fexit/" function)                      \
	int denials_##name(unsigned long long *ctx) \
	{                                           \
		if (!caller(program_))              \
			return 0;                   \
		struct call c = {                   \
		    .ret = result(ctx),             \
		    .errors = RULES | E(EINVAL),    \
		    .program = program_,            \
		    .op = op_,                      \
		    .without = EYAS_CAUSE_OTHER,    \
		};                                  \
		return ended(&c);                   \
	}
MAP_WRITE(uid_map, "proc_uid_map_write", EYAS_DENIALS_UID_MAP, EYAS_DENIED_UID_MAP)
MAP_WRITE(gid_map, "proc_gid_map_write", EYAS_DENIALS_GID_MAP, EYAS_DENIED_GID_MAP)
MAP_WRITE(setgroups_file, "proc_setgroups_write", EYAS_DENIALS_SETGROUPS_FILE,
	  EYAS_DENIED_SETGROUPS_FILE)

SEC("fexit/cgroup_mkdir")
int denials_cgroup(unsigned long long *ctx)
{
	if (!caller(EYAS_DENIALS_CGROUP))
		return 0;
	struct call c = {
	    .ret = (int)result(ctx),
	    .errors = E(EAGAIN),
	    .program = EYAS_DENIALS_CGROUP,
	    .op = EYAS_DENIED_CGROUP,
	    .without = EYAS_CAUSE_CGROUPS,
	};
	return ended(&c);
}

#include "denialtrace.h"

/* GPL-2.0 OR Apache-2.0; the kernel knows the former, and some helpers ask for it. */
char LICENSE[] SEC("license") = "GPL";
