package vfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

const (
	hostUserNS = 4026531837
	tick       = uint64(10 * time.Millisecond) // USER_HZ, in which /proc tells start times
	plainRoot  = "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 8:1 /store/vfs/dir/abc / rw - ext4 /dev/sda rw\n"
	wholeRoot  = "1 0 0:50 / / rw - overlay overlay rw,lowerdir=/l\n"
)

// node is all that a Collector asks.
type node struct {
	t     *testing.T
	table *identity.Table
	proc  string
	boot  time.Time
}

func newNode(t *testing.T) *node {
	return &node{t: t, table: identity.NewTable(identity.Options{Boot: "b"}), proc: t.TempDir(), boot: time.Now().Add(-time.Hour)}
}

func (n *node) View(f func(*identity.Table, map[string]int)) { f(n.table, nil) }

func (n *node) collector(most int) *Collector {
	return New(Options{Table: n, Clock: identity.Clock{Boot: n.boot}, Proc: n.proc, MaxNested: most, Log: zerolog.Nop()})
}

// put adds a process that started so long ago, in pid namespaces.
func (n *node) put(pid uint32, ago time.Duration, mountinfo string, chain ...uint32) string {
	n.t.Helper()
	start := uint64(time.Since(n.boot)-ago) / tick * tick
	r := &bpf.Process{
		Kind: bpf.KindFork, Time: start, Start: start, PID: pid, Threads: 1, Comm: "sh", Cgroup: 1,
		PIDLevels: []bpf.Level{{PID: pid, PIDNS: 4026531836}}, UserLevels: []bpf.Level{{UserNS: hostUserNS}},
	}
	for _, ns := range chain {
		r.PIDLevels = append(r.PIDLevels, bpf.Level{PID: pid, PIDNS: ns, PIDNSStart: uint64(ns), PIDNSOwner: hostUserNS})
	}
	n.table.Apply(r)
	n.write(pid, "mountinfo", mountinfo)
	n.write(pid, "stat", fmt.Sprintf("%d (sh) S %s %d %s\n", pid, strings.TrimSpace(strings.Repeat("0 ", 18)), start/tick, strings.TrimSpace(strings.Repeat("0 ", 30))))
	n.io(pid, 0)
	return n.table.Process(identity.HostPID(pid)).Container.ID
}

func (n *node) write(pid uint32, name, text string) {
	n.t.Helper()
	dir := filepath.Join(n.proc, fmt.Sprint(pid))
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
		n.t.Fatal(err)
	}
}

// io says that a process has read b bytes, and written ten times as many.
func (n *node) io(pid uint32, b int) {
	n.t.Helper()
	n.write(pid, "io", fmt.Sprintf("rchar: %d\nwchar: %d\nsyscr: 9\nsyscw: 9\nread_bytes: %d\nwrite_bytes: %d\ncancelled_write_bytes: 0\n", b, 10*b, b/2, b/4))
}

func (n *node) die(pid uint32) {
	n.end(pid)
	n.reap(pid)
}

// end has a process exit, and reap have somebody wait for it.
func (n *node) end(pid uint32) {
	n.table.Apply(&bpf.Exit{Time: uint64(time.Since(n.boot)), Start: n.table.Process(identity.HostPID(pid)).Key.Start, PID: pid})
}

func (n *node) reap(pid uint32) {
	n.t.Helper()
	if err := os.RemoveAll(filepath.Join(n.proc, fmt.Sprint(pid))); err != nil {
		n.t.Fatal(err)
	}
}

// read are the bytes that calls read, by nested label.
func read(t *testing.T, c *Collector) string {
	t.Helper()
	out, err := testutil.CollectAndFormat(c, expfmt.TypeTextPlain, "eyas_vfs_bytes_total")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, `way="read"`) {
			continue
		}
		_, rest, _ := strings.Cut(line, `nested="`)
		nested, _, _ := strings.Cut(rest, `"`)
		got = append(got, nested+"="+line[strings.LastIndex(line, " ")+1:len(line)-1])
	}
	return strings.Join(got, " ")
}

