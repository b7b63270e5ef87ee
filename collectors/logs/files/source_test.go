package files

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

const hostUserNS = 4026531837

// table is an identity table that is shared with those who read from it.
type table struct {
	mu sync.Mutex
	t  *identity.Table
}

func (n *table) View(f func(*identity.Table, map[string]int)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n.t, nil)
}

func (n *table) Sync(context.Context) error { return nil }

// put adds a process with a host name in pid namespaces.
func (n *table) put(pid uint32, host string, chain ...uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &bpf.Process{
		Kind: bpf.KindExec, Time: uint64(pid), Start: uint64(pid), PID: pid, Threads: 1, Comm: "sh", Cgroup: 1, Nodename: host,
		PIDLevels: []bpf.Level{{PID: pid, PIDNS: 4026531836}}, UserLevels: []bpf.Level{{UserNS: hostUserNS}},
	}
	for _, ns := range chain {
		r.PIDLevels = append(r.PIDLevels, bpf.Level{PID: 1, PIDNS: ns, PIDNSStart: uint64(ns), PIDNSOwner: hostUserNS})
	}
	n.t.Apply(r)
}

func (n *table) die(pid uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.t.Apply(&bpf.Exit{Time: 1e9, Start: uint64(pid), PID: pid})
}

// sourceRig is a Source of a sandbox whose first process is 7, as a fake procfs has it.
type sourceRig struct {
	*testing.T
	*table
	s     *Source
	root  string
	text  map[bpf.LogBox]map[uint32]*strings.Builder
	drops uint64
}

func newSource(t *testing.T, all bpf.LogSelection) *sourceRig {
	top := t.TempDir()
	r := &sourceRig{T: t, table: &table{t: identity.NewTable(identity.Options{Boot: "b"})}, root: filepath.Join(top, "root"), text: map[bpf.LogBox]map[uint32]*strings.Builder{}}
	for _, dir := range []string{"root/var/lib/containers/storage/overlay-containers", "root/var/lib/docker/containers", "proc/7/ns"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The start time of process 7 is tick 0, as its key says.
	stat := "7 (sh) S 1 " + strings.Repeat("0 ", 48)
	for name, text := range map[string]string{"stat": stat} {
		if err := os.WriteFile(filepath.Join(top, "proc/7", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"root": r.root, "ns/mnt": "mnt:[1]"} {
		if err := os.Symlink(to, filepath.Join(top, "proc/7", link)); err != nil {
			t.Fatal(err)
		}
	}
	r.put(7, "sandbox", 100)
	r.s = New(Options{Table: r.table, Clock: identity.Clock{Boot: time.Now().Add(-time.Hour)}, Proc: filepath.Join(top, "proc"), Every: 5 * time.Millisecond, Rate: 1 << 30, Burst: 1 << 30})
	if err := r.s.SelectAll(all); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.s.Close(); err != nil {
			t.Error(err)
		}
		r.s.workers.Wait()
	})
	return r
}

// until reads until done.
func (r *sourceRig) until(what string, done func() bool) {
	r.Helper()
	for late := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(late) {
			r.Fatalf("never: %s", what)
		}
		if err := r.s.Read(time.Now().Add(20*time.Millisecond), func(l *bpf.Log) bool {
			if r.text[l.Box] == nil {
				r.text[l.Box] = map[uint32]*strings.Builder{bpf.LogStdout: {}, bpf.LogStderr: {}}
			}
			r.text[l.Box][l.FD].Write(l.Data)
			r.drops += l.Dropped.Bytes
			return l.PID%2 == 0 // go on
		}); err != nil {
			r.Fatal(err)
		}
	}
}

func (r *sourceRig) of(b bpf.LogBox, fd uint32) string {
	if r.text[b] == nil {
		return ""
	}
	return r.text[b][fd].String()
}

func line(stream, tag, text string) string {
	return time.Now().UTC().Format(time.RFC3339Nano) + " " + stream + " " + tag + " " + text + "\n"
}

