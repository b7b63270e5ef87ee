package processes

import (
	"strconv"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/series"
)

// Other is the nested label of what has no series of its own.
const Other = fold.Other

// numbers are those of one container, or of one remainder.
type numbers struct {
	labels identity.PodLabels
	nested string
	level  int
	folded *int // of a remainder
	info   *identity.ContainerRecord

	processes, threads, zombies, peak int
	counts                            bpf.Counts
	uncounted                         bool // counts are not known
	escaped                           bool
}

// gather adds the kernel's rows to the table's containers; nil rows are not
// known.
func (c *Collector) gather(rows map[bpf.CountsKey]bpf.Counts) []*numbers {
	var out []*numbers
	c.o.Table.View(func(t *identity.Table, zombies map[string]int) {
		containers := t.Containers()
		threads := threadsOf(t)
		var counts map[string]bpf.Counts
		if rows != nil {
			counts = c.attribute(t, rows)
		}
		c.retire(t, counts)
		others := map[string]*numbers{}
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
			out = append(out, s)
		}
		for id, r := range c.nested.Remainders() {
			o := others[id]
			if o == nil {
				o = &numbers{labels: t.PodLabels(id), nested: Other, level: 2}
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
func (c *Collector) place(t *identity.Table, x, outer *identity.Container, others map[string]*numbers) (s *numbers, other bool) {
	switch {
	case x == outer:
		return &numbers{labels: t.PodLabels(outer.ID), level: x.Level}, false
	case c.nested.Own(outer.ID, x.ID):
		return &numbers{labels: t.PodLabels(outer.ID), nested: x.ID, level: x.Level}, false
	}
	o := others[outer.ID]
	if o == nil {
		o = &numbers{labels: t.PodLabels(outer.ID), nested: Other, level: 2}
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

// emit writes the series.
func emit(w series.Writer, s *numbers) {
	row := w.Row(labels, s.labels.With(s.nested, strconv.Itoa(s.level))...)
	row.Set(ofProcesses, float64(s.processes))
	row.Set(ofThreads, float64(s.threads))
	row.Set(ofZombies, float64(s.zombies))
	row.Set(ofPeak, float64(s.peak))
	if s.folded != nil {
		w.Row(labels[:3], s.labels.With()...).Set(ofFolded, float64(*s.folded))
	}
	if !s.uncounted {
		row.Set(ofForks, float64(s.counts.Forks))
		row.Set(ofStarted, float64(s.counts.Threads))
		row.Set(ofExecs, float64(s.counts.Execs))
		row.Set(ofExits, float64(s.counts.ExitsZero), "zero")
		row.Set(ofExits, float64(s.counts.ExitsError), "error")
		row.Set(ofExits, float64(s.counts.ExitsSignal), "signal")
		row.Set(ofOOM, float64(s.counts.OOMKills))
	}
	if r := s.info; r != nil {
		escaped := 0.0
		if s.escaped {
			escaped = 1
		}
		row.Set(ofEscaped, escaped)
		row.Set(ofInfo, 1, r.ID, bounded(r.Display), bounded(r.Name.Runtime), bounded(r.Name.ID), bounded(r.Name.Image),
			strconv.FormatUint(uint64(r.PIDNS.Inum), 10), strconv.FormatUint(uint64(r.UserNS.Inum), 10))
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
