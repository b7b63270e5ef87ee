/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What all programs share: settings of the loader, maps, the way to the ring.
 */
#ifndef EYAS_MAPS_H
#define EYAS_MAPS_H

/* How the parts that kernels allow differently are read; the loader picks the
 * best that loads and the verifier drops the others as dead code. */
enum { ARGS_NONE, ARGS_HELPER, ARGS_DYNPTR };
enum { EXTENTS_INLINE, EXTENTS_CAST, EXTENTS_PROBE };
const volatile __u32 args_mode = ARGS_HELPER;
const volatile __u32 extents_mode = EXTENTS_CAST;
/* One wake-up when the ring crosses this fill; below it the reader's own tick
 * collects. A wake-up per record costs 8-12 us, a record 0.4-1 us. */
const volatile __u64 wakeup_bytes = 512 * 1024;
/* Kernels of 7.0 and later may preempt a tracepoint's program half way, and
 * skip it for every other task on that CPU until it goes on (kernel/trace/
 * bpf_trace.c, __bpf_trace_run). There, births are taken from a tracepoint
 * that fires with interrupts off, and what was skipped is found by the state
 * of the task: see births. */
const volatile bool guarded = false;
/* sched_process_exit says whether the thread is the last one (6.18). */
const volatile bool tells_last = false;

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;
extern int bpf_probe_read_user_dynptr(struct bpf_dynptr *p, __u64 off, __u64 size,
				      const void *unsafe_user) __ksym __weak;

/* Sized by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} events SEC(".maps");

/* One row per (innermost namespaces, cgroup) that had an event: a container
 * has one to a handful. 16384 rows of 96 bytes; user space removes the rows
 * of dead containers. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct eyas_counts_key);
	__type(value, struct eyas_counts);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EYAS_PROGRAMS);
	__type(key, __u32);
	__type(value, struct eyas_stats);
} stats SEC(".maps");

/* User namespaces whose maps user space has been told, as their digest. LRU:
 * a forgotten one is merely told again. */
struct ns_key {
	__u64 id;
	__u32 inum;
	__u32 pad;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct ns_key);
	__type(value, __u64);
} told SEC(".maps");

/* Processes whose death was reported, where the tracepoint does not say whose
 * thread is the last. Two threads that exit together may both
 * see live == 0; the key holds the start time, so it is never reused and old
 * rows may fall out. */
struct process_id {
	__u64 start;
	__u32 pid;
	__u32 pad;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct process_id);
	__type(value, __u8);
} reported SEC(".maps");

/* Guarded only: the nested processes that live, with what is known of them. An
 * exec that was skipped shows as a step of exec_id at the next event, an exit
 * that was skipped as a row that is left when the task is freed. 65536 rows; a
 * process that finds no room is merely not guarded. */
struct birth {
	__u64 pidns_start;
	__u32 pidns;
	__u32 exec_id; /* task->self_exec_id as last counted */
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct process_id);
	__type(value, struct birth);
} births SEC(".maps");

/* Records are built here: too large for the stack. One row per program,
 * because one program may interrupt another on the same CPU. The kernel lets no
 * tracepoint's program interrupt itself, but it does iterators, which may be
 * preempted: user space reads one at a time of each row. */
struct scratch {
	struct eyas_process process;
	char tail[EYAS_EXE_MAX + EYAS_ARGV_MAX];
	struct eyas_userns userns;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EYAS_PROGRAMS);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

/* Keeps the wire types in the object's BTF, from where Go's are generated. */
const struct eyas_exit *unused_exit __attribute__((unused));
const struct eyas_attach *unused_attach __attribute__((unused));
const struct eyas_hint *unused_hint __attribute__((unused));
const struct eyas_victim *unused_victim __attribute__((unused));
const enum eyas_memcg_flag *unused_memcg_flag __attribute__((unused));
const enum eyas_kind *unused_kind __attribute__((unused));
const enum eyas_flag *unused_flag __attribute__((unused));
const enum eyas_program *unused_program __attribute__((unused));

/* Hides what the compiler knows of a value's range, so that it keeps a check
 * which the verifier needs to see. */
#define OPAQUE(v) asm volatile("" : "+r"(v))

static __always_inline struct eyas_stats *stats_of(__u32 program)
{
	return bpf_map_lookup_elem(&stats, &program);
}

/* The self-test looks here: whether a program has run, before any filter. A
 * flag, because a counter would cost every host process a map lookup. */
volatile __u8 seen[EYAS_PROGRAMS];

static __always_inline void hit(__u32 program)
{
	if (!seen[program])
		seen[program] = 1;
}

static __always_inline void header(struct eyas_header *h, __u16 kind, __u32 size)
{
	h->kind = kind;
	h->flags = 0;
	h->size = size;
	h->time = bpf_ktime_get_boot_ns();
}

static __always_inline void emit(__u32 program, void *record, __u64 size)
{
	__u64 fill = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	__u64 flags = BPF_RB_NO_WAKEUP;
	struct eyas_stats *s;
	long err;

	/* Only the record that crosses the line wakes the reader. */
	if (fill >= wakeup_bytes && fill < wakeup_bytes + 4096)
		flags = BPF_RB_FORCE_WAKEUP;
	err = bpf_ringbuf_output(&events, record, size, flags);
	s = stats_of(program);
	if (!s)
		return;
	if (err) {
		s->lost++;
		s->lost_bytes += size;
	} else {
		s->records++;
	}
}

static __always_inline struct scratch *scratch_of(__u32 program)
{
	return bpf_map_lookup_elem(&scratches, &program);
}

#endif
