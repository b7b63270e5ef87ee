// Package self tells how the agent itself fares: its hooks, losses, costs and
// tables.
//
// What enters: the counters of the monitor, the tracker and the history. What
// leaves: Prometheus series. It touches nothing.
package self

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/history"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// Options of a Collector.
type Options struct {
	Monitor *bpf.Monitor
	Tracker *tracker.Tracker
	Memory  interface{ Stats() history.Stats }
	Version string
	More    map[string]Hooked // by the name of its map
}

// Hooked is what more there is of hooks, with a map of their own; *bpf.OverlayMonitor
// is one.
type Hooked interface {
	Hooks() []bpf.Hook
	Entries() (int, error)
	Capacity() int
}

// Collector is a prometheus.Collector; safe for concurrent use.
type Collector struct{ o Options }

// New returns a Collector.
func New(o Options) *Collector { return &Collector{o} }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("eyas_"+name, help, labels, nil)
}

var (
	buildInfo   = desc("build_info", "Version of the agent; always 1.", "version", "goversion")
	hookState   = desc("hook_state", "1 for the state the hook is in: active, silent (attached, does not fire), unproven, missing.", "hook", "target", "state")
	hookMissed  = desc("hook_missed_total", "Runs that the kernel skipped because the program was running on that CPU.", "hook")
	recovered   = desc("hook_recovered_total", "Events of skipped runs that were found out all the same: execs of on_exec, exits of on_exit.", "hook")
	events      = desc("events_total", "Records that the hook wrote to the ring.", "hook")
	eventsLost  = desc("events_lost_total", "Records for which the ring had no room; each leads to a new snapshot.", "hook")
	bytesLost   = desc("events_lost_bytes_total", "Bytes of the lost records.", "hook")
	countsLost  = desc("counts_lost_total", "Events that were not counted because the kernel's map was full.", "hook")
	malformed   = desc("events_malformed_total", "Records that could not be decoded.")
	progSeconds = desc("bpf_program_seconds_total", "Time spent in the program, with about 60 ns of clock per run.", "hook")
	progRuns    = desc("bpf_program_runs_total", "Runs that the time is of.", "hook")
	ringFilled  = desc("ringbuf_filled_bytes", "Unread bytes in the event ring.")
	ringSize    = desc("ringbuf_size_bytes", "Size of the event ring.")
	mapEntries  = desc("bpf_map_entries", "Rows in a kernel map.", "map")
	mapCapacity = desc("bpf_map_capacity", "Rows that a kernel map can hold.", "map")
	tableSize   = desc("table_entries", "Live entries of the identity table.", "table")
	recycled    = desc("namespaces_recycled_total", "User namespaces whose inode number another one took over.")
	missedExits = desc("missed_exits_total", "Processes whose pid was taken over before their exit was told.")
	applied     = desc("events_applied_total", "Records that the agent has applied.")
	reconciles  = desc("reconcile_total", "Snapshots compared with the table, by cause.", "cause")
	drift       = desc("reconcile_drift_total", "Wrong entries found in the table without a loss of events: must stay 0.")
	repaired    = desc("reconcile_repaired_total", "Wrong entries mended after events were lost.")
	adopted     = desc("reconcile_adopted_total", "Processes found that entered a namespace without fork or exec.")
	lastRec     = desc("reconcile_last_timestamp_seconds", "Time of the last comparison.")
	snapshot    = desc("snapshot_seconds", "Time the last snapshot of all nested processes took.")
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		buildInfo, hookState, hookMissed, recovered, events, eventsLost, bytesLost, countsLost, malformed,
		progSeconds, progRuns, ringFilled, ringSize, mapEntries, mapCapacity, tableSize, recycled, missedExits,
		applied, reconciles, drift, repaired, adopted, lastRec, snapshot,
	} {
		ch <- d
	}
	seen := map[*prometheus.Desc]bool{}
	for _, m := range historySeries(history.Stats{}) {
		if !seen[m.desc] {
			seen[m.desc] = true
			ch <- m.desc
		}
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, l ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, l...)
	}
	counter := func(d *prometheus.Desc, v float64, l ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, l...)
	}
	gauge(buildInfo, 1, c.o.Version, runtime.Version())
	hooks := c.o.Monitor.Hooks()
	for _, more := range c.o.More {
		hooks = append(hooks, more.Hooks()...)
	}
	for _, h := range hooks {
		for _, s := range []bpf.HookState{bpf.HookActive, bpf.HookSilent, bpf.HookUnproven, bpf.HookMissing} {
			v := 0.0
			if s == h.State {
				v = 1
			}
			gauge(hookState, v, h.Name, h.Target, string(s))
		}
		counter(hookMissed, float64(h.Missed), h.Name)
		counter(recovered, float64(h.Recovered), h.Name)
		counter(events, float64(h.Records), h.Name)
		counter(eventsLost, float64(h.Lost), h.Name)
		counter(bytesLost, float64(h.LostBytes), h.Name)
		counter(countsLost, float64(h.LostCounts), h.Name)
		counter(progSeconds, float64(h.RunNanos)/1e9, h.Name)
		counter(progRuns, float64(h.RunCount), h.Name)
	}
	counter(malformed, float64(c.o.Monitor.Malformed()))
	filled, size := c.o.Monitor.Ring()
	gauge(ringFilled, float64(filled))
	gauge(ringSize, float64(size))
	if rows, err := c.o.Monitor.Counts(); err == nil {
		gauge(mapEntries, float64(len(rows)), "counts")
	}
	gauge(mapCapacity, float64(c.o.Monitor.CountsCapacity()), "counts")
	for name, more := range c.o.More {
		if n, err := more.Entries(); err == nil {
			gauge(mapEntries, float64(n), name)
		}
		gauge(mapCapacity, float64(more.Capacity()), name)
	}
	c.collectTracker(gauge, counter)
	for _, m := range historySeries(c.o.Memory.Stats()) {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value, m.labels...)
	}
}

func (c *Collector) collectTracker(gauge, counter func(*prometheus.Desc, float64, ...string)) {
	c.o.Tracker.View(func(t *identity.Table, _ map[string]int) {
		processes, containers, userns, groups := t.Sizes()
		gauge(tableSize, float64(processes), "processes")
		gauge(tableSize, float64(containers), "containers")
		gauge(tableSize, float64(userns), "user_namespaces")
		gauge(tableSize, float64(groups), "cgroups")
		s := t.Stats()
		counter(recycled, float64(s.Recycled))
		counter(missedExits, float64(s.MissedExits))
	})
	s := c.o.Tracker.Stats()
	counter(applied, float64(s.Events))
	counter(reconciles, float64(s.LossReconciles), "loss")
	counter(reconciles, float64(s.Reconciles-s.LossReconciles), "routine")
	counter(drift, float64(s.Drift))
	counter(repaired, float64(s.Repaired))
	counter(adopted, float64(s.Adopted))
	if !s.LastReconcile.IsZero() {
		gauge(lastRec, float64(s.LastReconcile.UnixNano())/1e9)
	}
	gauge(snapshot, s.SnapshotTime.Seconds())
}
