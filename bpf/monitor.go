package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
)

// ErrNoBTF means that the kernel does not describe its own types.
var ErrNoBTF = errors.New("kernel has no BTF (/sys/kernel/btf/vmlinux): eyas needs CONFIG_DEBUG_INFO_BTF=y")

// Options of a Monitor. Zero values mean the defaults.
type Options struct {
	// RingBytes is the size of the event ring, rounded up to a power of two of
	// at least one page. Default 8 MiB.
	RingBytes uint32
	// SnapshotOnly loads the iterators alone: for one look without a daemon.
	SnapshotOnly bool
	// Guard makes up for runs that the kernel skips; see GuardMode. Default
	// GuardAuto.
	Guard GuardMode
	// RunStats turns the kernel's program statistics on while the Monitor
	// lives; they cost every BPF program of the node about 60 ns per run.
	RunStats bool
}

const defaultRingBytes = 8 << 20

// GuardMode says whether the programs find out events whose run the kernel has
// skipped. Kernels of 7.0 and later may preempt a tracepoint's program half way
// and skip it for other tasks on that CPU meanwhile.
type GuardMode int

// GuardAuto guards where the kernel preempts programs, GuardOn everywhere.
const (
	GuardAuto GuardMode = iota
	GuardOn
)

// preemptsTracepoints reports whether tracepoints of this kernel are guarded by
// SRCU instead of disabled preemption: then their handlers use this lock class
// (include/linux/tracepoint.h since 7.0).
func preemptsTracepoints(kernel *btf.Spec) bool {
	var t *btf.Typedef
	return kernel.TypeByName("class_srcu_fast_notrace_t", &t) == nil
}

// tellsLast reports whether the tracepoint of an exit says which thread is the
// process's last (group_dead, since 6.18).
func tellsLast(kernel *btf.Spec) bool {
	var t *btf.Typedef
	if kernel.TypeByName("btf_trace_sched_process_exit", &t) != nil {
		return false
	}
	pointer, ok := t.Type.(*btf.Pointer)
	if !ok {
		return false
	}
	proto, ok := pointer.Target.(*btf.FuncProto)
	return ok && len(proto.Params) == 3 // the first is not the program's
}

// Monitor holds the loaded programs and their maps.
type Monitor struct {
	shared   *ebpf.Collection // the maps, no programs
	coll     identityMaps
	hooks    []*loadedHook
	reader   *ringbuf.Reader
	tasks    iterator // of all processes
	task     iterator // of one
	userns   iterator
	stats    io.Closer
	ring     uint32
	guarded  bool
	closed   atomic.Bool
	raw      ringbuf.Record
	decoder  Decoder
	malforms atomic.Uint64

	floorOnce sync.Once
	floor     *ebpf.Program
	floorErr  error
}

// iterator is a program whose record is built in memory that all its runs on a
// CPU share. The kernel may preempt it, so only one reader may be at work.
type iterator struct {
	mu      sync.Mutex
	program *ebpf.Program
	decoder Decoder
	buf     []byte // of the last read
}

type loadedHook struct {
	programInfo
	program *ebpf.Program
	link    link.Link
	state   HookState
	reason  string
	lacks   string // what it does not tell here, even if it works
}

// modes are the ways to read what kernels and lockdown levels allow
// differently, best first; see identity.bpf.c.
type modes struct{ args, extents uint32 }

// lacks says what a program does not tell in these modes.
func (m modes) lacks(program string) string {
	var all []string
	if m.args == 0 && program == "on_exec" {
		all = append(all, "program paths and arguments: they are read from /proc, too late for short-lived processes")
	}
	switch {
	case m.extents != 0:
	case program == "on_victim" || program == "on_oom":
		all = append(all, "memory of a victim, and usage and limits of the cgroups around it")
	case program != "on_exit" && program != "each_task" && program != "on_oom_done":
		all = append(all, "id maps with more than 5 extents")
	}
	return strings.Join(all, "; ")
}

func allModes() []modes {
	var all []modes
	for _, extents := range []uint32{1, 2, 0} { // cast, probe, inline only
		for _, args := range []uint32{1, 2, 0} { // helper, dynptr, none
			all = append(all, modes{args, extents})
		}
	}
	return all
}

