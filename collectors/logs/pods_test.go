package logs

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

const hostUserNS = 4026531837

// node is all that a Collector asks, without a kernel.
type node struct {
	table  *identity.Table
	chosen map[bpf.LogBox]bpf.LogSelection
	news   chan struct{} // Adopt was called
	did    []string
}

func newNode() *node {
	return &node{
		table: identity.NewTable(identity.Options{Boot: "b"}), chosen: map[bpf.LogBox]bpf.LogSelection{}, news: make(chan struct{}, 100),
	}
}

func (n *node) View(f func(*identity.Table, map[string]int)) { f(n.table, nil) }
func (n *node) Sync(context.Context) error                   { return nil }
func (n *node) Read(deadline time.Time, _ func(*bpf.Log) bool) error {
	<-time.After(time.Until(deadline))
	return nil
}
func (n *node) Streams() (map[bpf.LogBox][]bpf.LogStream, error) { return nil, nil }
func (n *node) SelectAll(bpf.LogSelection) error {
	n.did = append(n.did, "select all")
	return nil
}
func (n *node) Unwatch(b bpf.LogBox, l bpf.LogSelection) error {
	n.did = append(n.did, fmt.Sprintf("unwatch %d %d", b.PIDNS, l))
	return nil
}
func (n *node) Select(b bpf.LogBox, l bpf.LogSelection) error {
	n.did = append(n.did, fmt.Sprintf("select %d %d", b.PIDNS, l))
	if n.chosen[b] = l; l == 0 {
		delete(n.chosen, b)
	}
	return nil
}
func (n *node) Adopt() error {
	n.news <- struct{}{}
	return nil
}
func (n *node) Forget(map[bpf.LogBox]bool) error { return nil }
func (n *node) Drained(bpf.LogBox) bool          { return true }
func (n *node) Missed() (writes, execs uint64)   { return 0, 0 }
func (n *node) Attach()                          {}
func (n *node) Attached() bool                   { return true }
func (n *node) SelfTest(bpf.Drive)               {}
func (n *node) Hooks() []bpf.Hook                { return nil }

// put adds a process in pid namespaces.
func (n *node) put(pid uint32, chain ...uint32) {
	r := &bpf.Process{
		Kind: bpf.KindFork, Time: uint64(pid), Start: uint64(pid), PID: pid, Threads: 1, Comm: "sh", Cgroup: 1,
		PIDLevels: []bpf.Level{{PID: pid, PIDNS: 4026531836}}, UserLevels: []bpf.Level{{UserNS: hostUserNS}},
	}
	for _, ns := range chain {
		r.PIDLevels = append(r.PIDLevels, bpf.Level{PID: 1, PIDNS: ns, PIDNSStart: uint64(ns), PIDNSOwner: hostUserNS})
	}
	n.table.Apply(r)
}

func (n *node) die(pid uint32) { n.table.Apply(&bpf.Exit{Time: 1e9, Start: uint64(pid), PID: pid}) }

func (n *node) collector(t *testing.T, sel string) *Collector {
	t.Helper()
	s, err := ParseSelection(sel)
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Open: func() (Source, error) { return n, nil }, Table: n, Select: s, Log: zerolog.Nop()})
}

func boxAt(ns uint32) bpf.LogBox { return bpf.LogBox{PIDNS: ns, Start: uint64(ns)} }

// TestPods: what a pod asks for is told of its containers and of nobody else's, from
// the moment that SetPod returns.
func TestPods(t *testing.T) {
	const all = bpf.LogSelf | bpf.LogInside
	n := newNode()
	n.put(10, 100)
	n.put(11, 100, 101) // inside it
	n.put(20, 200)
	n.put(30, 300)
	c := n.collector(t, "namespace=prod")
	ctx := t.Context()
	older := Pod{ContainerID: "older", PID: 30, Logs: all | bpf.LogNoStderr}
	if err := c.SetPod(ctx, older); err != nil { // before there is a source
		t.Fatal(err)
	}
	if err := c.attach(); err != nil {
		t.Fatal(err)
	}
	close(c.attached)
	type want = map[bpf.LogBox]bpf.LogSelection
	for _, step := range []struct {
		name string
		do   func() error
		want want
	}{
		{"one that was heard of before", c.apply, want{boxAt(300): all | bpf.LogNoStderr}},
		{"one that asks", func() error { return c.SetPod(ctx, Pod{ContainerID: "a", PID: 10, Logs: all}) },
			want{boxAt(300): all | bpf.LogNoStderr, boxAt(100): all}},
		{"one that does not", func() error { return c.SetPod(ctx, Pod{ContainerID: "b", PID: 20}) },
			want{boxAt(300): all | bpf.LogNoStderr, boxAt(100): all}},
		{"its namespace is told", func() error { return c.SetPod(ctx, Pod{ContainerID: "b", PID: 20, Namespace: "prod"}) },
			want{boxAt(300): all | bpf.LogNoStderr, boxAt(100): all, boxAt(200): all}},
		{"and it opts out", func() error {
			return c.SetPod(ctx, Pod{ContainerID: "b", PID: 20, Namespace: "prod", Logs: bpf.LogNone})
		},
			want{boxAt(300): all | bpf.LogNoStderr, boxAt(100): all, boxAt(200): bpf.LogNone}},
		{"another has the pid of one that is gone", func() error {
			n.die(11)
			n.die(10)
			n.put(10, 900)
			return c.apply()
		}, want{boxAt(300): all | bpf.LogNoStderr, boxAt(200): bpf.LogNone}},
		{"removed", func() error { c.DropPod("older"); n.die(30); return c.apply() }, want{boxAt(200): bpf.LogNone}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if d := cmp.Diff(step.want, n.chosen); d != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, d)
		}
	}
	if p, ok := c.PodOf("older"); !ok || p.Logs == 0 {
		t.Error("the pod of the last lines is not known any more")
	}
}

