package cgroups

import (
	"math"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/series"
)

// Other is the nested label of what has no series of its own.
const Other = fold.Other

var labels = []string{"namespace", "pod", "container", "nested", "level"}

func gauge(name, help string) *series.Family {
	return series.Gauge("eyas_container_"+name, help, labels)
}

func counter(name, help string, more ...string) *series.Family {
	return series.Counter("eyas_container_"+name, help, labels, more...)
}

var (
	ofMemory     = gauge("memory_bytes", "Memory of the container's own cgroup subtree, caches included. Of nested=\"_other\" the sum.")
	ofMemoryMax  = gauge("memory_max_bytes", "Limit on memory in the container's own cgroup; +Inf is none.")
	ofMemoryPeak = gauge("memory_peak_bytes", "Most memory used at once (Linux 5.19 and later).")
	ofSwap       = gauge("swap_bytes", "Swap in use.")
	ofSwapMax    = gauge("swap_max_bytes", "Limit on swap; +Inf is none.")
	ofEvents     = counter("memory_events_total", "Events at limits on memory, by scope: local (at the cgroup's own limit; kills: of its own processes), subtree (those inside too). "+
		"max: the limit was hit; oom: and nothing could be reclaimed; oom_kill: processes killed; oom_group_kill: times all were killed together.", "event", "scope")
	ofCPU       = counter("cpu_seconds_total", "CPU time used, by mode: user, system.", "mode")
	ofPeriods   = counter("cpu_periods_total", "Periods of the limit on CPU time in which something ran.")
	ofThrottled = counter("cpu_throttled_periods_total", "Of these, periods in which the limit was hit.")
	ofThrottle  = counter("cpu_throttled_seconds_total", "Time that tasks stood still because of the limit.")
	ofIOBytes   = counter("io_bytes_total", "Bytes to and from block devices, by operation: read, write.", "operation")
	ofIO        = counter("io_operations_total", "Operations on block devices, by operation: read, write.", "operation")
	ofPressure  = counter("pressure_seconds_total", "Time that some, or all (full), tasks stood still for lack of a resource: cpu, memory, io.", "resource", "kind")
	ofCurrent   = gauge("pids_current", "Tasks in the container's own cgroup subtree, as the pids controller counts.")
	ofMax       = gauge("pids_max", "Limit of the pids controller in the container's own cgroup; +Inf is none.")
	ofAge       = series.Gauge("eyas_cgroups_age_seconds", "How long ago the cgroups were read. Up to 50 are read at the scrape; more, or slower ones, behind the last.", nil)
	ofTime      = series.Gauge("eyas_cgroups_read_seconds", "Time that the last reading of the cgroups took.", nil)
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range []*series.Family{
		ofMemory, ofMemoryMax, ofMemoryPeak, ofSwap, ofSwapMax, ofEvents, ofCPU, ofPeriods, ofThrottled, ofThrottle,
		ofIOBytes, ofIO, ofPressure, ofCurrent, ofMax, ofAge, ofTime,
	} {
		ch <- f.Desc()
	}
}

func setLimit(row series.Row, f *series.Family, v uint64) {
	if v == NoLimit {
		row.Set(f, math.Inf(1))
		return
	}
	row.Set(f, float64(v))
}

func emit(w series.Writer, p *place, of identity.PodLabels) {
	nested, x := p.id, &p.stats
	if p.id == p.outer {
		nested = ""
	}
	row := w.Row(labels, of.With(nested, strconv.Itoa(p.level))...)
	if m := x.Memory; m != nil {
		row.Set(ofMemory, float64(m.Current))
		setLimit(row, ofMemoryMax, m.Max)
		for _, o := range [...]struct {
			f *series.Family
			v *uint64
		}{{ofMemoryPeak, m.Peak}, {ofSwap, m.Swap}, {ofSwapMax, m.SwapMax}} {
			if o.v != nil {
				setLimit(row, o.f, *o.v)
			}
		}
	}
	if n := x.PIDs; n != nil {
		row.Set(ofCurrent, float64(n.Current))
		setLimit(row, ofMax, n.Max)
	}
	emitSums(row, sumsOf(x))
	for resource, p := range x.Pressure {
		row.Set(ofPressure, p.Some.Seconds(), resource, "some")
		row.Set(ofPressure, p.Full.Seconds(), resource, "full")
	}
}

