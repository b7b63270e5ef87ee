package denials

import (
	"context"
	"errors"
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

const hostUserNS = 4026531837

// node is all that a Collector asks.
type node struct {
	table    *identity.Table
	rows     map[bpf.DenialKey]bpf.Denial
	taken    map[bpf.DenialKey]uint64 // more than the row had when it was read
	each     map[bpf.DenialProcess]bpf.Denial
	err      error
	capacity int
	attached bool
	refuses  bool
	seccomp  int // times asked for
	traced   int
	ended    int
	traceErr error
	poor     []bpf.Hook
	hooks    []bpf.Hook
}

func newNode() *node {
	return &node{
		table: identity.NewTable(identity.Options{Boot: "b"}), rows: map[bpf.DenialKey]bpf.Denial{}, taken: map[bpf.DenialKey]uint64{}, capacity: 100,
		hooks: []bpf.Hook{{Name: "denials_fork", State: bpf.HookActive}},
	}
}

func (n *node) View(f func(*identity.Table, map[string]int)) { f(n.table, nil) }
func (n *node) Rows() (map[bpf.DenialKey]bpf.Denial, error)  { return maps.Clone(n.rows), n.err }
func (n *node) Of(pid uint32) (map[bpf.DenialProcess]bpf.Denial, error) {
	of := maps.Clone(n.each)
	maps.DeleteFunc(of, func(_ bpf.DenialProcess, d bpf.Denial) bool { return d.PID != pid })
	return of, n.err
}
func (n *node) Capacity() int           { return n.capacity }
func (n *node) Attach()                 { n.attached = !n.refuses }
func (n *node) Attached() bool          { return n.attached }
func (n *node) SelfTest(bpf.Drive)      {}
func (n *node) Hooks() []bpf.Hook       { return n.hooks }
func (n *node) AttachSeccomp(bpf.Drive) { n.seccomp++ }
func (n *node) StartTrace(bpf.Drive) error {
	n.traced++
	return n.traceErr
}
func (n *node) StopTrace() error   { n.ended++; return nil }
func (n *node) Traces() []bpf.Hook { return n.poor }
func (n *node) Take(k bpf.DenialKey) (d bpf.Denial, err error) {
	d = n.rows[k]
	d.Count += n.taken[k]
	delete(n.rows, k)
	return d, nil
}

func (n *node) with(nested int) *Collector {
	c := New(Options{Source: n, Table: n, MaxNested: nested, Log: zerolog.Nop()})
	c.attach()
	return c
}

func (n *node) die(pid uint32) { n.table.Apply(&bpf.Exit{Time: 1e9, Start: uint64(pid), PID: pid}) }

// put adds a process in pid namespaces, and returns its container's id.
func (n *node) put(pid uint32, chain ...uint32) string {
	r := &bpf.Process{
		Kind: bpf.KindFork, Time: uint64(pid), Start: uint64(pid), PID: pid, Threads: 1, Comm: "sh", Cgroup: 1,
		PIDLevels: []bpf.Level{{PID: pid, PIDNS: 4026531836}}, UserLevels: []bpf.Level{{UserNS: hostUserNS}},
	}
	for _, ns := range chain {
		r.PIDLevels = append(r.PIDLevels, bpf.Level{PID: pid, PIDNS: ns, PIDNSStart: uint64(ns), PIDNSOwner: hostUserNS})
	}
	n.table.Apply(r)
	return n.table.Process(identity.HostPID(pid)).Container.ID
}

// key is of the container whose pid namespace is ns.
func key(ns uint32, cgroup uint64, op bpf.DenialOp, errno uint16, cause bpf.DenialCause, detail uint16) bpf.DenialKey {
	return bpf.DenialKey{
		Who: bpf.CountsKey{PIDNS: ns, PIDNSStart: uint64(ns), UserNS: hostUserNS, Cgroup: cgroup},
		Op:  op, Errno: errno, Cause: cause, Detail: detail,
	}
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func hear(t *testing.T, c *Collector, at time.Time) {
	t.Helper()
	if err := c.Sync(at); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, c *Collector) map[string]uint64 {
	t.Helper()
	all := map[string]uint64{}
	for _, r := range c.Records() {
		all[r.Op+" "+r.Error+" "+r.Cause+" "+r.Capability+r.Limit] += r.Count
	}
	return all
}

var t0 = time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)

// TestCounts: rows of several cgroups are one kind of refusal, none is counted
// twice or lost when rows leave the kernel, and the last one is told.
func TestCounts(t *testing.T) {
	n := newNode()
	id := n.put(10, 7)
	c := n.with(0)
	a, b := key(7, 1, bpf.DeniedMount, 1, bpf.CauseCapability, 21), key(7, 2, bpf.DeniedMount, 1, bpf.CauseCapability, 21)
	n.rows[a] = bpf.Denial{Count: 2, Time: 100, PID: 10, Start: 10, UID: 5, Comm: "a\xff", TargetLevel: 0, Dev: 8<<20 | 1, Inode: 9}
	n.rows[b] = bpf.Denial{Count: 1, Time: 50, PID: 99, Start: 99, Comm: "older"}
	n.rows[key(7, 1, bpf.DeniedUnshare, 28, bpf.CauseUCount, 0)] = bpf.Denial{Count: 4, Time: 60, PID: 10, Start: 10, Comm: "x"}
	hear(t, c, t0)
	hear(t, c, t0.Add(time.Second))
	same(t, "counts", map[string]uint64{"mount EPERM capability CAP_SYS_ADMIN": 3, "unshare ENOSPC userns_limit max_user_namespaces": 4}, count(t, c))
	for _, r := range c.Records() {
		if r.Op == "mount" && (r.PID != 10 || r.Comm == "older" || r.Device != "8:1" || r.Inode != 9 || r.Container != id || strings.Contains(r.Comm, "\xff")) {
			t.Errorf("the last one is told as %+v", r)
		}
	}
	n.taken[a] = 3 // met between the look and the taking
	hear(t, c, t0.Add(2*time.Minute))
	if len(n.rows) != 0 {
		t.Errorf("rows that rest are left in the kernel: %v", n.rows)
	}
	n.rows[a] = bpf.Denial{Count: 1, Time: 200, PID: 11, Start: 11, Comm: "new"}
	hear(t, c, t0.Add(3*time.Minute))
	same(t, "after taking", map[string]uint64{"mount EPERM capability CAP_SYS_ADMIN": 7, "unshare ENOSPC userns_limit max_user_namespaces": 4}, count(t, c))
	totals, told, err := c.Totals(t0.Add(3 * time.Minute))
	same(t, "totals", map[string]uint64{id: 11}, totals)
	if !told || err != nil {
		t.Errorf("totals: %v, %v", told, err)
	}
	n.err = errors.New("no map")
	if err := c.Sync(t0); !errors.Is(err, n.err) {
		t.Errorf("an error of the map: %v", err)
	}
}

// TestUnowned: rows wait for their container, and those of nobody are counted apart.
func TestUnowned(t *testing.T) {
	n := newNode()
	c := n.with(0)
	k := key(7, 1, bpf.DeniedFork, 11, bpf.CausePids, 0)
	n.rows[k] = bpf.Denial{Count: 2, Time: 1}
	n.rows[key(8, 1, bpf.DeniedFork, 11, bpf.CausePids, 0)] = bpf.Denial{Count: 5, Time: 1}
	hear(t, c, t0)
	n.put(10, 7) // is told now
	hear(t, c, t0.Add(time.Second))
	hear(t, c, t0.Add(time.Minute))
	same(t, "counts", map[string]uint64{"fork EAGAIN pids_max ": 2}, count(t, c))
	if c.unowned != 5 || len(n.rows) != 1 {
		t.Errorf("%d of nobody, %d rows", c.unowned, len(n.rows))
	}
}

// TestGone: what was refused stays known for a day after the container's end, of
// the last thousand containers.
func TestGone(t *testing.T) {
	n := newNode()
	c := n.with(0)
	for i := uint32(1); i <= maxContainers+1; i++ {
		n.put(i, i+5000)
		n.rows = map[bpf.DenialKey]bpf.Denial{key(i+5000, 1, bpf.DeniedFork, 11, bpf.CausePids, 0): {Count: 1, Time: 1, PID: i, Start: uint64(i)}}
		hear(t, c, t0.Add(time.Duration(i)*time.Second))
		n.die(i)
		n.rows = nil
		hear(t, c, t0.Add(time.Duration(i)*time.Second))
	}
	if got := len(c.Records()); got != maxContainers {
		t.Errorf("%d containers are remembered, want %d", got, maxContainers)
	}
	// Fifty at once as well.
	for i := uint32(2001); i <= 2050; i++ {
		n.put(i, i+5000)
		n.rows = map[bpf.DenialKey]bpf.Denial{key(i+5000, 1, bpf.DeniedFork, 11, bpf.CausePids, 0): {Count: 1, Time: 1, PID: i, Start: uint64(i)}}
		hear(t, c, t0.Add(time.Hour))
	}
	for i := uint32(2001); i <= 2050; i++ {
		n.die(i)
	}
	n.rows = nil
	hear(t, c, t0.Add(time.Hour))
	if got := len(c.Records()); got != maxContainers {
		t.Errorf("%d containers are remembered after fifty more, want %d", got, maxContainers)
	}
	hear(t, c, t0.Add(keepGone+24*time.Hour))
	if got := len(c.Records()); got != 0 {
		t.Errorf("%d are remembered two days later", got)
	}
}

// TestDiedOfIt: a container that is gone before its refusals are read has them all
// the same, with the user namespace that its process was in.
func TestDiedOfIt(t *testing.T) {
	n := newNode()
	id := n.put(10, 7)
	c := n.with(0)
	n.die(10)
	n.rows[key(7, 1, bpf.DeniedMount, 1, bpf.CauseCapability, 21)] = bpf.Denial{Count: 3, Time: 1, PID: 10, Start: 10, UserNS: hostUserNS}
	n.rows[key(8, 1, bpf.DeniedMount, 1, bpf.CauseCapability, 21)] = bpf.Denial{Count: 1, Time: 1}
	hear(t, c, t0)
	all := c.Records()
	if len(all) != 1 || all[0].Container != id || all[0].Count != 3 || all[0].UserNSInum != hostUserNS {
		t.Errorf("%+v", all)
	}
	n.put(20, 9)
	n.rows[key(9, 1, bpf.DeniedMount, 1, bpf.CauseCapability, 21)] = bpf.Denial{Count: 1, Time: 1, PID: 20, Start: 20, UserNS: 5}
	hear(t, c, t0)
	for _, r := range c.Records() {
		if r.PID == 20 && !r.UserNS.IsZero() {
			t.Errorf("a user namespace that is not its own is told: %+v", r)
		}
	}
}

// TestWhileWritten: a row that is read while it is written is counted at once,
// and told as soon as it can be read.
func TestWhileWritten(t *testing.T) {
	n := newNode()
	n.put(10, 7)
	c := n.with(0)
	k := key(7, 1, bpf.DeniedMount, 1, bpf.CauseCapability, 21)
	n.rows[k] = bpf.Denial{Count: 1}
	hear(t, c, t0)
	if all := c.Records(); len(all) != 1 || all[0].Count != 1 || !all[0].Time.IsZero() {
		t.Errorf("while it is written: %+v", all)
	}
	n.rows[k] = bpf.Denial{Count: 1, Time: 5, PID: 10, Start: 10, Comm: "sh"}
	for range 2 {
		hear(t, c, t0.Add(time.Second))
		if all := c.Records(); len(all) != 1 || all[0].Count != 1 || all[0].Comm != "sh" || all[0].Time.IsZero() {
			t.Errorf("when it is: %+v", all)
		}
	}
}

// TestBounds: a container cannot make eyas remember without end.
func TestBounds(t *testing.T) {
	n := newNode()
	n.capacity = 10000
	n.put(10, 7)
	c := n.with(0)
	for i := range uint16(maxKinds + 50) {
		n.rows[key(7, 1, bpf.DeniedMount, 1, bpf.CauseCapability, i)] = bpf.Denial{Count: 1, Time: uint64(i)}
	}
	hear(t, c, t0)
	totals, _, err := c.Totals(t0)
	if err != nil || len(c.Records()) != maxKinds {
		t.Fatalf("%d kinds, %v", len(c.Records()), err)
	}
	for _, sum := range totals {
		if sum != maxKinds+50 {
			t.Errorf("%d refusals, want %d", sum, maxKinds+50)
		}
	}
}

// TestSeries: by cause, nested ones beyond the bound together.
func TestSeries(t *testing.T) {
	n := newNode()
	outer := n.put(10, 7)
	first := n.put(20, 7, 8)
	n.put(30, 7, 9)
	n.put(40, 7, 11)
	c := n.with(1)
	for i, ns := range []uint32{7, 8, 9, 11} {
		n.rows[key(ns, 1, bpf.DeniedMount, 1, bpf.CauseCapability, 21)] = bpf.Denial{Count: uint64(10 + i), Time: 1}
		hear(t, c, t0) // in this order
		if _, err := testutil.CollectAndLint(c); err != nil {
			t.Fatal(err)
		}
	}
	n.rows[key(8, 1, bpf.DeniedFork, 11, bpf.CausePids, 0)] = bpf.Denial{Count: 1, Time: 1}
	want := func(folded string, other string) string {
		return `
# HELP eyas_denials_nested_folded Nested containers without denial series of their own, added up as nested="_other".
# TYPE eyas_denials_nested_folded gauge
eyas_denials_nested_folded{container="` + outer + `",namespace="",pod=""} ` + folded + `
# HELP eyas_denials_total Calls of nested processes that were refused, by cause: capability (missing), owner_unmapped (of a file), id_unmapped (asked for), userns_limit, pids_max, process_limit (RLIMIT_NPROC, or the node's threads), key_quota, cgroup_limit, other; if asked for, seccomp; while traced (eyas explain CHAIN --trace), mode and file_server. Not each is a failure: engines try what they can do without. eyas explain CHAIN tells which, what helps, and what became of the process.
# TYPE eyas_denials_total counter
eyas_denials_total{cause="capability",container="` + outer + `",level="1",namespace="",nested="",pod=""} 10
eyas_denials_total{cause="capability",container="` + outer + `",level="2",namespace="",nested="` + first + `",pod=""} 11
eyas_denials_total{cause="capability",container="` + outer + `",level="2",namespace="",nested="_other",pod=""} ` + other + `
eyas_denials_total{cause="pids_max",container="` + outer + `",level="2",namespace="",nested="` + first + `",pod=""} 1
`
	}
	check := func(want string) {
		t.Helper()
		if err := testutil.CollectAndCompare(c, strings.NewReader(want), "eyas_denials_total", "eyas_denials_nested_folded"); err != nil {
			t.Error(err)
		}
	}
	check(want("2", "25"))
	n.die(30)
	check(want("1", "25")) // what it counted stays
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// TestBlind: a kernel that refuses the programs costs the series, and says why.
func TestBlind(t *testing.T) {
	n := newNode()
	n.refuses = true
	n.hooks = []bpf.Hook{{Name: "denials_fork", State: bpf.HookMissing, Reason: "load: operation not permitted"}}
	c := New(Options{Source: n, Table: n, Log: zerolog.Nop()})
	if c.Capabilities() {
		t.Error("without the hook, missing capabilities are told")
	}
	if why := c.Blind(); why == "" {
		t.Error("sees before it is attached")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ctx); err != nil {
		t.Error(err)
	}
	if why := c.Blind(); why != "missing: load: operation not permitted" {
		t.Errorf("blind because %q", why)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	if f, err := reg.Gather(); err != nil || len(f) != 0 {
		t.Errorf("series %v, %v", f, err)
	}
	if _, told, err := c.Totals(t0); told || err != nil {
		t.Errorf("totals %v, %v", told, err)
	}
}

func TestNames(t *testing.T) {
	same(t, "last capability", "CAP_CHECKPOINT_RESTORE", capabilityText(40))
	same(t, "a new one", "capability 41", capabilityText(41))
	same(t, "limit", "max_inotify_watches", limitText(9))
	same(t, "a new limit", "limit 12", limitText(12))
	same(t, "errno", "EPERM", errnoText(1))
	same(t, "no errno", "errno 4000", errnoText(4000))
	for op := bpf.DeniedFork; op <= bpf.DeniedAccess; op++ {
		if strings.Trim(op.String(), "0123456789") == "" {
			t.Errorf("operation %d has no name", op)
		}
	}
	same(t, "a new operation", "99", bpf.DenialOp(99).String())
	same(t, "a new cause", "99", bpf.DenialCause(99).String())
}
