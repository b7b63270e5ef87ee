package processes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// node is all that a Collector asks.
type node struct {
	table   *identity.Table
	zombies map[string]int
	rows    map[bpf.CountsKey]bpf.Counts
	err     error // of Counts
	stale   error // of Refresh
	fresh   int   // times refreshed
	taken   []bpf.CountsKey
}

func newNode() *node {
	return &node{
		table: identity.NewTable(identity.Options{Boot: "b", CgroupPath: func(id uint64) string {
			if id == 0 {
				return ""
			}
			return fmt.Sprintf("/pod/%d", id)
		}}),
		zombies: map[string]int{}, rows: map[bpf.CountsKey]bpf.Counts{},
	}
}

func (n *node) Refresh(context.Context) error { n.fresh++; return n.stale }

func (n *node) View(f func(*identity.Table, map[string]int)) { f(n.table, n.zombies) }

func (n *node) Counts() (map[bpf.CountsKey]bpf.Counts, error) {
	if n.err != nil {
		return nil, n.err
	}
	return maps.Clone(n.rows), nil
}

func (n *node) TakeCounts(k bpf.CountsKey) (bpf.Counts, error) {
	n.taken = append(n.taken, k)
	delete(n.rows, k)
	return bpf.Counts{}, nil
}

const hostPIDNS, hostUserNS = 4026531836, 4026531837

// put adds the first process of the innermost of a chain of pid namespaces; it
// has the pid pid.
func (n *node) put(pid uint32, cgroup uint64, chain ...uint32) *identity.Container {
	r := &bpf.Process{
		Kind: bpf.KindFork, Time: uint64(pid), Start: uint64(pid), PID: pid, Threads: 2, Comm: "sh", Cgroup: cgroup,
		PIDLevels: []bpf.Level{{PID: pid, PIDNS: hostPIDNS}}, UserLevels: []bpf.Level{{UserNS: hostUserNS}},
	}
	for _, ns := range chain {
		r.PIDLevels = append(r.PIDLevels, bpf.Level{PID: pid, PIDNS: ns, PIDNSStart: uint64(ns), PIDNSOwner: hostUserNS})
	}
	n.table.Apply(r)
	return n.table.Process(identity.HostPID(pid)).Container
}

func (n *node) die(pid uint32) { n.table.Apply(&bpf.Exit{Time: 1e9, Start: uint64(pid), PID: pid}) }

func row(ns uint32, cgroup uint64) bpf.CountsKey {
	return bpf.CountsKey{PIDNS: ns, PIDNSStart: uint64(ns), UserNS: hostUserNS, Cgroup: cgroup}
}

func collector(n *node, most int) *Collector {
	return New(Options{Counter: n, Table: n, MaxNested: most, Log: zerolog.Nop()})
}

// values are the samples whose name has a suffix, by nested label and kind.
func values(t *testing.T, c *Collector, suffix string) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil && !strings.Contains(err.Error(), "counts map") {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if !strings.HasSuffix(f.GetName(), suffix) {
			continue
		}
		for _, m := range f.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == "nested" || l.GetName() == "kind" {
					key += l.GetValue()
				}
			}
			got[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return got
}

