// Package tracker keeps the identity table equal to the kernel: it takes a
// snapshot, follows events, and proves the result by reconciling.
//
// What enters: records of package bpf. What leaves: a current identity.Table
// behind a lock, and records of the living and the dead for the memory. It
// touches nothing on the machine; names are looked up by a Namer.
//
// Order is what makes it exact: programs are attached first, then a snapshot
// is taken, then everything that lies in the ring is applied, and only then
// the two are compared. Run does that at the start, periodically, and whenever
// an event was lost.
package tracker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Source is the kernel; *bpf.Monitor is one.
type Source interface {
	Read(deadline time.Time, f func(record any) bool) error
	Flush() error
	Tasks(f func(*bpf.Process)) error
	Task(pid uint32) (*bpf.Process, error)
	UserNSOf(pid uint32) ([]*bpf.UserNS, error)
	Lost() bpf.Losses
}

// Memory remembers what the table forgets. Calls must not block on a disk.
type Memory interface {
	PutProcess(identity.ProcessRecord)
	PutContainer(identity.ContainerRecord)
	PutUserNS(identity.UserNSRecord)
	LateExit(bpf.Exit, time.Time)
}

// Deaths hears of those whom the OOM killer chose, before the table forgets them.
// The table is locked meanwhile.
type Deaths interface {
	Victim(*identity.Table, *bpf.Victim)
	Exit(*identity.Table, *bpf.Exit)
}

// Options of a Tracker.
type Options struct {
	Source    Source
	Table     *identity.Table
	Memory    Memory // may be nil
	Namer     *Namer // may be nil
	Deaths    Deaths // may be nil
	Pods      Pods   // may be nil
	Clock     identity.Clock
	Reconcile time.Duration // least period, see rest; default 30 s
	Tick      time.Duration // longest time an event stays unread; default 200 ms
	Log       zerolog.Logger
}

// Stats of a Tracker.
type Stats struct {
	Reconciles     uint64
	LossReconciles uint64 // of those, after a loss
	Drift          uint64 // wrong entries found without a loss: must stay 0
	Repaired       uint64 // wrong entries found after a loss
	Adopted        uint64 // processes that entered a namespace without fork or exec
	Zombies        int    // at the last snapshot
	SnapshotTime   time.Duration
	LastReconcile  time.Time
	Rest           time.Duration // from the last periodic comparison to the next
	Events         uint64
}

// Tracker owns the table while Run runs.
type Tracker struct {
	o        Options
	mu       sync.Mutex // guards the table and stats
	stats    Stats
	ready    chan struct{}
	jobs     chan func()
	exited   map[identity.ProcessKey]bool // during a reconcile
	zombie   map[string]int               // by container id, at the last snapshot
	lossSeen bpf.Losses
	once     bool // there is no Run
	wantArgs chan struct{}
	wantPods chan struct{}
	escaped  map[string]bool // by container id: Pods has heard of it
}

// New returns a Tracker; Run makes it live.
func New(o Options) *Tracker {
	if o.Reconcile <= 0 {
		o.Reconcile = 30 * time.Second
	}
	if o.Tick <= 0 {
		o.Tick = 200 * time.Millisecond
	}
	return &Tracker{o: o, ready: make(chan struct{}), jobs: make(chan func(), 16), zombie: map[string]int{}, wantArgs: make(chan struct{}, 1), wantPods: make(chan struct{}, 1), escaped: map[string]bool{}}
}

// Ready is closed after the first snapshot.
func (t *Tracker) Ready() <-chan struct{} { return t.ready }

// Run follows the kernel until ctx ends. It reads the ring alone.
func (t *Tracker) Run(ctx context.Context) error {
	lost := t.o.Source.Lost()
	if err := t.reconcile(first); err != nil {
		return fmt.Errorf("take first snapshot: %w", err)
	}
	close(t.ready)
	stop := context.AfterFunc(ctx, func() { _ = t.o.Source.Flush() })
	defer stop()
	next := time.Now().Add(t.o.Reconcile)
	var lastLook time.Time
	for ctx.Err() == nil {
		if err := t.follow(time.Now().Add(t.o.Tick)); err != nil {
			if errors.Is(err, os.ErrClosed) && ctx.Err() != nil {
				return nil
			}
			return err
		}
		t.runJobs()
		now := lost
		if time.Since(lastLook) >= lossLook {
			lastLook, now = time.Now(), t.o.Source.Lost()
		}
		switch {
		case now != lost:
			if n := now.Records - lost.Records; n > 0 {
				t.o.Log.Warn().Uint64("lost", n).Msg("events lost, taking a new snapshot")
			}
			lost = now
			if err := t.reconcile(afterLoss); err != nil {
				return err
			}
		case time.Now().After(next):
			began := time.Now()
			if err := t.reconcile(periodic); err != nil {
				return err
			}
			rest := t.rest(time.Since(began))
			next = time.Now().Add(rest)
			t.mu.Lock()
			t.stats.Rest = rest
			t.mu.Unlock()
		}
	}
	return nil
}

// rest is how long to wait after a comparison that took so long: it shall have at
// most a thousandth of a core, and happen ten periods later at the latest. Nothing
// but a process that entered a namespace by setns(2) alone is seen later for that,
// and not by those who ask: Look and Refresh read the kernel.
func (t *Tracker) rest(took time.Duration) time.Duration {
	return min(max(t.o.Reconcile, 1000*took), 10*t.o.Reconcile)
}

