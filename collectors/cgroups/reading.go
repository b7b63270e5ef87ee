package cgroups

import (
	"context"
	"runtime/debug"
	"strings"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// A scrape reads up to few cgroups itself, unless that takes longer than quick
// again and again: what it tells is new then. More, or slower ones, are read behind
// scrapes, once for each, and a scrape tells the last reading: its numbers are as far
// apart as scrapes are, so rates are right. Nothing is read while nobody asks.
const (
	few      = 50
	quick    = 50 * time.Millisecond
	later    = time.Second // after a scrape, which has its answer by then
	share    = 20          // the time between two is as many times what one takes, up to
	pauses   = time.Minute
	patience = 2 * time.Second   // of a scrape that reads itself
	stale    = 150 * time.Second // a scrape does not tell older ones, if it can read
	useless  = 5 * time.Minute   // and these not at all
)

// reading is all cgroups of containers, each read once, in the table's order. It
// does not change any more.
type reading struct {
	at, done time.Time
	took     time.Duration
	usual    time.Duration // without a single hiccup
	behind   bool          // the next one is read behind scrapes
	cgroups  []place
	rest     map[string]rest // by the outermost container's id
}

// end decides what comes after r; last may be nil.
func (r *reading) end(last *reading) {
	r.done = time.Now()
	r.took = r.done.Sub(r.at)
	many, slow := few, quick
	if last != nil {
		r.usual = min(r.took, last.took)
		if last.behind { // numbers jump in time when that changes
			many, slow = many/2, slow/2
		}
	}
	r.behind = len(r.cgroups) > many || r.usual > slow
}

// place is a container with a cgroup of its own.
type place struct {
	id, outer string
	level     int
	path      string
	own       bool // has series of its own
	top       bool // of those without, no other one is around it
	stats     Stats
}

// rest is what those without series come to.
type rest struct {
	sum    sums
	memory uint64
}

// Run reads cgroups behind scrapes, if they are many, until ctx ends. It returns nil.
func (c *Collector) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
		wait := later
		if r := c.last.Load(); r != nil {
			wait = max(wait, min(share*r.usual, pauses)-time.Since(r.done))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		select {
		case <-c.wake: // this one is for all that have asked
		default:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.one.DoChan("", c.read):
		}
	}
}

// reading returns what there is to tell: a new one, if that is quick. One that
// hangs is not waited for; nil says that there is none yet.
func (c *Collector) reading() *reading {
	r := c.last.Load()
	if r != nil && r.behind && time.Since(r.at) < stale {
		select {
		case c.wake <- struct{}{}:
		default: // it is awake
		}
		return r
	}
	if c.hangs.Load() {
		return r
	}
	select {
	case <-c.one.DoChan("", c.read):
	case <-time.After(patience):
		if c.hangs.CompareAndSwap(false, true) {
			c.o.Log.Error().Str("cgroup", *c.path.Load()).Msg("a cgroup is not read: memory, CPU, I/O and tasks of all containers stay as they were, until they are")
		}
	}
	return c.last.Load()
}

// read makes a reading. One at a time.
func (c *Collector) read() (_ any, _ error) {
	defer func() {
		c.hangs.Store(false)
		if e := recover(); e != nil { // singleflight would let it end the agent
			c.o.Log.Error().Interface("panic", e).Bytes("stack", debug.Stack()).Msg("cgroups are not read")
		}
	}()
	c.look()
	r := &reading{at: time.Now(), rest: map[string]rest{}}
	places := c.places()
	r.cgroups = make([]place, 0, len(places))
	memory := map[string]uint64{} // of what is folded, by the outermost container's id
	for _, p := range places {
		c.path.Store(&p.path)
		s, err := c.o.Reader.Stats(p.path)
		if err != nil {
			continue // it vanished: the table will tell
		}
		if p.stats = s; p.top {
			c.nested.Set(p.outer, p.id, sumsOf(&s))
			memory[p.outer] += memoryOf(&s)
		}
		r.cgroups = append(r.cgroups, p)
	}
	for outer, x := range c.nested.Remainders() {
		r.rest[outer] = rest{sum: x.Sum, memory: memory[outer]}
	}
	r.end(c.last.Load())
	c.last.Store(r)
	return nil, nil
}

// places returns the containers that have a cgroup of their own, and decides who
// has series. What folded ones counted that are gone stays in the remainder as it
// was read last: their cgroups are gone, too.
func (c *Collector) places() (out []place) {
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		c.nested.Retire(func(id string) bool { return t.Container(id) != nil }, nil)
		for _, x := range t.Containers() {
			if !hasCgroup(x) {
				continue
			}
			outer := x.Outer()
			p := place{id: x.ID, outer: outer.ID, level: x.Level, path: x.Root}
			p.own = x == outer || c.nested.Own(outer.ID, x.ID)
			p.top = !p.own && c.isTop(x, outer)
			out = append(out, p)
		}
	})
	return out
}

// hasCgroup reports whether a container has a cgroup that is not the one around
// it. The root has no numbers.
func hasCgroup(x *identity.Container) bool {
	return x.Root != "" && x.Root != "/" && (x.Parent == nil || x.Parent.Root != x.Root)
}

// isTop reports whether the numbers of a container without series are in those
// of no other one: a cgroup's are in those of the cgroups around it.
func (c *Collector) isTop(x, outer *identity.Container) bool {
	for p := x.Parent; p != nil; p = p.Parent {
		if c.nested.Folded(outer.ID, p.ID) && strings.HasPrefix(x.Root, p.Root+"/") {
			return false
		}
	}
	return true
}

// look says once which controllers are not there.
func (c *Collector) look() {
	if c.looked {
		return
	}
	c.looked = true
	have, err := c.o.Reader.Controllers()
	if err != nil {
		c.o.Log.Warn().Err(err).Msg("controllers cannot be read")
		return
	}
	var missing []string
	for _, name := range []string{"memory", "cpu", "io", "pids"} {
		found := false
		for _, h := range have {
			found = found || h == name
		}
		if !found {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		c.o.Log.Warn().Strs("controllers", missing).Msg("cgroup2 has no such controllers here, v1 hierarchies hold them: their series are absent")
	}
}
