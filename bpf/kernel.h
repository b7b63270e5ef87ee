/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The kernel as these programs see it: only the fields that are read, each in
 * a CO-RE struct, so that one object runs on every kernel with BTF. A full
 * vmlinux.h would put 100-170 KB of unused BTF into the object.
 *
 * A field that some kernels lack is guarded by bpf_core_field_exists() where
 * it is read; a renamed one gets a flavour struct (name___suffix) here.
 */
#ifndef EYAS_KERNEL_H
#define EYAS_KERNEL_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
enum { false, true };

#include <stddef.h>

/* uapi/linux/bpf.h: only what is used, so that the build needs no kernel headers. */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA = 0 };

struct bpf_dynptr {
	__u64 opaque[2];
} __attribute__((aligned(8)));

/* include/linux/sched.h: the task is on its way out */
#define PF_EXITING 0x00000004
/* include/linux/sched/signal.h */
#define SIGNAL_GROUP_EXIT 0x00000004
/* include/uapi/linux/capability.h: what map_write() asks of the opener */
#define CAP_SYS_ADMIN 21

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* The id of a namespace as a person sees it (inum, in /proc/PID/ns) and, from
 * 6.18 on, one that is never reused (ns_id). */
struct ns_common {
	unsigned int inum;
	__u64 ns_id;
};

typedef struct {
	unsigned int val;
} kuid_t;

typedef struct {
	unsigned int val;
} kgid_t;

struct uid_gid_extent {
	__u32 first;
	__u32 lower_first;
	__u32 count;
};

/* Up to 5 extents inline; beyond that the union holds pointers to two sorted
 * arrays of up to 340 (kernel/user_namespace.c, UID_GID_MAP_MAX_EXTENTS). */
struct uid_gid_map {
	__u32 nr_extents;
	union {
		struct uid_gid_extent extent[5];
		struct {
			struct uid_gid_extent *forward;
			struct uid_gid_extent *reverse;
		};
	};
};

struct user_namespace {
	struct uid_gid_map uid_map;
	struct uid_gid_map gid_map;
	struct user_namespace *parent;
	int level;
	kuid_t owner;
	kgid_t group;
	struct ns_common ns;
};

struct task_struct;

struct pid_namespace {
	struct task_struct *child_reaper;
	unsigned int level;
	struct user_namespace *user_ns;
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

/* A flexible array since 6.5 and in the stable kernels since; where it still
 * has one element the relocation of numbers[1] fails and with it the load. */
struct pid {
	unsigned int level;
	struct upid numbers[];
};

struct mnt_namespace {
	struct ns_common ns;
};

struct new_utsname {
	char nodename[65];
};

struct uts_namespace {
	struct new_utsname name;
};

struct nsproxy {
	struct uts_namespace *uts_ns;
	struct mnt_namespace *mnt_ns;
};

struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t euid;
	kgid_t egid;
	struct user_namespace *user_ns;
};

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	__s64 counter;
} atomic_long_t;

struct percpu_counter {
	__s64 count;
};

/* include/linux/mm_types_task.h: by what the pages of a process are */
enum { MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES, NR_MM_COUNTERS };

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	unsigned long env_end;
	struct percpu_counter rss_stat[NR_MM_COUNTERS];
};

/* Before 6.2 (f1a7941243c1 "mm: convert mm's rss stats into percpu_counter"). */
struct mm_rss_stat {
	atomic_long_t count[NR_MM_COUNTERS];
};
struct mm_struct___rss {
	struct mm_rss_stat rss_stat;
};

struct signal_struct {
	atomic_t live;
	int nr_threads;
	int group_exit_code;
	unsigned int flags;
	short oom_score_adj;
	struct mm_struct *oom_mm; /* set by mark_oom_victim() */
};

struct kernfs_node {
	__u64 id;
};

struct cgroup_root {
	int hierarchy_id; /* 0: v2 */
};

struct cgroup {
	struct kernfs_node *kn;
	int level; /* 0 is the root's */
	struct cgroup_root *root;
};

/* One controller's part of a cgroup. */
struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

enum cgroup_subsys_id { memory_cgrp_id = 4 }; /* relocated */

struct css_set {
	struct cgroup_subsys_state *subsys[1]; /* by cgroup_subsys_id */
	struct cgroup *dfl_cgrp; /* the cgroup in the v2 hierarchy */
};

struct page_counter {
	atomic_long_t usage;
	unsigned long max; /* pages; LONG_MAX / PAGE_SIZE: none */
};

/* include/linux/memcontrol.h, enum memcg_memory_event */
#define MEMCG_OOM 3

struct mem_cgroup {
	struct cgroup_subsys_state css;
	struct page_counter memory;
	bool oom_group;
	atomic_long_t memory_events_local[MEMCG_OOM + 1];
};

struct oom_control {
	struct mem_cgroup *memcg; /* NULL: the machine's memory */
};

struct task_struct {
	unsigned int flags;
	struct mm_struct *mm;
	int exit_state;
	int exit_code;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	__u64 start_boottime;
	__u32 self_exec_id; /* begin_new_exec() counts it up */
	const struct cred *real_cred;
	char comm[16];
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	kuid_t loginuid; /* CONFIG_AUDIT */
	struct css_set *cgroups;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

#endif
