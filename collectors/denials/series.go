package denials

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/series"
)

var (
	labels    = []string{"namespace", "pod", "container", "nested", "level"}
	ofDenials = series.Counter("eyas_denials_total",
		"Calls of nested processes that were refused, by cause: capability (missing), owner_unmapped (of a file), id_unmapped (asked for), userns_limit, pids_max, "+
			"process_limit (RLIMIT_NPROC, or the node's threads), key_quota, cgroup_limit, other; if asked for, seccomp; while traced (eyas explain CHAIN --trace), mode and file_server. Not each is a failure: engines try what they can do without. "+
			"eyas explain CHAIN tells which, what helps, and what became of the process.",
		labels, "cause")
	ofUnowned = series.Counter("eyas_denials_unowned_total",
		"Refused calls of containers that were gone before they were known.", nil)
	ofFolded = series.Gauge("eyas_denials_nested_folded",
		"Nested containers without denial series of their own, added up as nested=\"_other\".", labels[:3])
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- ofDenials.Desc()
	ch <- ofUnowned.Desc()
	ch <- ofFolded.Desc()
}

// causes adds up refusals by cause.
type causes map[string]uint64

// other is the cause of what is told no more of than its number.
const other = "other"

func (s *causes) add(o causes) {
	if *s == nil {
		*s = causes{}
	}
	for k, n := range o {
		(*s)[k] += n
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) { c.Tell(series.To(ch)) }

// Tell writes what Collect sends.
func (c *Collector) Tell(w series.Writer) {
	if !c.o.Source.Attached() {
		return // no series says more than zeros that are none
	}
	if err := c.Sync(time.Now()); err != nil {
		w.Invalid(ofDenials, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Row(nil).Set(ofUnowned, float64(c.unowned))
	emit := func(outer identity.PodLabels, nested string, level int, n causes) {
		row := w.Row(labels, outer.With(nested, strconv.Itoa(level))...)
		for cause, v := range n {
			row.Set(ofDenials, float64(v), cause)
		}
	}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for _, x := range t.Containers() {
			n, outer := c.causes(x.ID), x.Outer()
			switch {
			case n == nil: // nothing was refused, no series
			case x == outer:
				emit(t.PodLabels(x.ID), "", x.Level, n)
			case c.nested.Own(outer.ID, x.ID):
				emit(t.PodLabels(outer.ID), x.ID, x.Level, n)
			}
		}
		for id, r := range c.nested.Remainders() {
			outer := t.PodLabels(id)
			emit(outer, fold.Other, 2, r.Sum)
			w.Row(labels[:3], outer.With()...).Set(ofFolded, float64(r.Folded))
		}
	})
}

func (c *Collector) causes(id string) causes {
	box := c.containers[id]
	if box == nil {
		return nil
	}
	n := causes{}
	for _, r := range box.kinds {
		n[r.Cause] += r.Count
	}
	if box.other > 0 {
		n[other] += box.other
	}
	return n
}

// retire gives to the remainders what folded containers that are gone were
// refused to the end.
func (c *Collector) retire(t *identity.Table) {
	c.nested.Retire(
		func(id string) bool { return t.Container(id) != nil },
		func(id string) (causes, bool) { n := c.causes(id); return n, n != nil })
}

// place decides of nested containers that were refused something whether they
// have series, and brings the remainders up to what the others were.
func (c *Collector) place(t *identity.Table) {
	if len(c.fresh) == 0 {
		return
	}
	for _, x := range t.Containers() {
		if outer := x.Outer(); c.fresh[x.ID] && x != outer && !c.nested.Own(outer.ID, x.ID) {
			c.nested.Set(outer.ID, x.ID, c.causes(x.ID))
		}
	}
	clear(c.fresh)
}

// grew notes that a container was refused something n times more.
func (c *Collector) grew(x *identity.Container, cause string, n uint64) {
	switch {
	case n == 0:
	case x.Gone():
		c.nested.Late(x.Outer().ID, x.ID, causes{cause: n})
	default:
		c.fresh[x.ID] = true
	}
}
