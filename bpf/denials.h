/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the denial programs leave for user space: rows of a map, no records.
 * This header is the only truth, as wire.h is for records.
 */
#ifndef EYAS_DENIALS_H
#define EYAS_DENIALS_H

/* What was refused. */
enum eyas_denial_op {
	EYAS_DENIED_FORK,
	EYAS_DENIED_UNSHARE,
	EYAS_DENIED_SETNS,
	EYAS_DENIED_MOUNT,
	EYAS_DENIED_UMOUNT,
	EYAS_DENIED_CHOWN,
	EYAS_DENIED_CHMOD,
	EYAS_DENIED_SETUID,
	EYAS_DENIED_SETGID,
	EYAS_DENIED_SETGROUPS,
	EYAS_DENIED_MKNOD,
	EYAS_DENIED_HOSTNAME,
	EYAS_DENIED_CHROOT,
	EYAS_DENIED_PTRACE,
	EYAS_DENIED_BPF,
	EYAS_DENIED_PERF,
	EYAS_DENIED_KEY,
	EYAS_DENIED_INOTIFY,
	EYAS_DENIED_RLIMIT,
	EYAS_DENIED_PRIORITY,
	EYAS_DENIED_MODULE,
	EYAS_DENIED_CLOCK,
	EYAS_DENIED_XATTR,
	EYAS_DENIED_UID_MAP,
	EYAS_DENIED_GID_MAP,
	EYAS_DENIED_SETGROUPS_FILE,
	EYAS_DENIED_CGROUP,
	EYAS_DENIED_ACCESS,
	EYAS_DENIED_CALL, /* any other system call; which, is in the row */
	EYAS_DENIED_OPS,
};

/* Why. */
enum eyas_denial_cause {
	EYAS_CAUSE_OTHER, /* nothing below was seen: a rule of the call itself, or an LSM */
	EYAS_CAUSE_CAPABILITY, /* detail: which; target: in which user namespace */
	EYAS_CAUSE_OWNER, /* owner or group of a file is not mapped; id[]: who they are */
	EYAS_CAUSE_ID, /* an id that was asked for is not mapped; id[]: which, as asked */
	EYAS_CAUSE_UCOUNT, /* a limit of a user namespace; detail: enum ucount_type */
	EYAS_CAUSE_PIDS, /* pids.max of a cgroup */
	EYAS_CAUSE_PROCESSES, /* RLIMIT_NPROC, or the node's limit of threads */
	EYAS_CAUSE_KEYS, /* quota of keys */
	EYAS_CAUSE_CGROUPS, /* cgroup.max.descendants or cgroup.max.depth */
	EYAS_CAUSE_SECCOMP, /* a seccomp filter; detail: number of the system call */
	EYAS_CAUSE_MODE, /* modes, ACL or flags of a file, or an LSM; id[]: owner, group, mode */
	EYAS_CAUSE_SERVER, /* the server of a file system; target: its magic; id[] likewise */
};

/* Of EYAS_DENIED_CALL the number of the system call is in detail, above what is there
 * of the cause (a capability, a limit), or alone. */
#define EYAS_DENIED_CALL_SHIFT 6

/* A refusal like it is a row already: it is counted there, and takes the place
 * of the last one. The cgroup in who is 0: which one it was makes no difference. */
struct eyas_denial_key {
	struct eyas_counts_key who;
	__u16 op;
	__u16 error; /* errno */
	__u16 cause;
	__u16 detail;
};

/* The same of one process: its own count, and its own last one. */
struct eyas_denial_process {
	struct eyas_denial_key kind;
	__u64 start; /* ns since boot */
	__u32 pid; /* host pid */
	__u32 pad;
};

struct eyas_denial {
	__u64 count;
	__u64 seq; /* odd while the rest, which is of the last one, is written */
	__u64 time; /* ns since boot */
	__u64 start; /* of the process, ns since boot */
	__u64 inode; /* of the file, where known */
	__u32 dev; /* of its file system: major << 20 | minor */
	__u32 pid; /* host pid */
	__u32 uid; /* effective, host ids */
	__u32 gid;
	__u32 userns; /* inum of the process's user namespace */
	__u32 target; /* inum of the user namespace in which a capability was wanted, or whose limit
			 it is */
	__u32 target_level;
	__u32 id[3];
	__s32 syscall;
	char comm[16];
	__u32 pad;
};

enum eyas_denial_program {
	EYAS_DENIALS_CAPABLE,
	EYAS_DENIALS_OWNER,
	EYAS_DENIALS_ACCESS,
	EYAS_DENIALS_UCOUNT,
	EYAS_DENIALS_PIDS,
	EYAS_DENIALS_FORK,
	EYAS_DENIALS_UNSHARE,
	EYAS_DENIALS_SETNS,
	EYAS_DENIALS_MOUNT,
	EYAS_DENIALS_FSMOUNT,
	EYAS_DENIALS_FSCONFIG,
	EYAS_DENIALS_FSOPEN,
	EYAS_DENIALS_MOVE_MOUNT,
	EYAS_DENIALS_OPEN_TREE,
	EYAS_DENIALS_MOUNT_SETATTR,
	EYAS_DENIALS_PIVOT_ROOT,
	EYAS_DENIALS_UMOUNT,
	EYAS_DENIALS_CHOWN,
	EYAS_DENIALS_LCHOWN,
	EYAS_DENIALS_FCHOWN,
	EYAS_DENIALS_FCHOWNAT,
	EYAS_DENIALS_CHMOD,
	EYAS_DENIALS_FCHMOD,
	EYAS_DENIALS_FCHMODAT,
	EYAS_DENIALS_SETUID,
	EYAS_DENIALS_SETREUID,
	EYAS_DENIALS_SETRESUID,
	EYAS_DENIALS_SETGID,
	EYAS_DENIALS_SETREGID,
	EYAS_DENIALS_SETRESGID,
	EYAS_DENIALS_SETGROUPS,
	EYAS_DENIALS_MKNOD,
	EYAS_DENIALS_MKNODAT,
	EYAS_DENIALS_SETHOSTNAME,
	EYAS_DENIALS_SETDOMAINNAME,
	EYAS_DENIALS_CHROOT,
	EYAS_DENIALS_PTRACE,
	EYAS_DENIALS_BPF,
	EYAS_DENIALS_PERF,
	EYAS_DENIALS_ADD_KEY,
	EYAS_DENIALS_KEYCTL,
	EYAS_DENIALS_INOTIFY_INIT,
	EYAS_DENIALS_INOTIFY_INIT1,
	EYAS_DENIALS_INOTIFY_WATCH,
	EYAS_DENIALS_PRLIMIT,
	EYAS_DENIALS_SETPRIORITY,
	EYAS_DENIALS_SETSCHEDULER,
	EYAS_DENIALS_SETATTR,
	EYAS_DENIALS_INIT_MODULE,
	EYAS_DENIALS_FINIT_MODULE,
	EYAS_DENIALS_SETTIME,
	EYAS_DENIALS_SETXATTR,
	EYAS_DENIALS_LSETXATTR,
	EYAS_DENIALS_FSETXATTR,
	EYAS_DENIALS_UID_MAP,
	EYAS_DENIALS_GID_MAP,
	EYAS_DENIALS_SETGROUPS_FILE,
	EYAS_DENIALS_CGROUP,
	/* Those of denialtrace.h. */
	EYAS_DENIALS_SECCOMP,
	EYAS_DENIALS_CALL,
	EYAS_DENIALS_MODE,
	EYAS_DENIALS_CHANGE,
	EYAS_DENIALS_PROGRAMS,
};

#endif