func TestGolden(t *testing.T) {
	n := newNode()
	outer := n.put(10, 1, 10)
	n.put(11, 1, 10)
	n.die(11)
	inner := n.put(20, 2, 10, 20)
	outer.Name = identity.Name{Runtime: "podman", ID: "33e9", Name: "web\n\"\x1b\xff", Image: strings.Repeat("ä", 100)}
	n.zombies[inner.ID] = 3
	all := bpf.Counts{Forks: 1, Threads: 2, Execs: 3, ExitsZero: 4, ExitsError: 5, ExitsSignal: 6, OOMKills: 7}
	n.rows[row(10, 1)], n.rows[row(10, 9)] = all, all // in two cgroups
	n.rows[row(20, 2)] = bpf.Counts{Forks: 1 << 40}
	c := collector(n, 0)

	want := strings.NewReplacer("OUTER", outer.ID, "INNER", inner.ID, "IMAGE", strings.Repeat("ä", 64)).Replace(`
# HELP eyas_container_processes Live processes (thread groups) right in the container, zombies not counted.
# TYPE eyas_container_processes gauge
eyas_container_processes{container="OUTER",level="1",namespace="",nested="",pod=""} 1
eyas_container_processes{container="OUTER",level="2",namespace="",nested="INNER",pod=""} 1
# HELP eyas_container_threads Threads of these processes, first threads included.
# TYPE eyas_container_threads gauge
eyas_container_threads{container="OUTER",level="1",namespace="",nested="",pod=""} 2
eyas_container_threads{container="OUTER",level="2",namespace="",nested="INNER",pod=""} 2
# HELP eyas_container_zombies Dead processes of the container that nobody has reaped.
# TYPE eyas_container_zombies gauge
eyas_container_zombies{container="OUTER",level="1",namespace="",nested="",pod=""} 0
eyas_container_zombies{container="OUTER",level="2",namespace="",nested="INNER",pod=""} 3
# HELP eyas_container_processes_peak Most live processes seen at once since the agent started.
# TYPE eyas_container_processes_peak gauge
eyas_container_processes_peak{container="OUTER",level="1",namespace="",nested="",pod=""} 2
eyas_container_processes_peak{container="OUTER",level="2",namespace="",nested="INNER",pod=""} 1
# HELP eyas_container_forks_total Processes born in the container.
# TYPE eyas_container_forks_total counter
eyas_container_forks_total{container="OUTER",level="1",namespace="",nested="",pod=""} 2
eyas_container_forks_total{container="OUTER",level="2",namespace="",nested="INNER",pod=""} 1.099511627776e+12
# HELP eyas_container_threads_started_total Threads started that are not the first of their process.
# TYPE eyas_container_threads_started_total counter
eyas_container_threads_started_total{container="OUTER",level="1",namespace="",nested="",pod=""} 4
eyas_container_threads_started_total{container="OUTER",level="2",namespace="",nested="INNER",pod=""} 0
# HELP eyas_container_exec_total Programs executed in the container.
# TYPE eyas_container_exec_total counter
eyas_container_exec_total{container="OUTER",level="1",namespace="",nested="",pod=""} 6
eyas_container_exec_total{container="OUTER",level="2",namespace="",nested="INNER",pod=""} 0
# HELP eyas_container_exits_total Processes that ended, by kind: zero (exit status 0), error (another status), signal.
# TYPE eyas_container_exits_total counter
eyas_container_exits_total{container="OUTER",kind="error",level="1",namespace="",nested="",pod=""} 10
eyas_container_exits_total{container="OUTER",kind="error",level="2",namespace="",nested="INNER",pod=""} 0
eyas_container_exits_total{container="OUTER",kind="signal",level="1",namespace="",nested="",pod=""} 12
eyas_container_exits_total{container="OUTER",kind="signal",level="2",namespace="",nested="INNER",pod=""} 0
eyas_container_exits_total{container="OUTER",kind="zero",level="1",namespace="",nested="",pod=""} 8
eyas_container_exits_total{container="OUTER",kind="zero",level="2",namespace="",nested="INNER",pod=""} 0
# HELP eyas_container_oom_kills_total Processes the OOM killer chose; part of exits by signal.
# TYPE eyas_container_oom_kills_total counter
eyas_container_oom_kills_total{container="OUTER",level="1",namespace="",nested="",pod=""} 14
eyas_container_oom_kills_total{container="OUTER",level="2",namespace="",nested="INNER",pod=""} 0
# HELP eyas_container_escaped 1 when the container lives outside the cgroup subtree of the container around it.
# TYPE eyas_container_escaped gauge
eyas_container_escaped{container="OUTER",level="1",namespace="",nested="",pod=""} 0
eyas_container_escaped{container="OUTER",level="2",namespace="",nested="INNER",pod=""} 1
# HELP eyas_container_info Names and ids of the container; always 1.
# TYPE eyas_container_info gauge
eyas_container_info{container="OUTER",id="OUTER",image="IMAGE",level="1",name="web\n\"` + "\x1b" + `\\xff",namespace="",nested="",pidns="10",pod="",runtime="podman",runtime_id="33e9",userns="4026531837"} 1
eyas_container_info{container="OUTER",id="INNER",image="",level="2",name="sh",namespace="",nested="INNER",pidns="20",pod="",runtime="",runtime_id="",userns="4026531837"} 1
`)
	if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(c)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	if n.fresh != 1 {
		t.Errorf("refreshed %d times by scrapes in one second", n.fresh)
	}
	n.stale = errors.New("busy")
	c.fresh = time.Time{}
	if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil || !c.fresh.IsZero() {
		t.Errorf("with what is known: %v, fresh %v", err, c.fresh)
	}
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// What has no series of its own is added up, and the sum never shrinks: not
// when one of them is gone, nor when another gets the series that became free.
func TestOther(t *testing.T) {
	n := newNode()
	outer := n.put(10, 0, 10)
	ids := map[uint32]string{}
	for _, ns := range []uint32{20, 30, 40} {
		ids[ns] = n.put(ns, 0, 10, ns).ID
		n.rows[row(ns, 0)] = bpf.Counts{Forks: uint64(ns)}
	}
	c := collector(n, 1)
	forks := func() map[string]float64 { t.Helper(); return values(t, c, "forks_total") }
	folded := func() map[string]float64 { t.Helper(); return values(t, c, "nested_folded") }
	same(t, "one has its own", map[string]float64{"": 0, ids[20]: 20, Other: 70}, forks())
	same(t, "processes", map[string]float64{"": 1, ids[20]: 1, Other: 2}, values(t, c, "container_processes"))
	same(t, "threads", map[string]float64{"": 2, ids[20]: 2, Other: 4}, values(t, c, "container_threads"))
	same(t, "no info of the rest", map[string]float64{"": 1, ids[20]: 1}, values(t, c, "info"))
	same(t, "folded", map[string]float64{"": 2}, folded())

	n.die(20)
	ids[50] = n.put(50, 0, 10, 50).ID
	n.rows[row(50, 0)] = bpf.Counts{Forks: 50}
	same(t, "a newcomer has the free one, who is folded stays so", map[string]float64{"": 0, ids[50]: 50, Other: 70}, forks())

	n.err = errors.New("read counts map: aborted")
	same(t, "counts that cannot be read are not 0", map[string]float64{}, forks())
	same(t, "what can is told", map[string]float64{"": 1, ids[50]: 1, Other: 2}, values(t, c, "container_processes"))
	n.die(30)
	same(t, "nor when one is gone meanwhile", map[string]float64{}, forks())
	n.err = nil
	same(t, "gone, and counted", map[string]float64{"": 0, ids[50]: 50, Other: 70}, forks())
	same(t, "folded, one gone", map[string]float64{"": 1}, folded())
	n.rows[row(40, 0)] = bpf.Counts{Forks: 41}
	same(t, "the other one grows", map[string]float64{"": 0, ids[50]: 50, Other: 71}, forks())
	n.die(40)
	same(t, "all gone, and counted", map[string]float64{"": 0, ids[50]: 50, Other: 71}, forks())
	same(t, "folded, none", map[string]float64{"": 0}, folded())
	n.die(50)
	n.die(10)
	same(t, "all die with the outermost", map[string]float64{}, values(t, c, ""))
	same(t, "nothing is kept", 0, c.nested.Len())
	if again := n.put(10, 0, 10); again.ID != outer.ID {
		t.Fatal("the test means the same container")
	}
	same(t, "if it comes back it begins anew", map[string]float64{"": 0}, forks())
}

// Rows that nobody owns are taken from the kernel, but not at once: who they
// belong to may not have been told yet.
func TestGoneRows(t *testing.T) {
	n := newNode()
	n.put(10, 0, 10)
	n.rows[row(10, 0)], n.rows[row(66, 0)], n.rows[row(77, 0)] = bpf.Counts{Forks: 1}, bpf.Counts{Forks: 2}, bpf.Counts{Forks: 3}
	c := collector(n, 9)
	values(t, c, "")
	same(t, "not at once", []bpf.CountsKey(nil), n.taken)
	late := n.put(77, 0, 10, 77)
	same(t, "told late, counted whole", 2, len(values(t, c, "forks_total")))
	for key := range c.lost {
		c.lost[key] = time.Now().Add(-2 * goneAfter)
	}
	values(t, c, "")
	values(t, c, "")
	same(t, "taken once", []bpf.CountsKey{row(66, 0)}, n.taken)
	same(t, "nothing is kept", 0, len(c.lost))
	if got := values(t, c, "forks_total"); len(got) != 2 || got[late.ID] != 3 {
		t.Errorf("%v", got)
	}
	n.rows[row(88, 0)] = bpf.Counts{}
	values(t, c, "")
	delete(n.rows, row(88, 0))
	values(t, c, "")
	same(t, "nothing is kept of rows that went by themselves", 0, len(c.lost))
}