// What a process did since the collector began is counted, once, also when others of
// its container come and go; what is on layers is not looked at.
func TestCounts(t *testing.T) {
	n := newNode(t)
	outer := n.put(10, time.Minute, wholeRoot, 10)
	inner := n.put(20, time.Minute, plainRoot, 10, 20)
	n.io(10, 1<<30)
	n.io(20, 500)
	c := n.collector(0)
	look := func() { c.look(time.Now()) }
	look()
	if got := read(t, c); got != inner+"=0" {
		t.Errorf("what was before counts: %s", got)
	}
	n.io(20, 700)
	look()
	n.put(21, -time.Second, plainRoot, 10, 20) // after it began
	n.io(21, 30)
	look()
	look()
	if got := read(t, c); got != inner+"=230" {
		t.Errorf("two processes: %s", got)
	}
	n.io(20, 600) // goes back: a kernel's counter of disk_write may
	n.die(21)
	look()
	n.io(20, 601)
	look()
	if got := read(t, c); got != inner+"=231" {
		t.Errorf("after one ended: %s", got)
	}
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	want := `# HELP eyas_vfs_bytes_total ` + help(c) + `
# TYPE eyas_vfs_bytes_total counter
eyas_vfs_bytes_total{container="` + outer + `",level="2",namespace="",nested="` + inner + `",pod="",way="disk_read"} 115
eyas_vfs_bytes_total{container="` + outer + `",level="2",namespace="",nested="` + inner + `",pod="",way="disk_write"} 57
eyas_vfs_bytes_total{container="` + outer + `",level="2",namespace="",nested="` + inner + `",pod="",way="read"} 231
eyas_vfs_bytes_total{container="` + outer + `",level="2",namespace="",nested="` + inner + `",pod="",way="write"} 2310
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	n.die(20)
	look()
	if got := read(t, c); got != "" || len(c.totals) != 0 || len(c.last) != 0 || len(c.roots) != 1 {
		t.Errorf("of the dead is kept: %s, %d, %d, %d", got, len(c.totals), len(c.last), len(c.roots))
	}
}

func help(*Collector) string {
	text := ofBytes.Desc().String()
	_, rest, _ := strings.Cut(text, `help: "`)
	text, _, _ = strings.Cut(rest, `", `)
	return text
}

// A container's root is asked for anew while a runtime may still change it.
func TestRootSettles(t *testing.T) {
	n := newNode(t)
	c := n.collector(0)
	id := n.put(10, -time.Second, wholeRoot, 10)
	n.io(10, 5)
	c.look(time.Now())
	if got := read(t, c); got != "" {
		t.Errorf("on layers: %s", got)
	}
	n.write(10, "mountinfo", plainRoot)
	c.look(time.Now())
	if got := read(t, c); got != "=5" {
		t.Errorf("its root is plain by now: %s", got)
	}
	c.look(time.Now().Add(2 * settled))
	n.write(10, "mountinfo", wholeRoot)
	c.look(time.Now().Add(2 * settled))
	if !c.roots[id] {
		t.Error("a root that is settled is asked for again")
	}
	n.write(10, "stat", "10 (other) S 0\n") // the pid is another's
	n.io(10, 1000)
	c.look(time.Now().Add(2 * settled))
	if got := read(t, c); got != "=5" {
		t.Errorf("of another process: %s", got)
	}
	n.write(1, "mountinfo", plainRoot) // the node's own, on a subvolume
	n.put(11, -time.Second, plainRoot, 11)
	n.io(11, 7)
	c.look(time.Now())
	if got := read(t, c); got != "=5" {
		t.Errorf("on the node's root: %s", got)
	}
}

// What a process did is not counted again with whoever waits for it, in its container or
// around it.
func TestInherited(t *testing.T) {
	n := newNode(t)
	outer := n.put(10, time.Minute, plainRoot, 10) // an engine
	inner := n.put(20, -time.Second, plainRoot, 10, 20)
	n.put(21, -time.Second, plainRoot, 10, 20) // a shell's child
	c := n.collector(0)
	look := func() { c.look(time.Now()) }
	n.io(21, 1000)
	look()
	want := func(what string, o, i string) {
		t.Helper()
		got := read(t, c)
		if got != "="+o+" "+inner+"="+i && got != inner+"="+i+" ="+o {
			t.Errorf("%s: %s, want %s and %s", what, got, o, i)
		}
	}
	want("while it lives", "0", "1000")
	n.end(21) // and nobody has waited yet
	look()
	look()
	want("a zombie", "0", "1000")
	n.reap(21)
	n.io(20, 1500) // what it did since the last look, too
	look()
	want("with its parent", "0", "1500")
	n.put(22, -time.Second, plainRoot, 10, 20)
	n.io(22, 50)
	look()
	n.end(22)
	n.reap(22)
	look()
	n.io(20, 1530)
	look()
	want("nobody waited", "0", "1580")
	n.end(20)
	n.reap(20)
	n.io(10, 1600) // the engine waits for the container's first process
	look()
	if got := read(t, c); got != "=70" {
		t.Errorf("the engine: %s, want what it did itself", got)
	}
	if c.totals[outer].Read != 70 || len(c.last) != 1 {
		t.Errorf("%v, %v", c.totals, c.last)
	}
}

// Beyond the bound containers are one remainder, which keeps what the dead did.
func TestBounded(t *testing.T) {
	n := newNode(t)
	n.put(10, time.Minute, wholeRoot, 10)
	first := n.put(20, -time.Second, plainRoot, 10, 20)
	c := n.collector(1)
	n.io(20, 1)
	c.look(time.Now())
	for ns := uint32(30); ns < 33; ns++ {
		n.put(ns, -time.Second, plainRoot, 10, ns)
		n.io(ns, 10)
	}
	c.look(time.Now())
	n.die(31)
	c.look(time.Now())
	if got := read(t, c); got != first+"=1 _other=30" && got != "_other=30 "+first+"=1" {
		t.Errorf("bounded: %s", got)
	}
}
