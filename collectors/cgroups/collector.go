package cgroups

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/identity"
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
	slots  map[string]*sandbox // by the outermost container's id
	begin  int                 // the read that the last scrape had no time for
	looked bool                // for controllers
}

// sandbox is what must stay the same from scrape to scrape for one outermost
// container: who has series, and what those without have added up to.
type sandbox struct {
	own     map[string]bool
	folded  map[string]sums // by container
	retired sums            // of folded ones that are gone
	others  bool            // there is, or was, a remainder
}

// New returns a Collector.
func New(o Options) *Collector {
	if o.MaxNested <= 0 {
		o.MaxNested = 50
	}
	if o.MaxReads <= 0 {
		o.MaxReads = 2000
	}
	if o.MaxTime <= 0 {
		o.MaxTime = 2 * time.Second
	}
	return &Collector{o: o, slots: map[string]*sandbox{}}
}

// place is a container with a cgroup of its own.
type place struct {
	id, outer string
	level     int
	path      string
	own       bool // has series of its own
	top       bool // of those without, no other one is around it
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	start := time.Now()
	places := c.places()
	sum := map[string]*remainder{}
	for outer, box := range c.slots {
		if box.others {
			sum[outer] = &remainder{sums: box.retired}
		}
	}
	unread := c.read(places, c.begin, func(p *place, s *Stats) {
		switch {
		case p.own:
			emit(ch, p, s)
		case p.top:
			c.slots[p.outer].folded[p.id] = sumsOf(s)
			sum[p.outer].memory += memoryOf(s)
		}
	})
	if unread > 0 {
		// Where this scrape stops the next one begins.
		c.begin = (len(places) - unread + c.begin) % len(places)
	}
	for outer, r := range sum {
		for _, n := range c.slots[outer].folded {
			r.add(n)
		}
		r.emit(ch, outer)
	}
	ch <- prometheus.MustNewConstMetric(descUnread, prometheus.GaugeValue, float64(unread))
	ch <- prometheus.MustNewConstMetric(descTime, prometheus.GaugeValue, time.Since(start).Seconds())
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
// has series. Once decided it stays: a counter that moved would seem to be reset.
func (c *Collector) places() (out []place) {
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		c.retire(t)
		for _, x := range t.Containers() {
			if !hasCgroup(x) {
				continue
			}
			outer := x.Outer()
			box := c.slots[outer.ID]
			if box == nil {
				box = &sandbox{own: map[string]bool{}, folded: map[string]sums{}}
				c.slots[outer.ID] = box
			}
			p := place{id: x.ID, outer: outer.ID, level: x.Level, path: x.Root, own: x == outer || box.own[x.ID]}
			if _, folded := box.folded[x.ID]; !p.own && !folded && len(box.own) < c.o.MaxNested {
				box.own[x.ID], p.own = true, true
			}
			if !p.own {
				box.others = true
				p.top = c.isTop(x, box)
				if _, folded := box.folded[x.ID]; p.top && !folded {
					box.folded[x.ID] = sums{} // from now on
				}
			}
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
func (c *Collector) isTop(x *identity.Container, box *sandbox) bool {
	for p := x.Parent; p != nil; p = p.Parent {
		if _, folded := box.folded[p.ID]; folded && strings.HasPrefix(x.Root, p.Root+"/") {
			return false
		}
	}
	return true
}

// retire frees the slots of containers that are gone. What folded ones counted
// stays in the remainder.
func (c *Collector) retire(t *identity.Table) {
	for outer, box := range c.slots {
		if t.Container(outer) == nil {
			delete(c.slots, outer)
			continue
		}
		for id := range box.own {
			if t.Container(id) == nil {
				delete(box.own, id)
			}
		}
		for id, n := range box.folded {
			if t.Container(id) == nil {
				box.retired.add(n)
				delete(box.folded, id)
			}
		}
	}
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
