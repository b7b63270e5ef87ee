package cgroups

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/series"
)

// Reader reads a cgroup; *Hierarchy is one.
type Reader interface {
	Stats(path string) (Stats, error)
	Controllers() ([]string, error)
}

// Table gives a view of the identity table.
type Table interface {
	View(f func(table *identity.Table, zombies map[string]int))
}

// Options of a Collector.
type Options struct {
	Reader    Reader
	Table     Table
	MaxNested int           // nested containers with series, per outermost one; default 50
	MaxReads  int           // cgroups read at a scrape; default 2000
	MaxTime   time.Duration // after which a scrape begins no other read; default 2 s
	Log       zerolog.Logger
}

// Collector is a prometheus.Collector; safe for concurrent use.
type Collector struct {
	o      Options
	mu     sync.Mutex
	nested *fold.Series[sums]
	begin  int  // the read that the last scrape had no time for
	looked bool // for controllers
}

// New returns a Collector.
func New(o Options) *Collector {
	if o.MaxReads <= 0 {
		o.MaxReads = 2000
	}
	if o.MaxTime <= 0 {
		o.MaxTime = 2 * time.Second
	}
	return &Collector{o: o, nested: fold.New(o.MaxNested, (*sums).add)}
}

// place is a container with a cgroup of its own.
type place struct {
	id, outer string
	labels    identity.PodLabels // of its series
	level     int
	path      string
	own       bool // has series of its own
	top       bool // of those without, no other one is around it
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) { c.Tell(series.To(ch)) }

// Tell writes what Collect sends.
func (c *Collector) Tell(w series.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	start := time.Now()
	places, outers := c.places()
	memory := map[string]uint64{} // of what is folded, by the outermost container's id
	unread := c.read(places, c.begin, func(p *place, s *Stats) {
		switch {
		case p.own:
			emit(w, p, s)
		case p.top:
			c.nested.Set(p.outer, p.id, sumsOf(s))
			memory[p.outer] += memoryOf(s)
		}
	})
	if unread > 0 {
		// Where this scrape stops the next one begins.
		c.begin = (len(places) - unread + c.begin) % len(places)
	}
	for outer, r := range c.nested.Remainders() {
		emitRemainder(w, outers[outer], r.Sum, memory[outer])
	}
	row := w.Row(nil)
	row.Set(ofUnread, float64(unread))
	row.Set(ofTime, time.Since(start).Seconds())
}

// read reads the cgroups of places, from the one at begin on, as many as there
// is time for, and returns how many are left.
func (c *Collector) read(places []place, begin int, f func(*place, *Stats)) (unread int) {
	start := time.Now()
	for i := range places {
		if i >= c.o.MaxReads || time.Since(start) > c.o.MaxTime {
			return len(places) - i
		}
		p := &places[(i+begin)%len(places)]
		if s, err := c.o.Reader.Stats(p.path); err == nil { // else it vanished: the table will tell
			f(p, &s)
		}
	}
	return 0
}

// Totals reads the cgroup of each live container that want takes and that has
// one of its own, by the container's id: as many as a scrape would, outer ones
// first. Safe for concurrent use, and does not wait for scrapes; want is called
// with the table's lock held.
func (c *Collector) Totals(want func(*identity.Container) bool) map[string]Stats {
	var places []place
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for _, x := range t.Containers() {
			if hasCgroup(x) && want(x) {
				places = append(places, place{id: x.ID, path: x.Root})
			}
		}
	})
	all := make(map[string]Stats, len(places))
	c.read(places, 0, func(p *place, s *Stats) { all[p.id] = *s })
	return all
}

// places returns the containers that have a cgroup of their own, and decides who
// has series. What folded ones counted that are gone stays in the remainder as it
// was read last: their cgroups are gone, too. outers are the labels of those that
// remainders are of.
func (c *Collector) places() (out []place, outers map[string]identity.PodLabels) {
	outers = map[string]identity.PodLabels{}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		c.nested.Retire(func(id string) bool { return t.Container(id) != nil }, nil)
		for _, x := range t.Containers() {
			if !hasCgroup(x) {
				continue
			}
			outer := x.Outer()
			p := place{id: x.ID, outer: outer.ID, labels: t.PodLabels(outer.ID), level: x.Level, path: x.Root}
			p.own = x == outer || c.nested.Own(outer.ID, x.ID)
			p.top = !p.own && c.isTop(x, outer)
			out = append(out, p)
		}
		for id := range c.nested.Remainders() {
			outers[id] = t.PodLabels(id)
		}
	})
	return out, outers
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
