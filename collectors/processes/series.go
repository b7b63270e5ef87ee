package processes

import (
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Other is the nested label of what has no series of its own.
const Other = "_other"

// series is one container's, or one remainder's, numbers.
type series struct {
	container, nested string
	level             int
	info              *identity.ContainerRecord

	processes, threads, zombies, peak int
	counts                            bpf.Counts
	uncounted                         bool // counts are not known
	pids                              cgroups.PIDs
	hasPIDs                           bool
	escaped                           bool
}

// gather adds the kernel's rows to the table's containers; nil rows are not
// known.
func (c *Collector) gather(rows map[bpf.CountsKey]bpf.Counts) []*series {
	var out []*series
	c.o.Table.View(func(t *identity.Table, zombies map[string]int) {
		containers := t.Containers()
		threads := threadsOf(t)
		var counts map[string]bpf.Counts
		if rows != nil {
			counts = c.attribute(t, rows)
		}
		live := make(map[string]bool, len(containers))
		for _, x := range containers {
			live[x.ID] = true
		}
		c.retire(live)
		others := map[string]*series{}
		for _, x := range containers {
			outer := x.Outer()
			s, isOther := c.place(x, outer, others)
			s.processes += x.Live
			s.threads += threads[x.ID]
			s.zombies += zombies[x.ID]
			s.peak += x.Peak
			if isOther {
				folded, n := c.slots[outer.ID].folded, counts[x.ID]
				if rows == nil {
					n = folded[x.ID] // as it was
				}
				folded[x.ID] = n
				continue
			}
			s.counts, s.uncounted = counts[x.ID], rows == nil
			s.escaped = x.Escaped
			rec := x.Record(identity.Clock{})
			s.info = &rec
			s.pids, s.hasPIDs = c.pids(ownCgroup(x))
			out = append(out, s)
		}
		for id, box := range c.slots {
			if !box.others {
				continue
			}
			o := others[id]
			if o == nil {
				o = &series{container: id, nested: Other, level: 2}
			}
			o.counts, o.uncounted = box.retired, rows == nil
			for _, n := range box.folded {
				o.counts.Add(n)
			}
			out = append(out, o)
		}
	})
	return out
}

// retire frees the slots of containers that are gone. What folded ones counted
// stays in the remainder.
func (c *Collector) retire(live map[string]bool) {
	for outer, box := range c.slots {
		if !live[outer] {
			delete(c.slots, outer)
			continue
		}
		for id := range box.own {
			if !live[id] {
				delete(box.own, id)
			}
		}
		for id, n := range box.folded {
			if !live[id] {
				box.retired.Add(n)
				delete(box.folded, id)
			}
		}
	}
}

// place says which series a container counts in. Once placed it stays: a
// counter that moved would seem to be reset.
func (c *Collector) place(x, outer *identity.Container, others map[string]*series) (s *series, other bool) {
	box := c.slots[outer.ID]
	if box == nil {
		box = &sandbox{own: map[string]bool{}, folded: map[string]bpf.Counts{}}
		c.slots[outer.ID] = box
	}
	if x == outer {
		return &series{container: outer.ID, level: x.Level}, false
	}
	_, folded := box.folded[x.ID]
	if !folded && !box.own[x.ID] && len(box.own) < c.o.MaxNested {
		box.own[x.ID] = true
	}
	if box.own[x.ID] {
		return &series{container: outer.ID, nested: x.ID, level: x.Level}, false
	}
	box.others = true
	o := others[outer.ID]
	if o == nil {
		o = &series{container: outer.ID, nested: Other, level: 2}
		others[outer.ID] = o
	}
	return o, true
}

// goneAfter is how long a row may belong to nobody before it is taken: its
// first process may not have been told yet.
const goneAfter = 10 * time.Second

// attribute adds up the rows of each container, by its short id.
func (c *Collector) attribute(t *identity.Table, rows map[bpf.CountsKey]bpf.Counts) map[string]bpf.Counts {
	sums := map[string]bpf.Counts{}
	now := time.Now()
	for key, n := range rows {
		x := t.Owner(identity.NSKey{Inum: key.PIDNS, Gen: key.PIDNSStart}, key.UserNS, key.UserNSID)
		if x == nil {
			if since, ok := c.lost[key]; !ok {
				c.lost[key] = now
			} else if now.Sub(since) > goneAfter {
				delete(c.lost, key)
				if _, err := c.o.Counter.TakeCounts(key); err != nil {
					c.o.Log.Error().Err(err).Msg("remove the counts of a container that is gone")
				}
			}
			continue
		}
		delete(c.lost, key)
		sum := sums[x.ID]
		sum.Add(n)
		sums[x.ID] = sum
	}
	for key := range c.lost {
		if _, ok := rows[key]; !ok {
			delete(c.lost, key)
		}
	}
	return sums
}

func (s *series) emit(ch chan<- prometheus.Metric) {
	l := []string{"", "", s.container, s.nested, strconv.Itoa(s.level)}
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, l...)
	}
	counter := func(d *prometheus.Desc, v uint64, more ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append(append([]string{}, l...), more...)...)
	}
	gauge(descProcesses, float64(s.processes))
	gauge(descThreads, float64(s.threads))
	gauge(descZombies, float64(s.zombies))
	gauge(descPeak, float64(s.peak))
	if !s.uncounted {
		counter(descForks, s.counts.Forks)
		counter(descStarted, s.counts.Threads)
		counter(descExecs, s.counts.Execs)
		counter(descExits, s.counts.ExitsZero, "zero")
		counter(descExits, s.counts.ExitsError, "error")
		counter(descExits, s.counts.ExitsSignal, "signal")
		counter(descOOM, s.counts.OOMKills)
	}
	if s.hasPIDs {
		gauge(descCurrent, float64(s.pids.Current))
		limit := float64(s.pids.Max)
		if s.pids.Unlimited() {
			limit = math.Inf(1)
		}
		gauge(descMax, limit)
	}
	if r := s.info; r != nil {
		escaped := 0.0
		if s.escaped {
			escaped = 1
		}
		gauge(descEscaped, escaped)
		ch <- prometheus.MustNewConstMetric(descInfo, prometheus.GaugeValue, 1, append(append([]string{}, l...),
			r.ID, bounded(r.Display), bounded(r.Name.Runtime), bounded(r.Name.ID), bounded(r.Name.Image),
			strconv.FormatUint(uint64(r.PIDNS.Inum), 10), strconv.FormatUint(uint64(r.UserNS.Inum), 10))...)
	}
}

// bounded cuts a label value from inside a sandbox between two runes. The
// exposition format escapes the rest.
func bounded(s string) string {
	const most = 128
	if len(s) <= most {
		return s
	}
	cut := 0
	for i := range s {
		if i > most {
			break
		}
		cut = i
	}
	return s[:cut]
}
