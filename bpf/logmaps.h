/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The maps and settings of the log programs, and files as they see them.
 */
#ifndef EYAS_LOGMAPS_H
#define EYAS_LOGMAPS_H

/* include/uapi/linux/stat.h */
#define S_IFSOCK 0140000
#define S_IFCHR 0020000
#define S_IFIFO 0010000
/* include/uapi/linux/major.h: the ends of terminals that programs write to */
#define UNIX98_PTY_SLAVE_MAJOR 136
#define UNIX98_PTY_MAJOR_COUNT 8

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct inode___stream {
	unsigned short i_mode;
	unsigned int i_rdev;
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct task_struct___files {
	struct files_struct *files;
};

struct pt_regs___x64 {
	unsigned long di, dx;
};

struct user_pt_regs {
	__u64 regs[31];
};

struct pt_regs___arm64 {
	struct user_pt_regs user_regs;
};

struct pid_namespace___parent {
	struct pid_namespace *parent;
};

#pragma clang attribute pop

/* Sized by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} log_events SEC(".maps");

/* Pid namespaces that user space selected, as enum eyas_log_select. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct eyas_log_box);
	__type(value, __u32);
} log_selected SEC(".maps");

/* Containers whose streams are known, with their token bucket: the time at which
 * it is full again, ns since boot. User space removes those that are gone. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct eyas_log_box);
	__type(value, __u64);
} log_boxes SEC(".maps");

/* At most two for each of them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct eyas_log_key);
	__type(value, struct eyas_log_stream);
} log_streams SEC(".maps");

/* The files of log_streams: a write to another one is done after one look. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct eyas_log_inode);
	__type(value, __u32);
} log_files SEC(".maps");

/* What is told of all containers: of outermost ones by EYAS_LOG_SELF, of the
 * others by EYAS_LOG_INSIDE. */
volatile __u32 everything;

/* One wake-up when the ring crosses this fill, as for the other ring. */
const volatile __u64 log_wakeup_bytes = 512 * 1024;
/* The token bucket: what 1 KiB costs, and how far it may be overdrawn, both ns. */
const volatile __u64 kib_ns = 1000000;
const volatile __u64 burst_ns = 4000000000ULL;

/* Whether a program has run, before any filter: for the self-test. */
volatile __u8 seen[EYAS_LOGS_PROGRAMS];
/* Streams that found no room in a map. */
__u64 lost[EYAS_LOGS_PROGRAMS];

const struct eyas_log_record *unused_record __attribute__((unused));
const enum eyas_log_program *unused_program __attribute__((unused));
const enum eyas_log_fd *unused_fd __attribute__((unused));
const enum eyas_log_select *unused_select __attribute__((unused));

#define ADD(field, n) __sync_fetch_and_add(&(field), (n))

#endif
