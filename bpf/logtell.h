/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * From a write to records: what a container may write, and in which pieces. Functions
 * that are not static are so that the verifier looks at each once, not in every
 * way in which they may be reached.
 */
#ifndef EYAS_LOGTELL_H
#define EYAS_LOGTELL_H

struct iovec {
	__u64 base;
	__u64 len;
};

/* A write that is being told. */
struct writing {
	struct eyas_log_key key;
	struct pid_namespace *ns; /* whose stream it may be */
	bool found; /* that it is */
	bool again; /* only if no other program has told it */
	__u64 vec; /* the next part, 0: no more */
	__u64 parts;
	__u64 base; /* of this part */
	__u64 here;
	__u64 left; /* of the whole */
};

/* Whether a container may write n more bytes. A bucket that is not empty may be
 * overdrawn, so that no write is too long for it. */
__noinline int affords(struct eyas_log_box *box, __u64 n)
{
	struct eyas_log_box key = {};
	__u64 now = bpf_ktime_get_boot_ns(), cost = n * kib_ns >> 10, was, then, *full;

	if (!box)
		return false;
	key = *box;
	full = bpf_map_lookup_elem(&log_boxes, &key);
	if (!full)
		return false;
	for (int i = 0; i < 4; i++) {
		was = *full;
		if (was > now + burst_ns)
			return false;
		then = (was > now ? was : now) + cost;
		if (__sync_val_compare_and_swap(full, was, then) == was)
			return true;
	}
	ADD(*full, cost); /* many at once */
	return true;
}

/* Counts what skipped runs have missed. The order of reading counts: what is told is
 * added up after that. Who comes second leaves it to the next write. */
static __always_inline void book(struct eyas_log_stream *row)
{
	__u64 written = ADD(row->written, 0);
	__u64 dropped = ADD(row->dropped_bytes, 0);
	__u64 known = dropped + ADD(row->bytes, 0);

	if (written > known && __sync_val_compare_and_swap(&row->dropped_bytes, dropped,
							   dropped + written - known) == dropped)
		ADD(row->dropped_records, 1);
}

#define PID_AT(i)       \
	if (top >= (i)) \
		r->pids[i] = pid->numbers[i].nr;

static __noinline int fill(struct eyas_log_record *r, struct writing *w,
			   struct eyas_log_stream *row, __u32 len)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pid *pid = task->group_leader->thread_pid;
	__u32 top;

	if (!r || !w || !row)
		return 0;
	r->box = w->key.box;
	r->file = w->key.file;
	r->time = bpf_ktime_get_boot_ns();
	r->start = task->group_leader->start_boottime;
	r->dropped_records = row->dropped_records;
	r->dropped_bytes = row->dropped_bytes;
	r->fd = row->fd;
	r->pid = task->tgid;
	r->uid = task->real_cred->euid.val;
	r->gid = task->real_cred->egid.val;
	r->len = len;
	r->levels = 0;
	bpf_get_current_comm(r->comm, sizeof(r->comm));
	if (!pid)
		return 0;
	top = pid->level;
	r->levels = top + 1;
	/* clang-format off */
	PID_AT(0) PID_AT(1) PID_AT(2) PID_AT(3) PID_AT(4) PID_AT(5) PID_AT(6) PID_AT(7)
	    /* clang-format on */
	    return 0;
}

/* Only the record that crosses the line wakes the reader. */
static __always_inline __u64 wake(void)
{
	__u64 fill = bpf_ringbuf_query(&log_events, BPF_RB_AVAIL_DATA);

	return fill >= log_wakeup_bytes && fill < log_wakeup_bytes + 2 * EYAS_LOG_CHUNK
		   ? BPF_RB_FORCE_WAKEUP
		   : BPF_RB_NO_WAKEUP;
}

/* A record of one of five sizes, because the ring wants constants. The length is
 * read back from the record, of which the verifier knows nothing: else it would
 * follow where it comes from through all pieces of a write. */
#define RECORD(size)                                                                       \
	do {                                                                               \
		struct {                                                                   \
			struct eyas_log_record r;                                          \
			char data[size];                                                   \
		} *record = bpf_ringbuf_reserve(&log_events, sizeof(*record), 0);          \
		__u32 n;                                                                   \
		if (!record)                                                               \
			return false;                                                      \
		fill(&record->r, w, row, len);                                             \
		n = *(volatile __u32 *)&record->r.len;                                     \
		if (n > (size) || bpf_probe_read_user(record->data, n, (void *)w->base)) { \
			bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);                     \
			return false;                                                      \
		}                                                                          \
		bpf_ringbuf_submit(record, wake());                                        \
		return true;                                                               \
	} while (0)

__noinline int tell(struct writing *w, struct eyas_log_stream *row, __u32 len)
{
	if (!w || !row)
		return false;
	if (len <= 128)
		RECORD(128);
	if (len <= 512)
		RECORD(512);
	if (len <= 2048)
		RECORD(2048);
	if (len <= 4096)
		RECORD(4096);
	RECORD(EYAS_LOG_CHUNK);
}

/* Tells the next piece of a write. */
static long piece(__u32 i, void *data)
{
	struct eyas_log_stream *row;
	struct writing *w = data;
	__u64 n;

	if (!w->here) {
		struct iovec v;

		if (!w->vec || !w->parts)
			return 1;
		if (bpf_probe_read_user(&v, sizeof(v), (void *)w->vec))
			return 1;
		w->vec += sizeof(v);
		w->parts--;
		w->base = v.base;
		w->here = v.len;
	}
	n = w->here < w->left ? w->here : w->left;
	if (n > EYAS_LOG_CHUNK)
		n = EYAS_LOG_CHUNK;
	row = bpf_map_lookup_elem(&log_streams, &w->key);
	if (!row)
		return 1; /* removed: it is gone */
	if (!n) {
		/* An empty part. */
	} else if (tell(w, row, n)) {
		ADD(row->records, 1);
		ADD(row->bytes, n);
	} else {
		ADD(row->dropped_records, 1);
		ADD(row->dropped_bytes, n);
	}
	w->base += n;
	w->here -= n;
	w->left -= n;
	return w->left == 0;
}

#endif