func (t *Tracker) runJobs() {
	for {
		select {
		case f := <-t.jobs:
			f()
		default:
			return
		}
	}
}

// do runs f on Run's goroutine, soon, and waits for it.
func (t *Tracker) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case t.jobs <- func() { defer close(done); f() }:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := t.o.Source.Flush(); err != nil {
		return fmt.Errorf("wake the reader: %w", err)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lossLook is how often losses are looked for: it takes a system call per hook.
const lossLook = 300 * time.Millisecond

// batch bounds how many events are applied before anything else gets a turn.
const batch = 65536

// Once takes a single snapshot instead of running: the table is what it was at
// that moment, and Refresh and Sync leave it so.
func (t *Tracker) Once(ctx context.Context) error {
	t.once = true
	if err := t.reconcile(first); err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	if t.o.Namer != nil {
		t.NameAll(ctx)
		t.fillArgs(t.o.Namer.Proc)
	}
	if t.o.Pods != nil {
		t.joinPods()
	}
	close(t.ready)
	return nil
}

// follow applies what is in the ring until it is empty at the deadline, or a
// batch is full.
func (t *Tracker) follow(deadline time.Time) error {
	_, err := t.followBatch(deadline)
	return err
}

func (t *Tracker) followBatch(deadline time.Time) (full bool, _ error) {
	n := 0
	err := t.o.Source.Read(deadline, func(r any) bool {
		t.mu.Lock()
		t.apply(r)
		if n++; n%256 == 0 {
			t.settle()
		}
		t.mu.Unlock()
		return n < batch
	})
	t.mu.Lock()
	t.stats.Events += uint64(n)
	t.settle()
	t.mu.Unlock()
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return false, fmt.Errorf("follow events: %w", err)
	}
	return n >= batch, err
}

func (t *Tracker) apply(r any) {
	switch e := r.(type) {
	case *bpf.Hint:
		t.hint(e)
		return
	case *bpf.Victim:
		if t.o.Deaths != nil {
			t.o.Deaths.Victim(t.o.Table, e)
		}
		return
	case *bpf.Exit:
		if t.exited != nil {
			t.exited[identity.ProcessKey{PID: identity.HostPID(e.PID), Start: e.Start}] = true
		}
		if t.o.Deaths != nil && e.OOM {
			t.o.Deaths.Exit(t.o.Table, e)
		}
	}
	t.o.Table.Apply(r)
}

// hint rereads a user namespace whose map is about to be written: at the next
// settling it will have been, and the digest of a member tells.
func (t *Tracker) hint(h *bpf.Hint) {
	for _, p := range t.o.Table.Members(h.UserNS, 1) {
		// One that is not as the ring told so far has more to tell there.
		if r := t.reread(p); r != nil && t.o.Table.Holds(r) {
			t.o.Table.Apply(r)
		}
	}
}

// settle reads missing maps and hands changes on. The lock is held.
func (t *Tracker) settle() {
	c := t.o.Table.TakeChanges()
	asked := map[identity.HostPID]bool{}
	for _, pid := range c.NeedMaps {
		if asked[pid] {
			continue
		}
		asked[pid] = true
		chain, err := t.o.Source.UserNSOf(uint32(pid))
		if err != nil {
			continue // gone: the next member, or the reconcile, will do
		}
		for _, u := range chain {
			t.o.Table.Apply(u)
		}
	}
	if len(asked) > 0 {
		more := t.o.Table.TakeChanges()
		c.Namespaces = append(c.Namespaces, more.Namespaces...)
		c.GoneNS = append(c.GoneNS, more.GoneNS...)
	}
	t.remember(c)
	if len(c.Containers) > 0 || c.Placed {
		t.wakePods()
	}
	if t.o.Namer != nil {
		for _, p := range c.Seen {
			t.o.Namer.consider(p)
		}
		for _, x := range c.Gone {
			t.o.Namer.forget(x.ID)
		}
	}
}

func (t *Tracker) remember(c identity.Changes) {
	if t.o.Memory == nil {
		return
	}
	clock := t.o.Clock
	for _, u := range c.Namespaces {
		t.o.Memory.PutUserNS(u.Record(clock))
	}
	for _, x := range c.Containers {
		t.o.Memory.PutContainer(x.Record(clock))
	}
	exited := make(map[identity.ProcessKey]bool, len(c.Exited))
	for _, p := range c.Exited {
		exited[p.Key] = true
	}
	put := make(map[identity.ProcessKey]bool, len(c.Seen))
	for _, p := range c.Seen {
		if !exited[p.Key] && !put[p.Key] {
			put[p.Key] = true
			t.o.Memory.PutProcess(p.Record(clock))
		}
	}
	for _, p := range c.Exited {
		t.o.Memory.PutProcess(p.Record(clock))
	}
	for _, e := range c.LateExits {
		t.o.Memory.LateExit(e, clock.At(e.Time))
	}
	for _, x := range c.Gone {
		t.o.Memory.PutContainer(x.Record(clock))
	}
	for _, u := range c.GoneNS {
		t.o.Memory.PutUserNS(u.Record(clock))
	}
}

// Now returns ns since boot (CLOCK_BOOTTIME), the clock of all records.
func Now() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // cannot fail with a valid clock id and pointer
	}
	return uint64(ts.Nano())
}

// BootClock measures when the machine booted, by both clocks read at once.
func BootClock() identity.Clock {
	return identity.Clock{Boot: time.Now().Add(-time.Duration(Now()))}
}