// sums are the counters that can be added up; nil ones do not exist.
type sums struct {
	cpu           *CPU
	io            *IO
	events, local *MemoryEvents
}

func sumsOf(x *Stats) sums {
	s := sums{cpu: x.CPU, io: x.IO}
	if x.Memory != nil {
		s.events, s.local = x.Memory.Events, x.Memory.Local
	}
	return s
}

func memoryOf(x *Stats) uint64 {
	if x.Memory == nil {
		return 0
	}
	return x.Memory.Current
}

// add adds o to s. What either points to stays as it is.
func (s *sums) add(o sums) {
	if o.cpu != nil {
		a := valueOf(s.cpu)
		s.cpu = &CPU{
			User: a.User + o.cpu.User, System: a.System + o.cpu.System, Throttled: a.Throttled + o.cpu.Throttled,
			Periods: a.Periods + o.cpu.Periods, ThrottledPeriods: a.ThrottledPeriods + o.cpu.ThrottledPeriods,
		}
	}
	if o.io != nil {
		a := valueOf(s.io)
		s.io = &IO{
			ReadBytes: a.ReadBytes + o.io.ReadBytes, WriteBytes: a.WriteBytes + o.io.WriteBytes,
			Reads: a.Reads + o.io.Reads, Writes: a.Writes + o.io.Writes,
		}
	}
	s.events, s.local = addEvents(s.events, o.events), addEvents(s.local, o.local)
}

func addEvents(a, b *MemoryEvents) *MemoryEvents {
	if b == nil {
		return a
	}
	x := valueOf(a)
	return &MemoryEvents{Max: x.Max + b.Max, OOM: x.OOM + b.OOM, OOMKill: x.OOMKill + b.OOMKill, GroupKill: x.GroupKill + b.GroupKill}
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func emitSums(row series.Row, n sums) {
	if c := n.cpu; c != nil {
		row.Set(ofCPU, c.User.Seconds(), "user")
		row.Set(ofCPU, c.System.Seconds(), "system")
		row.Set(ofPeriods, float64(c.Periods))
		row.Set(ofThrottled, float64(c.ThrottledPeriods))
		row.Set(ofThrottle, c.Throttled.Seconds())
	}
	if d := n.io; d != nil {
		row.Set(ofIOBytes, float64(d.ReadBytes), "read")
		row.Set(ofIOBytes, float64(d.WriteBytes), "write")
		row.Set(ofIO, float64(d.Reads), "read")
		row.Set(ofIO, float64(d.Writes), "write")
	}
	for _, o := range [...]struct {
		scope string
		e     *MemoryEvents
	}{{"subtree", n.events}, {"local", n.local}} {
		if o.e == nil {
			continue
		}
		row.Set(ofEvents, float64(o.e.Max), "max", o.scope)
		row.Set(ofEvents, float64(o.e.OOM), "oom", o.scope)
		row.Set(ofEvents, float64(o.e.OOMKill), "oom_kill", o.scope)
		row.Set(ofEvents, float64(o.e.GroupKill), "oom_group_kill", o.scope)
	}
}

// emitRemainder tells what the nested containers without series come to. Limits
// and pressure do not add up.
func emitRemainder(w series.Writer, outer identity.PodLabels, n sums, memory uint64) {
	row := w.Row(labels, outer.With(Other, "2")...)
	if n.events != nil {
		row.Set(ofMemory, float64(memory))
	}
	emitSums(row, n)
}
