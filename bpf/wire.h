/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Every record that crosses from the kernel to user space, and nothing else.
 * This header is the only truth: the Go types are generated from it.
 *
 * All integers are little endian, fixed width and naturally aligned; padding
 * is explicit. A record is a header, a fixed part, and for some kinds a tail
 * of variable length: header.size says how long the whole is.
 */
#ifndef EYAS_WIRE_H
#define EYAS_WIRE_H

/* include/linux/pid_namespace.h MAX_PID_NS_LEVEL 32, plus the initial one. */
#define EYAS_PID_LEVELS 33
/* kernel/user_namespace.c refuses parent->level > 32: levels 0..33. */
#define EYAS_USER_LEVELS 34
/* kernel/user_namespace.c UID_GID_MAP_MAX_EXTENTS */
#define EYAS_MAX_EXTENTS 340
/* Bounds of what is copied of a program's path and arguments. */
#define EYAS_EXE_MAX 256
#define EYAS_ARGV_MAX 512
#define EYAS_NODENAME 64

enum eyas_kind {
	EYAS_KIND_FORK = 1, /* struct eyas_process: a new process, not a thread */
	EYAS_KIND_EXEC = 2, /* struct eyas_process, with path and arguments */
	EYAS_KIND_EXIT = 3, /* struct eyas_exit: the last thread of a process died */
	EYAS_KIND_CGROUP = 4, /* struct eyas_attach: a process changed its cgroup */
	EYAS_KIND_USERNS = 5, /* struct eyas_userns: a user namespace and its maps */
	EYAS_KIND_MAPHINT = 6, /* struct eyas_hint: a map is about to be written */
	EYAS_KIND_TASK = 7, /* struct eyas_process: from the iterator */
	EYAS_KIND_VICTIM = 8, /* struct eyas_victim: the OOM killer has chosen a process */
};

enum eyas_flag {
	EYAS_FLAG_ZOMBIE = 1, /* dead, not yet reaped */
	EYAS_FLAG_OOM = 2, /* killed by the OOM killer */
	EYAS_FLAG_ARGV_CUT = 4, /* the arguments were longer than the copy */
	EYAS_FLAG_PARTIAL = 8, /* id maps, or the cgroups of a victim, are not whole */
};

struct eyas_header {
	__u16 kind;
	__u16 flags;
	__u32 size; /* bytes of the whole record */
	__u64 time; /* ns since boot (CLOCK_BOOTTIME) */
};

/* What one nest level says of a process. Level 0 is the host. Pid and user
 * levels are counted apart: level i of pid namespaces need not belong to level
 * i of user namespaces. */
struct eyas_level {
	__u32 pid; /* the process's number in the pid namespace of this level */
	__u32 pidns; /* inum */
	__u64 pidns_start; /* its first process's start, ns since boot: inums are recycled */
	__u32 pidns_owner; /* inum of the user namespace that owns it */
	__u32 userns; /* inum */
	__u64 userns_id; /* never reused; 0 before 6.18 */
	__u32 owner_uid; /* who made the user namespace, host ids */
	__u32 owner_gid;
};

struct eyas_process {
	struct eyas_header h;
	__u64 start; /* the leader's start, ns since boot: with pid, the key */
	__u64 cgroup; /* id in the v2 hierarchy: st_ino of its directory */
	__u64 map_sum; /* digest of the innermost user namespace's maps */
	__u32 pid; /* host pid (tgid) */
	__u32 ppid; /* host pid of the parent */
	__u32 uid; /* effective, host id */
	__u32 gid;
	__u32 ruid; /* real, host id */
	__u32 rgid;
	__u32 loginuid; /* 4294967295: unset */
	__u32 mntns; /* inum, 0 when the task has none any more */
	__u32 threads;
	__u32 argv_len; /* whole length in the process, bytes */
	__u32 exec_id; /* counts execs, from an arbitrary start: a step tells of one */
	__u32 pad2;
	__u8 pid_levels; /* entries of level[] with a pid: 1..33 */
	__u8 user_levels; /* entries of level[] with a userns: 1..34 */
	__u16 exe_copied; /* bytes of the path in the tail */
	__u16 argv_copied; /* bytes of the arguments in the tail, after the path */
	__u16 pad;
	char comm[16];
	char nodename[EYAS_NODENAME];
	/* Cut after max(pid_levels, user_levels) entries; the tail follows. */
	struct eyas_level level[EYAS_USER_LEVELS];
};

