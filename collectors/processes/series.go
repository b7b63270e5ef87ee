package processes

import (
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Other is the nested label of what has no series of its own.
const Other = fold.Other

// series is one container's, or one remainder's, numbers.
type series struct {
	labels identity.PodLabels
	nested string
	level  int
	folded *int // of a remainder
	info   *identity.ContainerRecord

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
		c.retire(t, counts)
		others := map[string]*series{}
		for _, x := range containers {
			outer := x.Outer()
			s, isOther := c.place(t, x, outer, others)
			s.processes += x.Live
			s.threads += threads[x.ID]
			s.zombies += zombies[x.ID]
			s.peak += x.Peak
			if isOther {
				if rows != nil { // else it is as it was
					c.nested.Set(outer.ID, x.ID, counts[x.ID])
				}
				continue
			}
			s.counts, s.uncounted = counts[x.ID], rows == nil
			s.escaped = x.Escaped
			rec := x.Record(identity.Clock{})
			s.info = &rec
			s.pids, s.hasPIDs = c.pids(ownCgroup(x))
			out = append(out, s)
		}
		for id, r := range c.nested.Remainders() {
			o := others[id]
			if o == nil {
				o = &series{labels: t.PodLabels(id), nested: Other, level: 2}
			}
			o.folded = &r.Folded
			o.counts, o.uncounted = r.Sum, rows == nil
			out = append(out, o)
		}
	})
	return out
}

// retire gives to the remainders what folded containers that are gone counted to
// the end; without counts, what is known of it.
func (c *Collector) retire(t *identity.Table, counts map[string]bpf.Counts) {
	c.nested.Retire(
		func(id string) bool { return t.Container(id) != nil },
		func(id string) (bpf.Counts, bool) { n, ok := counts[id]; return n, ok })
}

// place says which series a container counts in.
func (c *Collector) place(t *identity.Table, x, outer *identity.Container, others map[string]*series) (s *series, other bool) {
	switch {
	case x == outer:
		return &series{labels: t.PodLabels(outer.ID), level: x.Level}, false
	case c.nested.Own(outer.ID, x.ID):
		return &series{labels: t.PodLabels(outer.ID), nested: x.ID, level: x.Level}, false
	}
	o := others[outer.ID]
	if o == nil {
		o = &series{labels: t.PodLabels(outer.ID), nested: Other, level: 2}
		others[outer.ID] = o
	}
	return o, true
}

// goneAfter is how long a row may belong to nobody before it is taken: its
// first process may not have been told yet.
const goneAfter = 10 * time.Second

// attribute adds up the rows of each container, by its short id; also of those
// that are gone, as long as the kernel has rows of them: see retire.
func (c *Collector) attribute(t *identity.Table, rows map[bpf.CountsKey]bpf.Counts) map[string]bpf.Counts {
	sums, owners := map[string]bpf.Counts{}, map[bpf.CountsKey]string{}
	now := time.Now()
	for key, n := range rows {
		id := t.Counted(identity.NSKey{Inum: key.PIDNS, Gen: key.PIDNSStart}, key.UserNS, key.UserNSID, c.owners[key])
		if t.Container(id) != nil {
			delete(c.lost, key)
		} else {
			c.lose(key, now)
		}
		if id == "" {
			continue
		}
		owners[key] = id
		sum := sums[id]
		sum.Add(n)
		sums[id] = sum
	}
	c.owners = owners
	for key := range c.lost {
		if _, ok := rows[key]; !ok {
			delete(c.lost, key)
		}
	}
	return sums
}

// lose takes a row from the kernel that has been nobody's for long enough.
func (c *Collector) lose(key bpf.CountsKey, now time.Time) {
	since, ok := c.lost[key]
	switch {
	case !ok:
		c.lost[key] = now
	case now.Sub(since) > goneAfter:
		delete(c.lost, key)
		if _, err := c.o.Counter.TakeCounts(key); err != nil {
			c.o.Log.Error().Err(err).Msg("remove the counts of a container that is gone")
		}
	}
}

func (s *series) emit(ch chan<- prometheus.Metric) {
	l := s.labels.With(s.nested, strconv.Itoa(s.level))
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
	if s.folded != nil {
		ch <- prometheus.MustNewConstMetric(descFolded, prometheus.GaugeValue, float64(*s.folded), s.labels.With()...)
	}
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
