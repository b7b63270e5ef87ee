package cgroups

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

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
	MaxNested int // nested containers with series, per outermost one; default 50
	Log       zerolog.Logger
}

// Collector is a prometheus.Collector; safe for concurrent use.
type Collector struct {
	o     Options
	one   singleflight.Group
	last  atomic.Pointer[reading]
	began time.Time
	wake  chan struct{}          // a reading was told: there is to be another one
	hangs atomic.Bool            // a reading
	path  atomic.Pointer[string] // what it reads

	// A reading's alone.
	nested *fold.Series[sums]
	looked bool // for controllers
}

// New returns a Collector.
func New(o Options) *Collector {
	c := &Collector{o: o, nested: fold.New(o.MaxNested, (*sums).add), began: time.Now(), wake: make(chan struct{}, 1)}
	c.path.Store(new(string))
	return c
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) { c.Tell(series.To(ch)) }

// Tell writes what Collect sends. Of a reading it tells all or nothing, so that
// all numbers of cgroups are of one age.
func (c *Collector) Tell(w series.Writer) {
	row := w.Row(nil)
	r := c.reading()
	if r == nil {
		row.Set(ofAge, time.Since(c.began).Seconds())
		return
	}
	age := time.Since(r.at)
	row.Set(ofAge, age.Seconds())
	row.Set(ofTime, r.took.Seconds())
	if age > useless {
		return
	}
	live, labels := c.live(r)
	for i := range r.cgroups {
		if p := &r.cgroups[i]; live[i] && p.own {
			emit(w, p, labels[p.outer])
		}
	}
	for outer, rest := range r.rest {
		if of, ok := labels[outer]; ok {
			emitRemainder(w, of, rest.sum, rest.memory)
		}
	}
}

// live tells which cgroups' containers still live, and the labels of the outermost
// ones that do, as they are by now: a pod's name may come late.
func (c *Collector) live(r *reading) ([]bool, map[string]identity.PodLabels) {
	live, labels := make([]bool, len(r.cgroups)), map[string]identity.PodLabels{}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		outer := func(id string) bool {
			if _, ok := labels[id]; !ok && t.Container(id) != nil {
				labels[id] = t.PodLabels(id)
			}
			_, ok := labels[id]
			return ok
		}
		for i := range r.cgroups {
			live[i] = t.Container(r.cgroups[i].id) != nil && outer(r.cgroups[i].outer)
		}
		for id := range r.rest {
			outer(id)
		}
	})
	return live, labels
}

// Totals returns the numbers of each live container that want takes and that has a
// cgroup of its own, by the container's id; also of those without series of their
// own. A few are read now; more are those that a scrape would tell. Safe for
// concurrent use; want is called with the table's lock held.
func (c *Collector) Totals(want func(*identity.Container) bool) map[string]Stats {
	paths := map[string]string{}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for _, x := range t.Containers() {
			if hasCgroup(x) && want(x) {
				paths[x.ID] = x.Root
			}
		}
	})
	all := make(map[string]Stats, len(paths))
	if len(paths) <= few {
		for id, path := range paths {
			if s, err := c.o.Reader.Stats(path); err == nil { // else it vanished
				all[id] = s
			}
		}
		return all
	}
	r := c.reading()
	if r == nil || time.Since(r.at) > useless {
		return all
	}
	for i := range r.cgroups {
		if p := &r.cgroups[i]; paths[p.id] != "" {
			all[p.id] = p.stats
		}
	}
	return all
}
