package cgroups

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// node is all that a Collector asks.
type node struct {
	mu    sync.Mutex // readings behind scrapes come beside a test
	table *identity.Table
	have  map[string]Stats // by path
	reads []string
	read  func() // at each
}

func newNode() *node {
	return &node{have: map[string]Stats{}, table: identity.NewTable(identity.Options{Boot: "b", CgroupPath: func(id uint64) string {
		if id == 99 {
			return "/"
		}
		return "/pod" + strings.ReplaceAll(fmt.Sprintf("%d", id), "0", "/")
	}})}
}

func (n *node) View(f func(*identity.Table, map[string]int)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n.table, nil)
}

func (n *node) Stats(path string) (Stats, error) {
	n.mu.Lock()
	n.reads = append(n.reads, path)
	s, ok := n.have[path]
	n.mu.Unlock()
	if n.read != nil {
		n.read()
	}
	if !ok {
		return Stats{}, ErrGone
	}
	return s, nil
}

func (n *node) Controllers() ([]string, error) { return []string{"hugetlb", "cpu"}, nil }

// put adds the first process of the innermost of a chain of pid namespaces.
func (n *node) put(pid uint32, cgroup uint64, chain ...uint32) *identity.Container {
	r := &bpf.Process{
		Kind: bpf.KindFork, Time: uint64(pid), Start: uint64(pid), PID: pid, Threads: 1, Comm: "sh", Cgroup: cgroup,
		PIDLevels: []bpf.Level{{PID: pid, PIDNS: 4026531836}}, UserLevels: []bpf.Level{{UserNS: 4026531837}},
	}
	for _, ns := range chain {
		r.PIDLevels = append(r.PIDLevels, bpf.Level{PID: pid, PIDNS: ns, PIDNSStart: uint64(ns), PIDNSOwner: 4026531837})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.table.Apply(r)
	return n.table.Process(identity.HostPID(pid)).Container
}

func (n *node) die(pid uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.table.Apply(&bpf.Exit{Time: 1e9, Start: uint64(pid), PID: pid})
}

// uses says what a cgroup has used by now.
func (n *node) uses(path string, all uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.have[path] = used(all)
}

// readSince returns how many cgroups were read since the last call.
func (n *node) readSince() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	reads := len(n.reads)
	n.reads = nil
	return reads
}

// used is a cgroup that has used so much of all.
func used(n uint64) Stats {
	e := func(n uint64) *MemoryEvents { return &MemoryEvents{Max: n, OOM: n, OOMKill: n, GroupKill: n} }
	d := time.Duration(n) * time.Second
	return Stats{
		Memory: &Memory{Current: n, Max: NoLimit, Peak: number(n), Swap: number(0), SwapMax: number(n), Events: e(n), Local: e(0)},
		CPU:    &CPU{User: d, System: d, Throttled: d, Periods: n, ThrottledPeriods: n},
		IO:     &IO{n, n, n, n}, Pressure: map[string]Pressure{"memory": {Some: d, Full: d}},
	}
}

func collector(n *node, o Options) *Collector {
	o.Reader, o.Table = n, n
	return New(o)
}

// values are the samples of a family by nested label, and by its own labels.
func values(t *testing.T, c *Collector, name string) map[string]float64 {
	t.Helper()
	return all(t, c)[name]
}

// all are those of all families, of one scrape.
func all(t *testing.T, c *Collector) map[string]map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]map[string]float64{}
	for _, f := range families {
		of := map[string]float64{}
		got[f.GetName()] = of
		for _, m := range f.GetMetric() {
			var key []string
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "namespace", "pod", "container", "level":
				default:
					key = append(key, l.GetValue())
				}
			}
			of[strings.Join(key, " ")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return got
}