// Open loads every program on its own and attaches it. A program that this
// kernel refuses is reported by Hooks; only the task iterator is required.
// The caller closes the Monitor.
func Open(o Options) (_ *Monitor, err error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, ebpf.ErrNotSupported) {
			return nil, ErrNoBTF
		}
		return nil, fmt.Errorf("read kernel BTF: %w", err)
	}
	// Before 5.11 maps counted against RLIMIT_MEMLOCK; a no-op since.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raise RLIMIT_MEMLOCK: %w", err)
	}
	spec, err := loadIdentity()
	if err != nil {
		return nil, fmt.Errorf("load embedded programs: %w", err)
	}
	m := &Monitor{
		ring:    ringSize(o.RingBytes),
		guarded: !o.SnapshotOnly && (o.Guard == GuardOn || preemptsTracepoints(kernel)),
	}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if o.SnapshotOnly {
		m.ring = uint32(os.Getpagesize()) // nothing is written to it
	}
	m.size(spec)
	if err := errors.Join(
		spec.Variables["guarded"].Set(m.guarded), spec.Variables["tells_last"].Set(tellsLast(kernel)),
	); err != nil {
		return nil, fmt.Errorf("set constants: %w", err)
	}
	if err := spec.Variables["wakeup_bytes"].Set(uint64(m.ring / 8)); err != nil {
		return nil, fmt.Errorf("set wake-up threshold: %w", err)
	}
	if err := m.loadMaps(spec); err != nil {
		return nil, err
	}
	if o.RunStats && !o.SnapshotOnly {
		// Not fatal: only the run-time metric is lost.
		if s, err := ebpf.EnableStats(bpfStatsRunTime); err == nil {
			m.stats = s
		}
	}
	candidates := allModes()
	for _, info := range programs(m.guarded) {
		if o.SnapshotOnly && !info.iterator {
			continue
		}
		h := &loadedHook{programInfo: info, state: HookUnproven}
		m.hooks = append(m.hooks, h)
		candidates = m.load(spec, h, candidates)
		if h.program == nil {
			if info.name == "each_task" {
				return nil, fmt.Errorf("load %s: %s", info.target, h.reason)
			}
			continue
		}
		switch info.name {
		case "each_task":
			m.tasks.program = h.program
			if m.task.program, err = m.loadOne(spec, candidates[0]); err != nil {
				return nil, fmt.Errorf("load %s for one process: %w", info.target, err)
			}
		case "each_userns":
			m.userns.program = h.program
		}
	}
	m.attach()
	if !o.SnapshotOnly {
		if m.reader, err = ringbuf.NewReader(m.coll.Events); err != nil {
			return nil, fmt.Errorf("open event ring: %w", err)
		}
	}
	return m, nil
}

// size makes the maps as large as this Monitor has them.
func (m *Monitor) size(spec *ebpf.CollectionSpec) {
	spec.Maps[identityMapEvents].MaxEntries = m.ring
	if !m.guarded {
		spec.Maps[identityMapBirths].MaxEntries = 1
	}
}

// attach attaches all that was loaded, in the order of programs. Loading takes
// tens of milliseconds each, so it is not done in between: the counts of
// different events should begin together.
func (m *Monitor) attach() {
	for _, h := range m.hooks {
		if h.program == nil || h.iterator {
			continue
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: h.program})
		if err != nil {
			h.state, h.reason = HookMissing, "attach: "+oneLine(err)
			continue
		}
		h.link = l
	}
}

const bpfStatsRunTime = 0 // BPF_STATS_RUN_TIME

func ringSize(want uint32) uint32 {
	if want == 0 {
		want = defaultRingBytes
	}
	size := uint32(os.Getpagesize())
	for size < want && size < 1<<30 {
		size <<= 1
	}
	return size
}

// loadMaps makes the maps that all programs share.
func (m *Monitor) loadMaps(spec *ebpf.CollectionSpec) error {
	only := spec.Copy()
	only.Programs = nil
	coll, err := ebpf.NewCollection(only)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("create maps: %w: eyas needs CAP_BPF and CAP_PERFMON (or root)", err)
		}
		return fmt.Errorf("create maps: %w", err)
	}
	m.shared = coll
	m.coll = identityMaps{
		Births: coll.Maps[identityMapBirths], Counts: coll.Maps[identityMapCounts], Events: coll.Maps[identityMapEvents], Reported: coll.Maps[identityMapReported],
		Scratches: coll.Maps[identityMapScratches], Stats: coll.Maps[identityMapStats], Told: coll.Maps[identityMapTold],
	}
	return nil
}

// load tries the modes in order until the kernel accepts the program, and
// returns the modes still worth trying for the next one.
func (m *Monitor) load(spec *ebpf.CollectionSpec, h *loadedHook, candidates []modes) []modes {
	var first error
	for i, mode := range candidates {
		p, err := m.loadAs(spec, h.name, mode)
		if err == nil {
			h.program, h.lacks = p, mode.lacks(h.name)
			return candidates[i:]
		}
		if first == nil {
			first = err
		}
	}
	h.state, h.reason = HookMissing, "load: "+h.refusal(first)
	return candidates
}

