package denials

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Other is the nested label of what has no series of its own.
const Other = "_other"

var (
	descDenials = prometheus.NewDesc("eyas_denials_total",
		"Calls of nested processes that were refused, by cause: capability (missing), owner_unmapped (of a file), id_unmapped (asked for), userns_limit, pids_max, "+
			"process_limit (RLIMIT_NPROC, or the node's threads), key_quota, cgroup_limit, other. eyas explain CHAIN tells which, and what helps.",
		[]string{"namespace", "pod", "container", "nested", "level", "cause"}, nil)
	descUnowned = prometheus.NewDesc("eyas_denials_unowned_total",
		"Refused calls of containers that were gone before they were known.", nil, nil)
	descFolded = prometheus.NewDesc("eyas_denials_nested_folded",
		"Nested containers without denial series of their own, added up as nested=\"_other\".",
		[]string{"namespace", "pod", "container"}, nil)
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descDenials
	ch <- descUnowned
	ch <- descFolded
}

// causes adds up refusals by cause.
type causes map[string]uint64

func (s causes) add(o causes) {
	for k, n := range o {
		s[k] += n
	}
}

// sandbox is what must stay the same from scrape to scrape for one outermost
// container: who has series, and what those without have added up to.
type sandbox struct {
	own     map[string]bool
	folded  map[string]causes // by container
	retired causes            // of folded ones that are gone
	others  bool              // there is, or was, a remainder
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	if !c.o.Source.Attached() {
		return // no series says more than zeros that are none
	}
	if err := c.Sync(time.Now()); err != nil {
		ch <- prometheus.NewInvalidMetric(descDenials, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(descUnowned, prometheus.CounterValue, float64(c.unowned))
	emit := func(container, nested string, level int, n causes) {
		for cause, v := range n {
			ch <- prometheus.MustNewConstMetric(descDenials, prometheus.CounterValue, float64(v), "", "", container, nested, strconv.Itoa(level), cause)
		}
	}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		c.retire(t)
		for _, x := range t.Containers() {
			n, outer := c.causes(x.ID), x.Outer()
			switch {
			case n == nil: // nothing was refused, no series
			case x == outer:
				emit(x.ID, "", x.Level, n)
			case c.hasOwn(x, outer):
				emit(outer.ID, x.ID, x.Level, n)
			default:
				box := c.slots[outer.ID]
				box.folded[x.ID], box.others = n, true
			}
		}
	})
	for id, box := range c.slots {
		if !box.others {
			continue
		}
		sum := causes{}
		sum.add(box.retired)
		for _, n := range box.folded {
			sum.add(n)
		}
		emit(id, Other, 2, sum)
		ch <- prometheus.MustNewConstMetric(descFolded, prometheus.GaugeValue, float64(len(box.folded)), "", "", id)
	}
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
		n["other"] += box.other
	}
	return n
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

// hasOwn reports whether a nested container has series of its own. Once decided
// it stays: a counter that moved would seem to be reset.
func (c *Collector) hasOwn(x, outer *identity.Container) bool {
	box := c.slots[outer.ID]
	if box == nil {
		box = &sandbox{own: map[string]bool{}, folded: map[string]causes{}, retired: causes{}}
		c.slots[outer.ID] = box
	}
	if _, folded := box.folded[x.ID]; !folded && len(box.own) < c.o.MaxNested {
		box.own[x.ID] = true
	}
	return box.own[x.ID]
}