func (r *sourceRig) log(id string) *os.File {
	r.Helper()
	dir := filepath.Join(r.root, "var/lib/containers/storage/overlay-containers", id, "userdata")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "ctr.log"))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { f.Close() })
	return f
}

var inner = bpf.LogBox{PIDNS: 200, Start: 200}

// TestSource: of a container with many lines all come, once and in order, also what is
// written to the end, and what its file is called does not matter after that.
func TestSource(t *testing.T) {
	const lines = 100000
	r := newSource(t, bpf.LogInside)
	f := r.log(someID)
	r.put(8, someID[:12], 100, 200)
	var wg sync.WaitGroup
	var out, errs strings.Builder
	wg.Go(func() {
		var b strings.Builder
		for i := range lines {
			fmt.Fprintf(&out, "%d\n", i)
			fmt.Fprintf(&errs, "e%d\n", i)
			b.WriteString(line("stdout", "F", fmt.Sprint(i)) + line("stderr", "P", "e") + line("stderr", "F", fmt.Sprint(i)))
			if i%1000 == 999 {
				if _, err := f.WriteString(b.String()); err != nil {
					t.Error(err)
				}
				b.Reset()
			}
		}
		r.die(8)
		if err := os.RemoveAll(filepath.Dir(filepath.Dir(f.Name()))); err != nil {
			t.Error(err)
		}
	})
	r.until("the last line", func() bool { return strings.HasSuffix(r.of(inner, bpf.LogStderr), fmt.Sprintf("\ne%d\n", lines-1)) })
	wg.Wait()
	if r.of(inner, bpf.LogStdout) != out.String() || r.of(inner, bpf.LogStderr) != errs.String() || r.drops != 0 || len(r.text) != 1 {
		t.Errorf("%d and %d bytes are told, of %d and %d, %d dropped, of %d containers",
			len(r.of(inner, bpf.LogStdout)), len(r.of(inner, bpf.LogStderr)), out.Len(), errs.Len(), r.drops, len(r.text))
	}
	r.until("it is drained", func() bool { return r.s.Drained(inner) })
	all, err := r.s.Streams()
	if err != nil || len(all[inner]) != 2 || all[inner][0].Bytes != uint64(out.Len()) || all[inner][1].Bytes != uint64(errs.Len()) {
		t.Errorf("streams %+v: %v", all, err)
	}
}