func (m *Monitor) loadAs(spec *ebpf.CollectionSpec, name string, mode modes) (*ebpf.Program, error) {
	one := spec.Copy()
	for n := range one.Programs {
		if n != name {
			delete(one.Programs, n)
		}
	}
	if name == "on_newtask" && m.guarded {
		one.Programs[name].AttachTo = "sched_wakeup_new"
	}
	if err := one.Variables["args_mode"].Set(mode.args); err != nil {
		return nil, err
	}
	if err := one.Variables["extents_mode"].Set(mode.extents); err != nil {
		return nil, err
	}
	coll, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{
		MapReplacements: m.sharedMaps(),
	})
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram(name), nil
}

// loadOne loads a second copy of each_task, so that a look at one process need
// not wait for a snapshot of all.
func (m *Monitor) loadOne(spec *ebpf.CollectionSpec, mode modes) (*ebpf.Program, error) {
	one := spec.Copy()
	if err := one.Variables["task_row"].Set(uint32(identityEyasProgramEYAS_PROGRAM_TASK)); err != nil {
		return nil, err
	}
	return m.loadAs(one, "each_task", mode)
}

// sharedMaps are all but the constants, in which each program has its modes.
func (m *Monitor) sharedMaps() map[string]*ebpf.Map {
	maps := make(map[string]*ebpf.Map, len(m.shared.Maps))
	for name, mp := range m.shared.Maps {
		if name != ".rodata" {
			maps[name] = mp
		}
	}
	return maps
}

// ran reports whether a program has run since it was attached.
func (m *Monitor) ran(p identityEyasProgram) bool {
	var seen [identityEyasProgramEYAS_PROGRAMS]uint8
	return m.shared.Variables[identityVarSeen].Get(&seen) == nil && seen[p] != 0
}

// forgetRuns makes ran begin anew.
func (m *Monitor) forgetRuns() error {
	return m.shared.Variables[identityVarSeen].Set([identityEyasProgramEYAS_PROGRAMS]uint8{})
}

// oneLine cuts a verifier's pages down to what fits a log line.
func oneLine(err error) string {
	var ve *ebpf.VerifierError
	s := err.Error()
	if errors.As(err, &ve) {
		s = fmt.Sprintf("%-v", ve)
	}
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

// Close detaches and frees everything, and unblocks Read.
func (m *Monitor) Close() error {
	if m.closed.Swap(true) {
		return nil
	}
	var errs []error
	if m.reader != nil {
		errs = append(errs, m.reader.Close())
	}
	for _, h := range m.hooks {
		if h.link != nil {
			errs = append(errs, h.link.Close())
		}
		if h.program != nil {
			errs = append(errs, h.program.Close())
		}
	}
	if m.task.program != nil {
		errs = append(errs, m.task.program.Close())
	}
	if m.floor != nil {
		errs = append(errs, m.floor.Close())
	}
	if m.stats != nil {
		errs = append(errs, m.stats.Close())
	}
	if m.shared != nil {
		m.shared.Close()
	}
	return errors.Join(errs...)
}

// Read hands every record that is in the ring to f and returns once the ring
// has been empty at or after the deadline, or when f returns false.
// A closed Monitor yields os.ErrClosed. Not safe for concurrent use.
func (m *Monitor) Read(deadline time.Time, f func(record any) bool) error {
	m.reader.SetDeadline(deadline)
	for {
		if err := m.reader.ReadInto(&m.raw); err != nil {
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ringbuf.ErrFlushed):
				return nil
			case errors.Is(err, ringbuf.ErrClosed):
				return os.ErrClosed
			}
			return fmt.Errorf("read event ring: %w", err)
		}
		r, err := m.decoder.Decode(m.raw.RawSample)
		if err != nil {
			m.malforms.Add(1)
			continue
		}
		if !f(r) {
			return nil
		}
	}
}

// Flush makes Read hand over what is in the ring and return at once, also when
// its deadline is not reached. Safe for concurrent use.
func (m *Monitor) Flush() error {
	if m.closed.Load() {
		return os.ErrClosed
	}
	return m.reader.Flush()
}

// Malformed counts records that could not be decoded: 0 unless kernel side and
// user side are of different builds.
func (m *Monitor) Malformed() uint64 { return m.malforms.Load() }

// Ring returns how many bytes of the event ring are filled, and its size.
func (m *Monitor) Ring() (filled, size int) {
	if m.reader == nil {
		return 0, int(m.ring)
	}
	return m.reader.AvailableBytes(), m.reader.BufferSize()
}