// Numbers of a container come with all labels; what is not there has no series,
// and neither has who shares the cgroup around it, lives in the root, or whose
// cgroup has vanished.
func TestSeries(t *testing.T) {
	n := newNode()
	outer, inner := n.put(10, 1, 10), n.put(20, 102, 10, 20)
	n.put(30, 1, 10, 30) // shares
	n.put(40, 99, 40)    // the root
	n.put(50, 5, 50)     // vanished
	n.have["/pod1"] = used(3)
	n.have["/pod1/2"] = Stats{CPU: &CPU{User: time.Second}}
	c := collector(n, Options{})
	want := strings.NewReplacer("OUTER", outer.ID, "INNER", inner.ID).Replace(`
# HELP eyas_container_cpu_seconds_total CPU time used, by mode: user, system.
# TYPE eyas_container_cpu_seconds_total counter
eyas_container_cpu_seconds_total{container="OUTER",level="1",mode="system",namespace="",nested="",pod=""} 3
eyas_container_cpu_seconds_total{container="OUTER",level="1",mode="user",namespace="",nested="",pod=""} 3
eyas_container_cpu_seconds_total{container="OUTER",level="2",mode="system",namespace="",nested="INNER",pod=""} 0
eyas_container_cpu_seconds_total{container="OUTER",level="2",mode="user",namespace="",nested="INNER",pod=""} 1
# HELP eyas_container_memory_max_bytes Limit on memory in the container's own cgroup; +Inf is none.
# TYPE eyas_container_memory_max_bytes gauge
eyas_container_memory_max_bytes{container="OUTER",level="1",namespace="",nested="",pod=""} +Inf
# HELP eyas_container_pressure_seconds_total Time that some, or all (full), tasks stood still for lack of a resource: cpu, memory, io.
# TYPE eyas_container_pressure_seconds_total counter
eyas_container_pressure_seconds_total{container="OUTER",kind="full",level="1",namespace="",nested="",pod="",resource="memory"} 3
eyas_container_pressure_seconds_total{container="OUTER",kind="some",level="1",namespace="",nested="",pod="",resource="memory"} 3
# HELP eyas_container_swap_max_bytes Limit on swap; +Inf is none.
# TYPE eyas_container_swap_max_bytes gauge
eyas_container_swap_max_bytes{container="OUTER",level="1",namespace="",nested="",pod=""} 3
`)
	names := []string{"eyas_container_cpu_seconds_total", "eyas_container_memory_max_bytes", "eyas_container_pressure_seconds_total", "eyas_container_swap_max_bytes"}
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(map[string]float64{
		" max local": 0, " oom local": 0, " oom_kill local": 0, " oom_group_kill local": 0,
		" max subtree": 3, " oom subtree": 3, " oom_kill subtree": 3, " oom_group_kill subtree": 3,
	}, reorder(values(t, c, "eyas_container_memory_events_total"))); d != "" {
		t.Error(d)
	}
	n.reads = nil
	values(t, c, "")
	if d := cmp.Diff([]string{"/pod1", "/pod5", "/pod1/2"}, n.reads, sorted()); d != "" {
		t.Errorf("read (-want +got):\n%s", d)
	}
	problems, err := testutil.CollectAndLint(c)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// reorder puts the nested label first: labels come by name.
func reorder(in map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for k, v := range in {
		f := strings.Split(k, " ") // event, nested, scope
		out[f[1]+" "+f[0]+" "+f[2]] = v
	}
	return out
}

func sorted() cmp.Option {
	return cmp.Transformer("sorted", func(s []string) map[string]int {
		m := map[string]int{}
		for _, x := range s {
			m[x]++
		}
		return m
	})
}

// The remainder adds up what has no series, counts no cgroup twice, and keeps
// what those counted that are gone.
func TestRemainder(t *testing.T) {
	n := newNode()
	n.put(10, 1, 10)
	first := n.put(20, 102, 10, 20)
	n.put(30, 103, 10, 30)
	n.put(40, 10304, 10, 30, 40) // inside the one before
	n.put(50, 105, 10, 50)
	for path, v := range map[string]uint64{"/pod1": 100, "/pod1/2": 1, "/pod1/3": 10, "/pod1/3/4": 9, "/pod1/5": 20} {
		n.have[path] = used(v)
	}
	c := collector(n, Options{MaxNested: 1})
	for _, step := range []struct {
		name         string
		do           func()
		memory, swap float64 // of the remainder; swap does not add up
		periods      float64
	}{
		{"all", func() {}, 30, 0, 30},
		{"again", func() {}, 30, 0, 30},
		{"one vanishes", func() { delete(n.have, "/pod1/5") }, 10, 0, 30},
		{"and is gone", func() { n.die(50) }, 10, 0, 30},
		{"the other counts on", func() { n.have["/pod1/3"] = used(15) }, 15, 0, 35},
		{"and is gone, too", func() { n.die(40); n.die(30) }, 0, 0, 35},
		{"a new one is folded no more", func() { n.die(20); n.put(60, 106, 10, 60); n.have["/pod1/6"] = used(7) }, 0, 0, 35},
	} {
		step.do()
		got := values(t, c, "eyas_container_memory_bytes")
		periods := values(t, c, "eyas_container_cpu_periods_total")
		if got[Other] != step.memory || periods[Other] != step.periods || got[""] != 100 {
			t.Errorf("%s: memory %v, periods %v", step.name, got, periods)
		}
		if _, ok := values(t, c, "eyas_container_swap_bytes")[Other]; ok {
			t.Errorf("%s: swap of the remainder", step.name)
		}
		if step.name == "all" && got[first.ID] != 1 {
			t.Errorf("the first has no series: %v", got)
		}
	}
	n.die(60)
	n.die(10)
	if got := values(t, c, "eyas_container_memory_bytes"); len(got) != 0 {
		t.Errorf("all are gone: %v", got)
	}
}
