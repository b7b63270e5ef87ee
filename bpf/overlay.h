/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the overlay programs leave for user space: rows of a map, no records.
 * This header is the only truth, as wire.h is for records.
 */
#ifndef EYAS_OVERLAY_H
#define EYAS_OVERLAY_H

/* Upper bounds of a histogram's buckets: 1024 ns, and four times as much each
 * time, to 4.3 s. The last bucket has no bound. */
#define EYAS_BOUNDS 12
#define EYAS_BUCKETS (EYAS_BOUNDS + 1)

/* Whose I/O it is, and on which file system. Overlays may lie upon overlays
 * (FILESYSTEM_MAX_STACK_DEPTH 2): one read then runs through both, and each has
 * a row of its own. */
struct eyas_overlay_key {
	struct eyas_counts_key who;
	__u32 dev; /* s_dev: major << 20 | minor, as in mountinfo */
	__u16 depth; /* s_stack_depth: 1 is an overlay upon other file systems; 0: fuse-overlayfs */
	__u16 pad;
};

struct eyas_histogram {
	__u64 bucket[EYAS_BUCKETS]; /* not cumulative */
	__u64 untimed; /* calls whose start is not known */
	__u64 sum; /* ns */
};

/* Calls that failed are not counted. */
struct eyas_overlay {
	__u64 read_bytes;
	__u64 write_bytes;
	__u64 queued; /* reads and writes that went on by themselves: bytes not known */
	__u64 splice_reads;
	__u64 splice_read_bytes;
	__u64 splice_writes;
	__u64 splice_write_bytes;
	__u64 copy_ranges; /* copy_file_range, by the file written to */
	__u64 copy_range_bytes;
	__u64 opens;
	__u64 mmaps;
	__u64 faults; /* pages of mappings that the file system was asked for */
	__u64 creates; /* files, directories, links */
	__u64 removes; /* likewise */
	__u64 whiteouts; /* left by removes */
	__u64 copy_ups_data; /* files copied up with their content */
	__u64 copy_ups_metadata; /* … without: metacopy, empty, or about to be truncated */
	__u64 copy_ups_other; /* directories, links, devices */
	__u64 copy_up_bytes; /* lengths of the files, holes included */
	struct eyas_histogram reads; /* their number is that of the buckets */
	struct eyas_histogram writes;
	struct eyas_histogram copy_ups;
};

enum eyas_overlay_program {
	EYAS_OVERLAY_READ,
	EYAS_OVERLAY_READ_START,
	EYAS_OVERLAY_WRITE,
	EYAS_OVERLAY_WRITE_START,
	EYAS_OVERLAY_SPLICE_READ,
	EYAS_OVERLAY_SPLICE_WRITE,
	EYAS_OVERLAY_COPY_RANGE,
	EYAS_OVERLAY_OPEN,
	EYAS_OVERLAY_MMAP,
	EYAS_OVERLAY_FAULT,
	EYAS_OVERLAY_CREATE,
	EYAS_OVERLAY_REMOVE,
	EYAS_OVERLAY_REMOVE_START,
	EYAS_OVERLAY_WHITEOUT,
	EYAS_OVERLAY_COPY_UP,
	EYAS_OVERLAY_COPY_UP_START,
	EYAS_OVERLAY_COPY_UP_DATA,
	EYAS_OVERLAY_COPY_UP_META,
	/* Those of overlayfuse.h. */
	EYAS_OVERLAY_FUSE_READ,
	EYAS_OVERLAY_FUSE_READ_START,
	EYAS_OVERLAY_FUSE_WRITE,
	EYAS_OVERLAY_FUSE_WRITE_START,
	EYAS_OVERLAY_FUSE_SPLICE_READ,
	EYAS_OVERLAY_FUSE_MMAP,
	EYAS_OVERLAY_FUSE_OPEN,
	EYAS_OVERLAY_PROGRAMS,
};

#endif
