package cgroups

import (
	"math"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/collectors/identity"

	"github.com/eyas-agent/eyas/collectors/fold"
)

// Other is the nested label of what has no series of its own.
const Other = fold.Other

var labels = []string{"namespace", "pod", "container", "nested", "level"}

func desc(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("eyas_container_"+name, help, append(append([]string{}, labels...), more...), nil)
}

var (
	descMemory     = desc("memory_bytes", "Memory of the container's own cgroup subtree, caches included. Of nested=\"_other\" the sum.")
	descMemoryMax  = desc("memory_max_bytes", "Limit on memory in the container's own cgroup; +Inf is none.")
	descMemoryPeak = desc("memory_peak_bytes", "Most memory used at once (Linux 5.19 and later).")
	descSwap       = desc("swap_bytes", "Swap in use.")
	descSwapMax    = desc("swap_max_bytes", "Limit on swap; +Inf is none.")
	descEvents     = desc("memory_events_total", "Events at limits on memory, by scope: local (at the cgroup's own limit; kills: of its own processes), subtree (those inside too). "+
		"max: the limit was hit; oom: and nothing could be reclaimed; oom_kill: processes killed; oom_group_kill: times all were killed together.", "event", "scope")
	descCPU       = desc("cpu_seconds_total", "CPU time used, by mode: user, system.", "mode")
	descPeriods   = desc("cpu_periods_total", "Periods of the limit on CPU time in which something ran.")
	descThrottled = desc("cpu_throttled_periods_total", "Of these, periods in which the limit was hit.")
	descThrottle  = desc("cpu_throttled_seconds_total", "Time that tasks stood still because of the limit.")
	descIOBytes   = desc("io_bytes_total", "Bytes to and from block devices, by operation: read, write.", "operation")
	descIO        = desc("io_operations_total", "Operations on block devices, by operation: read, write.", "operation")
	descPressure  = desc("pressure_seconds_total", "Time that some, or all (full), tasks stood still for lack of a resource: cpu, memory, io.", "resource", "kind")
	descUnread    = prometheus.NewDesc("eyas_cgroups_unread", "Containers whose cgroups the scrape had no time for, or were too many: their series are missing from it.", nil, nil)
	descTime      = prometheus.NewDesc("eyas_cgroups_read_seconds", "Time that reading the cgroups took at this scrape.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descMemory, descMemoryMax, descMemoryPeak, descSwap, descSwapMax, descEvents, descCPU, descPeriods, descThrottled, descThrottle,
		descIOBytes, descIO, descPressure, descUnread, descTime,
	} {
		ch <- d
	}
}

// series writes the series of one container, or of a remainder.
type series struct {
	ch     chan<- prometheus.Metric
	labels []string
}

func (s series) gauge(d *prometheus.Desc, v float64) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.labels...)
}

func (s series) limit(d *prometheus.Desc, v uint64) {
	if v == NoLimit {
		s.gauge(d, math.Inf(1))
		return
	}
	s.gauge(d, float64(v))
}

func (s series) counter(d *prometheus.Desc, v float64, more ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, append(append([]string{}, s.labels...), more...)...)
}

func emit(ch chan<- prometheus.Metric, p *place, x *Stats) {
	nested := p.id
	if p.id == p.outer {
		nested = ""
	}
	s := series{ch, p.labels.With(nested, strconv.Itoa(p.level))}
	if m := x.Memory; m != nil {
		s.gauge(descMemory, float64(m.Current))
		s.limit(descMemoryMax, m.Max)
		for d, v := range map[*prometheus.Desc]*uint64{descMemoryPeak: m.Peak, descSwap: m.Swap, descSwapMax: m.SwapMax} {
			if v != nil {
				s.limit(d, *v)
			}
		}
	}
	s.counters(sumsOf(x))
	for resource, p := range x.Pressure {
		s.counter(descPressure, p.Some.Seconds(), resource, "some")
		s.counter(descPressure, p.Full.Seconds(), resource, "full")
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

func (s series) counters(n sums) {
	if c := n.cpu; c != nil {
		s.counter(descCPU, c.User.Seconds(), "user")
		s.counter(descCPU, c.System.Seconds(), "system")
		s.counter(descPeriods, float64(c.Periods))
		s.counter(descThrottled, float64(c.ThrottledPeriods))
		s.counter(descThrottle, c.Throttled.Seconds())
	}
	if d := n.io; d != nil {
		s.counter(descIOBytes, float64(d.ReadBytes), "read")
		s.counter(descIOBytes, float64(d.WriteBytes), "write")
		s.counter(descIO, float64(d.Reads), "read")
		s.counter(descIO, float64(d.Writes), "write")
	}
	for scope, e := range map[string]*MemoryEvents{"subtree": n.events, "local": n.local} {
		if e == nil {
			continue
		}
		s.counter(descEvents, float64(e.Max), "max", scope)
		s.counter(descEvents, float64(e.OOM), "oom", scope)
		s.counter(descEvents, float64(e.OOMKill), "oom_kill", scope)
		s.counter(descEvents, float64(e.GroupKill), "oom_group_kill", scope)
	}
}

// emitRemainder tells what the nested containers without series come to. Limits
// and pressure do not add up.
func emitRemainder(ch chan<- prometheus.Metric, outer identity.PodLabels, n sums, memory uint64) {
	s := series{ch, outer.With(Other, "2")}
	if n.events != nil {
		s.gauge(descMemory, float64(memory))
	}
	s.counters(n)
}