// TestWaits: without a pod that asks, no program is loaded.
func TestWaits(t *testing.T) {
	n := newNode()
	n.put(10, 100)
	c := n.collector(t, "annotated")
	opened := make(chan struct{})
	c.o.Open = func() (Source, error) { close(opened); return n, nil }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	if err := c.SetPod(ctx, Pod{ContainerID: "quiet", PID: 10}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetPod(ctx, Pod{ContainerID: "no", PID: 10, Logs: bpf.LogNone}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-opened:
		t.Error("opened for nobody")
	default:
	}
	if c.Blind() == "" {
		t.Error("it does not say why nothing is told")
	}
	c.DropPod("quiet")
	c.DropPod("no")
	if err := c.SetPod(ctx, Pod{ContainerID: "a", PID: 10, Logs: bpf.LogSelf | bpf.LogInside}); err != nil {
		t.Fatal(err)
	}
	<-opened
	<-n.news // at the start
	<-n.news // the pod
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if w := c.Way(); w.Via != identity.LogKernel || n.chosen[boxAt(100)] == 0 {
		t.Errorf("%+v, chosen %v", w, n.chosen)
	}
}

// TestOneSource: files are read if the kernel tells nothing, and only then.
func TestOneSource(t *testing.T) {
	for name, tc := range map[string]struct {
		open func() (Source, error)
		file Source
		want Way
	}{
		"kernel":  {func() (Source, error) { return newNode(), nil }, newNode(), Way{Via: identity.LogKernel}},
		"files":   {func() (Source, error) { return nil, errors.New("not here") }, newNode(), Way{Via: identity.LogFile, Why: "not here"}},
		"neither": {func() (Source, error) { return nil, errors.New("not here") }, nil, Way{Why: "not here"}},
	} {
		c := newNode().collector(t, "all")
		c.o.Open, c.o.Files = tc.open, tc.file
		if err := c.attach(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(tc.want, c.Way()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if (c.Blind() == "") != (tc.want.Via != "") {
			t.Errorf("%s: blind %q", name, c.Blind())
		}
	}
}

func TestParseAnnotation(t *testing.T) {
	const all = bpf.LogSelf | bpf.LogInside
	for text, want := range map[string]bpf.LogSelection{
		"true": all, "false": bpf.LogNone, "stdout": all | bpf.LogNoStderr, "stderr": all | bpf.LogNoStdout, "": 0, "True": 0, "\x1b[2J": 0,
	} {
		if got, err := ParseAnnotation(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestOptOut: a pod's word comes before what is said of all, whether it is heard before
// or after the streams of its containers are noted.
func TestOptOut(t *testing.T) {
	n := newNode()
	n.put(20, 200)
	n.put(30, 300)
	n.put(31, 300, 301)
	c := n.collector(t, "all")
	if err := c.SetPod(t.Context(), Pod{ContainerID: "early", PID: 20, Logs: bpf.LogNone}); err != nil {
		t.Fatal(err)
	}
	if err := c.attach(); err != nil {
		t.Fatal(err)
	}
	close(c.attached)
	if err := c.SetPod(t.Context(), Pod{ContainerID: "late", PID: 30, Logs: bpf.LogNone}); err != nil {
		t.Fatal(err)
	}
	none := fmt.Sprint(bpf.LogNone)
	want := []string{
		"select 200 " + none, "unwatch 200 " + none, "select all", "select 300 " + none, "unwatch 301 " + none, "unwatch 300 " + none,
	}
	if d := cmp.Diff(want, n.did); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestKeepPods: of what the runtime does not have any more no pid is remembered.
func TestKeepPods(t *testing.T) {
	n := newNode()
	n.put(20, 200)
	c := n.collector(t, "annotated")
	if err := c.SetPod(t.Context(), Pod{ContainerID: "a", PID: 20}); err != nil {
		t.Fatal(err)
	}
	c.KeepPods(map[string]bool{"b": true})
	if p, ok := c.PodOf("a"); !ok || p.PID != 0 || !p.gone {
		t.Errorf("%+v, %v", p, ok)
	}
}

// TestNamePod: a line has the pod that the runtime names, unless Kubernetes does.
func TestNamePod(t *testing.T) {
	n := newNode()
	c := n.collector(t, "annotated")
	if err := c.SetPod(t.Context(), Pod{ContainerID: "a", Namespace: "dev", Name: "p", UID: "u", Container: "main"}); err != nil {
		t.Fatal(err)
	}
	known := &identity.Pod{Name: "known"}
	for _, tc := range []struct {
		outer identity.Link
		want  *identity.Pod
	}{
		{identity.Link{ContainerID: "a"}, &identity.Pod{Namespace: "dev", Name: "p", UID: "u", Container: "main"}},
		{identity.Link{ContainerID: "b"}, nil},
		{identity.Link{ContainerID: "a", Pod: known}, known},
	} {
		l := identity.LogLine{Chain: []identity.Link{{Kind: "node"}, tc.outer, {ContainerID: "a"}}}
		c.namePod(&l)
		if d := cmp.Diff(tc.want, l.Chain[1].Pod); d != "" || l.Chain[2].Pod != nil {
			t.Errorf("%+v (-want +got):\n%s", tc.outer, d)
		}
	}
}