// TestUnknown: what a container wrote that came and went before anybody could say which
// it was, is told as one of the sandbox's; that of a container of somebody else, or of
// one that is older than the agent, is not.
func TestUnknown(t *testing.T) {
	r := newSource(t, bpf.LogInside)
	other := strings.Replace(someID, "a", "f", 1)
	old := strings.Replace(someID, "a", "0", 1)
	r.put(9, other[:12], 300) // an outermost one, which is not selected
	if _, err := r.log(other).WriteString(line("stdout", "F", "not of this sandbox")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.log(old).WriteString(k8s("long ago")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.log(someID).WriteString(line("stdout", "F", "short")); err != nil {
		t.Fatal(err)
	}
	r.until("a line", func() bool { return len(r.text) > 0 })
	// Another look, for what should not come.
	again := time.Now().Add(time.Second)
	r.until("the end", func() bool { return time.Now().After(again) })
	if len(r.text) != 1 {
		t.Errorf("%d containers are told of", len(r.text))
	}
	for b := range r.text {
		u, ok := r.s.Unseen(b)
		if got := r.of(b, bpf.LogStdout); !ok || got != "short\n" || u.Name.ID != someID || u.Name.Runtime != "podman" || u.Parent != (identity.NSKey{Inum: 100, Gen: 100}) {
			t.Errorf("%q of %+v", got, u)
		}
	}
}

// TestRestarted: a container that was started again writes to the same file. Nothing more
// comes of the one before, and what it wrote is counted.
func TestRestarted(t *testing.T) {
	r := newSource(t, bpf.LogInside)
	f := r.log(someID)
	write := func(text string) {
		t.Helper()
		if _, err := f.WriteString(line("stdout", "F", text)); err != nil {
			t.Fatal(err)
		}
	}
	r.put(8, someID[:12], 100, 200)
	write("one")
	r.until("the first line", func() bool { return r.of(inner, bpf.LogStdout) != "" })
	r.die(8)
	r.put(9, someID[:12], 100, 201)
	again := time.Now().Add(2 * viewEvery)
	r.until("another look", func() bool { return time.Now().After(again) })
	write("two")
	second := bpf.LogBox{PIDNS: 201, Start: 201}
	r.until("the second one's line", func() bool { return r.of(second, bpf.LogStdout) == "two\n" })
	r.until("nothing comes of the first", func() bool { return r.s.Drained(inner) })
	all, err := r.s.Streams()
	if err != nil || len(all[inner]) == 0 || all[inner][0].Bytes != uint64(len("one\n")) || r.of(inner, bpf.LogStdout) != "one\n" {
		t.Errorf("streams %+v, told %q: %v", all, r.of(inner, bpf.LogStdout), err)
	}
}

// TestNotSelected: nothing of a container that nobody asked for is read, nor of a stream
// that nobody asked for.
func TestNotSelected(t *testing.T) {
	r := newSource(t, 0)
	other := strings.Replace(someID, "a", "f", 1)
	if err := r.s.Select(inner, bpf.LogSelf|bpf.LogNoStdout); err != nil {
		t.Fatal(err)
	}
	r.put(8, someID[:12], 100, 200)
	r.put(9, other[:12], 100, 300)
	for _, id := range []string{someID, other} {
		if _, err := r.log(id).WriteString(line("stdout", "F", "out") + line("stderr", "F", "err")); err != nil {
			t.Fatal(err)
		}
	}
	r.until("a line", func() bool { return len(r.text) > 0 })
	again := time.Now().Add(wait + time.Second)
	r.until("the end", func() bool { return time.Now().After(again) })
	if len(r.text) != 1 || r.of(inner, bpf.LogStderr) != "err\n" || r.of(inner, bpf.LogStdout) != "" {
		t.Errorf("told of %d containers: %q %q", len(r.text), r.of(inner, bpf.LogStdout), r.of(inner, bpf.LogStderr))
	}
}

// TestShort: what a container wrote whose file goes soon is told, though another one has
// much to tell, and nobody takes that.
func TestShort(t *testing.T) {
	const lines = 200000
	r := newSource(t, bpf.LogInside)
	many := r.log(someID)
	if _, err := many.WriteString(strings.Repeat(line("stdout", "F", "many"), lines)); err != nil {
		t.Fatal(err)
	}
	r.put(8, someID[:12], 100, 200)
	r.until("a line", func() bool { return r.of(inner, bpf.LogStdout) != "" })
	wait := time.NewTicker(time.Millisecond)
	defer wait.Stop()
	never := time.After(time.Minute)
	waits := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			select {
			case <-wait.C:
			case <-never:
				t.Fatalf("never: %s", what)
			}
		}
	}
	waits("there is no room for more", func() bool { return len(r.s.out) == cap(r.s.out) })
	f := r.log(strings.Replace(someID, "a", "f", 1))
	if _, err := f.WriteString(line("stderr", "F", "short")); err != nil {
		t.Fatal(err)
	}
	waits("it is open", func() bool { return r.s.opened.Load() == 2 })
	if err := os.RemoveAll(filepath.Dir(filepath.Dir(f.Name()))); err != nil {
		t.Fatal(err)
	}
	r.until("all lines", func() bool {
		short := 0
		for b := range r.text {
			short += strings.Count(r.of(b, bpf.LogStderr), "short\n")
		}
		return len(r.of(inner, bpf.LogStdout)) == lines*len("many\n") && short == 1
	})
	if r.drops != 0 {
		t.Errorf("%d bytes dropped", r.drops)
	}
}
