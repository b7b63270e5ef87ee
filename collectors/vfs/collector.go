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
	"os"
	"path/filepath"
	"strconv"
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

// covers reports whether it is at least as much as o.
func (b Bytes) covers(o Bytes) bool {
	return b.Read >= o.Read && b.Written >= o.Written && b.DiskRead >= o.DiskRead && b.DiskWritten >= o.DiskWritten
}

// settled is how long after its start a container's root is what it stays: a runtime
// changes it before it executes the program.
const settled = 30 * time.Second

// rest is how many times as long as a look takes there is none.
const rest = 20

// process is one that was looked at.
type process struct {
	container string
	around    []string // containers around it, the innermost first
	live      bool     // the table has it
	now       Bytes
}

// Collector is a prometheus.Collector; safe for concurrent use.
type Collector struct {
	o      Options
	begun  uint64 // ns since boot: what processes did before is not counted
	mu     sync.Mutex
	roots  map[string]bool // Run's own: whether a container's root is a plain directory, of those that are settled
	totals map[string]Bytes
	last   map[identity.ProcessKey]process // Run's own
	nested *fold.Series[Bytes]
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
		o: o, begun: sinceBoot(o.Clock, time.Now()), roots: map[string]bool{}, totals: map[string]Bytes{}, last: map[identity.ProcessKey]process{},
		nested: fold.New(o.MaxNested, (*Bytes).add),
	}
}

// sinceBoot is in ns.
func sinceBoot(c identity.Clock, at time.Time) uint64 { return uint64(max(0, at.Sub(c.Boot))) }

// Run looks at the processes of such containers, until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		began := time.Now()
		c.look(began)
		timer.Reset(max(c.o.Every, rest*time.Since(began)))
	}
}

// look adds up what processes did since the last look. To the kernel a process did what
// its children did that it has waited for: with a child that ends, what it did goes to
// whoever waits, and is not to be counted again.
func (c *Collector) look(now time.Time) {
	next := c.read(c.members(c.plain(now)))
	grown := map[identity.ProcessKey]Bytes{}
	sum := map[string]Bytes{}
	for key, p := range next {
		before, known := c.last[key]
		if !known && key.Start < c.begun {
			before.now = p.now
		}
		grown[key] = p.now.since(before.now)
		total := sum[p.container]
		total.add(grown[key])
		sum[p.container] = total
	}
	for key, gone := range c.last {
		if _, lives := next[key]; !lives {
			inherit(gone, next, grown, sum)
		}
	}
	c.last = next
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, n := range sum {
		total := c.totals[id]
		total.add(n)
		c.totals[id] = total
	}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) { c.fold(t) })
}

// inherit takes what a process had done off what somebody did since, of its container or
// of one around it, who did at least as much: it was the child, or further down, of
// whoever that is. If there is none, nobody has waited for it.
func inherit(gone process, next map[identity.ProcessKey]process, grown map[identity.ProcessKey]Bytes, sum map[string]Bytes) {
	for _, id := range append([]string{gone.container}, gone.around...) {
		for key, p := range next {
			if p.container != id || !grown[key].covers(gone.now) {
				continue
			}
			// What was not counted of it is not counted with the heir either.
			grown[key] = grown[key].since(gone.now)
			sum[id] = sum[id].since(gone.now)
			return
		}
	}
}

// read asks the kernel what processes did. One that cannot be asked this time has done
// nothing since.
func (c *Collector) read(members map[identity.ProcessKey]process) map[identity.ProcessKey]process {
	for key, p := range members {
		b, err := readIO(c.o.Proc, int(key.PID))
		last, known := c.last[key]
		switch {
		case err == nil && evidence.SameProcess(c.o.Proc, int(key.PID), key.Start):
			p.now = b
		case known && p.live:
			p.now = last.now
		default:
			delete(members, key)
			continue
		}
		members[key] = p
	}
	return members
}

// plain returns the containers whose root is a plain directory.
func (c *Collector) plain(now time.Time) map[string]bool {
	jobs, all, alive := map[string]identity.ProcessKey{}, map[string]bool{}, map[string]bool{}
	young := sinceBoot(c.o.Clock, now.Add(-settled))
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
	if len(jobs) == 0 {
		return all
	}
	// Until a runtime has changed it, a root is that of the node, which may be a
	// directory itself (a subvolume).
	text, _ := evidence.ReadMountinfo(c.o.Proc, 1)
	node, _ := evidence.PlainRoot(strings.NewReader(text))
	for id, init := range jobs {
		text, err := evidence.ReadMountinfo(c.o.Proc, int(init.PID))
		if err != nil || !evidence.SameProcess(c.o.Proc, int(init.PID), init.Start) {
			continue
		}
		root, plain := evidence.PlainRoot(strings.NewReader(text))
		plain = plain && root != node
		if !fresh[id] {
			c.roots[id] = plain
		}
		if plain {
			all[id] = true
		}
	}
	return all
}

// members are the processes of containers, and those of the last look that have ended
// since and that nobody has waited for.
func (c *Collector) members(of map[string]bool) map[identity.ProcessKey]process {
	all := map[identity.ProcessKey]process{}
	if len(of) == 0 {
		return all
	}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for key, p := range c.last {
			if _, err := os.Stat(filepath.Join(c.o.Proc, strconv.Itoa(int(key.PID)))); err == nil && of[p.container] {
				all[key] = process{around: p.around, container: p.container}
			}
		}
		for _, p := range t.Processes() {
			if p.Container == nil || !of[p.Container.ID] {
				continue
			}
			var around []string
			for x := p.Container.Parent; x != nil; x = x.Parent {
				around = append(around, x.ID)
			}
			all[p.Key] = process{around: around, container: p.Container.ID, live: true}
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
