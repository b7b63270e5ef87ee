/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the log programs leave for user space: records of a ring of their own, and
 * rows of streams and containers. This header is the only truth, as wire.h is
 * for records of the other ring.
 */
#ifndef EYAS_LOGS_H
#define EYAS_LOGS_H

/* Pid namespaces whose host pids a record tells, from the host's inwards. */
#define EYAS_LOG_LEVELS 8
/* The most bytes in one record, and how many records one write may become. */
#define EYAS_LOG_CHUNK 16384
#define EYAS_LOG_CHUNKS 64

enum eyas_log_fd {
	EYAS_LOG_STDOUT = 1,
	EYAS_LOG_STDERR = 2,
};

/* What of a pid namespace is told. */
enum eyas_log_select {
	EYAS_LOG_SELF = 1,
	EYAS_LOG_INSIDE = 2, /* of those inside, however deep */
	EYAS_LOG_NO_STDOUT = 4, /* but not this stream */
	EYAS_LOG_NO_STDERR = 8,
	EYAS_LOG_NONE = 16, /* neither of it nor of those inside, whatever else is said */
};

/* A pid namespace for good: inums are recycled. */
struct eyas_log_box {
	__u64 start; /* of its first process, ns since boot */
	__u32 pidns;
	__u32 pad;
};

struct eyas_log_inode {
	__u64 inode;
	__u32 dev; /* major << 20 | minor */
	__u32 pad;
};

/* A file that is a container's stdout or stderr. */
struct eyas_log_key {
	struct eyas_log_box box;
	struct eyas_log_inode file;
};

/* Every byte of every write that is not delivered is dropped: the container wrote too
 * fast, the ring was full, or the write was too long or no longer readable. What is
 * written and neither was in a run of the programs that the kernel skipped, or went by
 * sendfile or splice; the next write books it as dropped, as one record. */
struct eyas_log_stream {
	__u64 written; /* bytes, by a program that does nothing else */
	__u64 records; /* delivered */
	__u64 bytes;
	__u64 dropped_records;
	__u64 dropped_bytes;
	__u32 fd; /* enum eyas_log_fd */
	__u32 pad;
};

struct eyas_log_record {
	struct eyas_log_box box;
	__u64 time; /* ns since boot */
	__u64 start; /* of the process, ns since boot */
	__u64 dropped_records; /* of the stream, until now */
	__u64 dropped_bytes;
	struct eyas_log_inode file;
	__u32 fd;
	__u32 pid; /* host pid */
	__u32 uid; /* effective, host ids */
	__u32 gid;
	__u32 len; /* bytes that follow; the rest of the record is not written */
	__u32 levels; /* pid namespaces of the process, the host's included */
	__u32 pids[EYAS_LOG_LEVELS];
	char comm[16];
};

enum eyas_log_program {
	EYAS_LOGS_WRITE,
	EYAS_LOGS_WRITEV,
	EYAS_LOGS_EXEC,
	EYAS_LOGS_EACH,
	EYAS_LOGS_SUM,
	EYAS_LOGS_SUMV,
	EYAS_LOGS_SENDFILE,
	EYAS_LOGS_SPLICE,
	EYAS_LOGS_BEGIN,
	EYAS_LOGS_EXIT,
	EYAS_LOGS_FREE,
	EYAS_LOGS_AGAIN,
	EYAS_LOGS_AGAINV,
	EYAS_LOGS_COMMITTED,
	EYAS_LOGS_PROGRAMS,
};

#endif
