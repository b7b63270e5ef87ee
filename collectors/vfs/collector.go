// Package vfs tells what containers read and write whose root is a plain directory,
// as vfs storage makes it: no layered file system passes it on, so that the kernel's
// accounting of processes is all there is.
//
// What enters: the identity table, mountinfo of each container's first process, and
// /proc/PID/io. What leaves: Prometheus series. It changes nothing, and asks only
// where there is such a container.
package vfs

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// Table gives a view of the identity table.
type Table interface {
	View(f func(table *identity.Table, zombies map[string]int))
}

// Options of a Collector.
type Options struct {
	Table     Table
	Clock     identity.Clock
	MaxNested int           // nested containers with series, per outermost one; default 50
	Every     time.Duration // between looks at processes; default 5 s
	Proc      string        // where procfs is; default /proc
	Log       zerolog.Logger
}

// Bytes are of /proc/PID/io; see proc_pid_io(5).
type Bytes struct {
	Read, Written         uint64 // by calls, of whatever descriptor
	DiskRead, DiskWritten uint64 // from storage, and to be written to it
}

func (b *Bytes) add(o Bytes) {
	b.Read += o.Read
	b.Written += o.Written
	b.DiskRead += o.DiskRead
	b.DiskWritten += o.DiskWritten
}

// since returns what is more than before. What went back (a page cache that was
// dropped before it was written) is nothing.
func (b Bytes) since(o Bytes) Bytes {
	more := func(now, then uint64) uint64 { return now - min(now, then) }
	return Bytes{more(b.Read, o.Read), more(b.Written, o.Written), more(b.DiskRead, o.DiskRead), more(b.DiskWritten, o.DiskWritten)}
}

// settled is how long after its start a container's root is what it stays: a runtime
// changes it before it executes the program.
const settled = 30 * time.Second

// maxProcesses are looked at in one look; the rest waits for none.
const maxProcesses = 20000

// Collector is a prometheus.Collector; safe for concurrent use.
type Collector struct {
	o      Options
	begun  uint64 // ns since boot: what processes did before is not counted
	mu     sync.Mutex
	roots  map[string]bool // Run's own: whether a container's root is a plain directory, of those that are settled
	totals map[string]Bytes
	last   map[identity.ProcessKey]Bytes
	nested *fold.Series[Bytes]
	read   func(proc string, pid int) (Bytes, error)
	mounts func(proc string, pid int) (string, error)
}

// New returns a Collector; Run looks.
func New(o Options) *Collector {
	if o.Every <= 0 {
		o.Every = 5 * time.Second
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	return &Collector{
		o: o, begun: uint64(time.Since(o.Clock.Boot)), roots: map[string]bool{}, totals: map[string]Bytes{}, last: map[identity.ProcessKey]Bytes{},
		nested: fold.New(o.MaxNested, (*Bytes).add), read: readIO, mounts: evidence.ReadMountinfo,
	}
}

// Run looks at the processes of such containers, until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	tick := time.NewTicker(c.o.Every)
	defer tick.Stop()
	for {
		c.look(time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// member is a process to look at.
type member struct {
	key       identity.ProcessKey
	container string
}

func (c *Collector) look(now time.Time) {
	members := c.members(c.plain(now))
	c.mu.Lock()
	defer c.mu.Unlock()
	last := make(map[identity.ProcessKey]Bytes, len(members))
	for _, m := range members {
		b, err := c.read(c.o.Proc, int(m.key.PID))
		if err != nil {
			continue // it ended meanwhile, or may not be looked at
		}
		if !evidence.SameProcess(c.o.Proc, int(m.key.PID), m.key.Start) {
			continue
		}
		last[m.key] = b
		before, known := c.last[m.key]
		if !known && m.key.Start < c.begun {
			before = b
		}
		sum := c.totals[m.container]
		sum.add(b.since(before))
		c.totals[m.container] = sum
	}
	c.last = last
	c.o.Table.View(func(t *identity.Table, _ map[string]int) { c.fold(t) })
}

// plain returns the containers whose root is a plain directory.
func (c *Collector) plain(now time.Time) map[string]bool {
	jobs, all, alive := map[string]identity.ProcessKey{}, map[string]bool{}, map[string]bool{}
	young := uint64(now.Sub(c.o.Clock.Boot) - settled)
	fresh := map[string]bool{}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for _, x := range t.Containers() {
			alive[x.ID] = true
			if plain, known := c.roots[x.ID]; known {
				if plain {
					all[x.ID] = true
				}
				continue
			}
			if x.Init.PID != 0 {
				jobs[x.ID], fresh[x.ID] = x.Init, x.First > young
			}
		}
	})
	for id := range c.roots {
		if !alive[id] {
			delete(c.roots, id)
		}
	}
	for id, init := range jobs {
		text, err := c.mounts(c.o.Proc, int(init.PID))
		if err != nil || !evidence.SameProcess(c.o.Proc, int(init.PID), init.Start) {
			continue
		}
		plain := evidence.PlainRoot(strings.NewReader(text))
		if !fresh[id] {
			c.roots[id] = plain
		}
		if plain {
			all[id] = true
		}
	}
	return all
}

// members are the processes of containers.
func (c *Collector) members(of map[string]bool) (all []member) {
	if len(of) == 0 {
		return nil
	}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for _, p := range t.Processes() {
			if p.Container != nil && of[p.Container.ID] && len(all) < maxProcesses {
				all = append(all, member{p.Key, p.Container.ID})
			}
		}
	})
	return all
}

// fold brings the remainders up to what was counted, and forgets who is gone. The
// table's lock is held.
func (c *Collector) fold(t *identity.Table) {
	alive := func(id string) bool { return t.Container(id) != nil }
	c.nested.Retire(alive, func(id string) (Bytes, bool) { b, ok := c.totals[id]; return b, ok })
	for id, b := range c.totals {
		x := t.Container(id)
		switch {
		case x == nil:
			delete(c.totals, id)
		case x != x.Outer() && !c.nested.Own(x.Outer().ID, id):
			c.nested.Set(x.Outer().ID, id, b)
		}
	}
}

func readIO(proc string, pid int) (Bytes, error) {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return Bytes{}, err
	}
	p, err := fs.Proc(pid)
	if err != nil {
		return Bytes{}, err
	}
	io, err := p.IO()
	if err != nil {
		return Bytes{}, err
	}
	return Bytes{Read: io.RChar, Written: io.WChar, DiskRead: io.ReadBytes, DiskWritten: io.WriteBytes}, nil
}
