package tracker

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// kernel is a Source that a test writes.
type kernel struct {
	mu       sync.Mutex
	tasks    []*bpf.Process // what a snapshot finds
	during   func(*kernel)  // runs while a snapshot is taken, after it has looked
	task     map[uint32]func() (*bpf.Process, error)
	userNS   map[uint32][]*bpf.UserNS
	ring     []any
	lost     uint64
	err      error // of snapshots
	flushErr error
	wake     chan struct{}
	asked    map[uint32]int // times a process's user namespaces were read
}

func newKernel(tasks ...*bpf.Process) *kernel {
	return &kernel{
		tasks: tasks, task: map[uint32]func() (*bpf.Process, error){}, userNS: map[uint32][]*bpf.UserNS{},
		wake: make(chan struct{}, 1), asked: map[uint32]int{},
	}
}

// do changes the kernel.
func (k *kernel) do(f func(*kernel)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(k)
}

func (k *kernel) tell(records ...any) { k.do(func(k *kernel) { k.ring = append(k.ring, records...) }) }

func (k *kernel) take() (r any, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.ring) == 0 {
		return nil, false
	}
	r, k.ring = k.ring[0], k.ring[1:]
	return r, true
}

func (k *kernel) Read(deadline time.Time, f func(any) bool) error {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for last := false; ; {
		for r, ok := k.take(); ok; r, ok = k.take() {
			if !f(r) {
				return nil
			}
		}
		if last {
			return nil
		}
		select {
		case <-timer.C:
		case <-k.wake:
		}
		last = true
	}
}

func (k *kernel) Flush() error {
	select {
	case k.wake <- struct{}{}:
	default:
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.flushErr
}

func (k *kernel) Tasks(f func(*bpf.Process)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.tasks {
		copied := *r
		f(&copied)
	}
	if k.during != nil {
		k.during(k)
	}
	return k.err
}

// Task finds a process of tasks, unless the test says what becomes of it.
func (k *kernel) Task(pid uint32) (*bpf.Process, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.task[pid]; f != nil {
		return f()
	}
	for _, r := range k.tasks {
		if r.PID == pid {
			copied := *r
			return &copied, nil
		}
	}
	return nil, bpf.ErrNoProcess
}

func (k *kernel) UserNSOf(pid uint32) ([]*bpf.UserNS, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked[pid]++
	if u, ok := k.userNS[pid]; ok {
		return u, nil
	}
	return nil, bpf.ErrNoProcess
}

func (k *kernel) Lost() bpf.Losses {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bpf.Losses{Records: k.lost}
}

const (
	hostPIDNS  = 4026531836
	hostUserNS = 4026531837
)

// task is a process in the pid namespace ns, whose first process is pid ns.
func task(pid, ppid, ns uint32) *bpf.Process {
	return &bpf.Process{
		Kind: bpf.KindTask, Time: uint64(pid) * 1e7, Start: uint64(pid) * 1e7, PID: pid, PPID: ppid, Threads: 1, Comm: "sh",
		PIDLevels: []bpf.Level{
			{PID: pid, PIDNS: hostPIDNS},
			{PID: pid - ns + 1, PIDNS: ns, PIDNSStart: uint64(ns) * 1e7, PIDNSOwner: hostUserNS},
		},
		UserLevels: []bpf.Level{{UserNS: hostUserNS}},
	}
}

func fork(pid, ppid, ns uint32) *bpf.Process {
	p := task(pid, ppid, ns)
	p.Kind = bpf.KindFork
	return p
}

func exit(pid uint32) *bpf.Exit {
	return &bpf.Exit{Time: uint64(pid)*1e7 + 1e6, Start: uint64(pid) * 1e7, PID: pid, Code: 9}
}

// memory counts what it is told.
type memory struct {
	mu   sync.Mutex
	seen map[identity.HostPID]int // live records
	dead map[identity.HostPID]int
	late []bpf.Exit
	ns   []identity.UserNSRecord
	made map[string]int
	gone map[string]int
}

func newMemory() *memory {
	return &memory{seen: map[identity.HostPID]int{}, dead: map[identity.HostPID]int{}, made: map[string]int{}, gone: map[string]int{}}
}

func (m *memory) PutProcess(r identity.ProcessRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Exited {
		m.dead[r.PID]++
	} else {
		m.seen[r.PID]++
	}
}

func (m *memory) PutContainer(r identity.ContainerRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Gone {
		m.gone[r.ID]++
	} else {
		m.made[r.ID]++
	}
}

func (m *memory) PutUserNS(r identity.UserNSRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ns = append(m.ns, r)
}

func (m *memory) LateExit(e bpf.Exit, _ time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.late = append(m.late, e)
}

// follow runs a Tracker on a kernel until the test ends. Without a Reconcile
// of its own it compares only when asked or after a loss.
func follow(t *testing.T, k *kernel, o Options) *Tracker {
	t.Helper()
	o.Source, o.Table, o.Log = k, identity.NewTable(identity.Options{Boot: "b"}), zerolog.Nop()
	if o.Reconcile == 0 {
		o.Reconcile = time.Hour
	}
	o.Tick = time.Millisecond
	tr := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-tr.Ready():
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	return tr
}

// live returns the pids of the table, and the live processes per container.
func live(tr *Tracker) (pids []identity.HostPID, counts []int) {
	tr.View(func(table *identity.Table, _ map[string]int) {
		for _, p := range table.Processes() {
			pids = append(pids, p.Key.PID)
		}
		for _, c := range table.Containers() {
			counts = append(counts, c.Live)
		}
	})
	return pids, counts
}

func check(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// until waits for something that the tracker does in its own time.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}