struct eyas_exit {
	struct eyas_header h;
	__u64 start;
	__u32 pid;
	__u32 code; /* as wait(2) reports it: status << 8 | core << 7 | signal */
};

struct eyas_attach {
	struct eyas_header h;
	__u64 start;
	__u64 cgroup;
	__u32 pid;
	__u32 pad;
};

struct eyas_hint {
	struct eyas_header h;
	__u64 userns_id;
	__u32 userns;
	__u32 pid; /* of the one who asked: the writer of the map, not its owner */
};

struct eyas_extent {
	__u32 first; /* inner id */
	__u32 lower; /* host id: the kernel stores maps already composed */
	__u32 count;
};

struct eyas_userns {
	struct eyas_header h;
	__u64 id; /* never reused; 0 before 6.18 */
	__u64 map_sum;
	__u32 inum;
	__u32 parent; /* inum, 0 for the initial one */
	__u32 owner_uid;
	__u32 owner_gid;
	__u16 level;
	__u16 nr_uid;
	__u16 nr_gid;
	__u16 pad;
	/* nr_uid extents, then nr_gid; cut after them. */
	struct eyas_extent extent[2 * EYAS_MAX_EXTENTS];
};

enum eyas_memcg_flag {
	EYAS_MEMCG_READ = 1, /* usage, max and ooms are known */
	EYAS_MEMCG_GROUP = 2, /* memory.oom.group: its processes die together */
	EYAS_MEMCG_V1 = 4, /* of a v1 hierarchy: the id is not one of v2's */
};

/* A memory cgroup as it is when a victim is chosen. */
struct eyas_memcg {
	__u64 cgroup;
	__u64 usage; /* pages */
	__u64 max; /* pages */
	__u64 ooms; /* oom in its memory.events.local, this one included */
	__u32 level; /* 1: right below the root */
	__u32 flags; /* enum eyas_memcg_flag */
};

/* How far out the cgroups of a victim are told, from its own. */
#define EYAS_MEMCGS 16

struct eyas_victim {
	struct eyas_header h;
	__u64 start;
	__u64 cgroup; /* in the v2 hierarchy */
	__u64 kill; /* the same for those killed at once, ns since boot; 0: not known */
	struct eyas_memcg limit; /* of this kill, when kill is known; all 0: the machine's */
	__s64 file; /* pages */
	__s64 anon;
	__s64 swap;
	__s64 shmem;
	__u32 pid;
	__u32 by; /* pid of who wanted memory: it runs the killer */
	char comm[16];
	__s16 score_adj;
	__u16 memcgs; /* entries of memcg[] */
	__u32 pad;
	struct eyas_memcg memcg[EYAS_MEMCGS];
};

/* Who a count belongs to: the innermost namespaces and the cgroup. */
struct eyas_counts_key {
	__u64 pidns_start;
	__u64 userns_id;
	__u64 cgroup;
	__u32 pidns;
	__u32 userns;
};

struct eyas_counts {
	__u64 forks; /* processes born here */
	__u64 threads; /* threads that are not the first of their process */
	__u64 execs;
	__u64 exits_zero; /* whole processes, by what wait(2) would tell */
	__u64 exits_error;
	__u64 exits_signal;
	__u64 oom_kills; /* part of exits_signal */
};

/* One row per program: see enum eyas_program. */
struct eyas_stats {
	__u64 records; /* written */
	__u64 lost; /* records for which the ring had no room */
	__u64 lost_bytes;
	__u64 lost_counts; /* events not counted: the counts map was full */
	__u64 recovered; /* events of skipped runs that were found out all the same */
};

enum eyas_program {
	EYAS_PROGRAM_NEWTASK,
	EYAS_PROGRAM_EXEC,
	EYAS_PROGRAM_EXIT,
	EYAS_PROGRAM_ATTACH,
	EYAS_PROGRAM_CAPABLE,
	EYAS_PROGRAM_TASKS,
	EYAS_PROGRAM_USERNS,
	EYAS_PROGRAM_FREE,
	EYAS_PROGRAM_TASK, /* each_task for one process */
	EYAS_PROGRAM_VICTIM,
	EYAS_PROGRAM_OOM,
	EYAS_PROGRAM_OOM_DONE,
	EYAS_PROGRAMS,
};

#endif
