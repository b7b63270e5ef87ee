package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestFull: when no more lines are taken the next step goes on behind the last one, and
// nothing of a file that was renamed meanwhile is lost.
func TestFull(t *testing.T) {
	r := newRig(t)
	r.most = 1
	r.write(k8s("a") + k8s("b") + k8s("c"))
	n, err := r.step(r.at, r.buf, 1<<20, &r.list)
	if want := len(k8s("a")); err != nil || n != want {
		t.Errorf("read %d bytes, want %d: %v", n, want, err)
	}
	r.want("a")
	r.do(os.Rename(r.name("log"), r.name("log.1")))
	r.write(k8s("d"))
	for _, want := range []string{"b", "c"} {
		r.turn(1)
		r.want(want)
	}
	r.turn(4)
	r.want("d")
	if r.bytes != 0 {
		t.Errorf("%d bytes lost", r.bytes)
	}
}

// TestBatches: of a file with many short lines all come, in batches that are bounded by
// what they take in memory.
func TestBatches(t *testing.T) {
	const lines = 20000
	r := newSource(t, bpf.LogInside)
	f := r.log(someID)
	if _, err := f.WriteString(strings.Repeat(line("stdout", "F", ""), lines)); err != nil {
		t.Fatal(err)
	}
	r.put(8, someID[:12], 100, 200)
	got, most := 0, 0
	for late := time.Now().Add(time.Minute); got < lines; {
		if time.Now().After(late) {
			t.Fatalf("%d lines came", got)
		}
		if err := r.s.Read(time.Now().Add(20*time.Millisecond), func(*bpf.Log) bool {
			most = max(most, len(r.s.rest))
			got++
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	if limit := maxBatch/overhead + 1; most > limit || got != lines {
		t.Errorf("%d lines came, %d at once, want %d, at most %d", got, most, lines, limit)
	}
}

// TestAdopt: what a runtime says of a container is not read when there is no room for
// another one.
func TestAdopt(t *testing.T) {
	x := newTenant(t)
	names := filepath.Join(x.store, "containers.json")
	x.do(os.WriteFile(names, []byte(`[{"id":"`+someID+`","names":["short"]}]`), 0o600))
	opens, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	x.do(err)
	t.Cleanup(func() { unix.Close(opens) })
	_, err = unix.InotifyAddWatch(opens, names, unix.IN_OPEN)
	x.do(err)
	s := New(Options{})
	v := &view{pidns: identity.NSKey{Inum: 100}, inside: bpf.LogInside}
	f := &follow{tail: tail{root: x.tail.root}, id: someID}
	for i := range maxUnseenOf - 1 {
		s.unseen[bpf.LogBox{Start: 1e6 + uint64(i)}] = Unseen{Parent: v.pidns}
	}
	for _, want := range []bool{true, false} { // there is room for one
		got := s.adopt(f, v)
		n, err := unix.Read(opens, make([]byte, 4096))
		if read := n > 0; got != want || read != want || !read && err != unix.EAGAIN {
			t.Errorf("adopted %v, read %v, want %v: %v", got, read, want, err)
		}
	}
	if u, _ := s.Unseen(f.box); u.Name.Name != "short" {
		t.Errorf("it is named %+v", u.Name)
	}
}

// TestRest: a sandbox whose files take long to be found is searched less often.
func TestRest(t *testing.T) {
	const ms = time.Millisecond
	for used, want := range map[time.Duration]time.Duration{0: 0, 10 * ms: 100 * ms, time.Hour: maxRest} {
		if got := rest(used); got != want {
			t.Errorf("after %v it rests %v, want %v", used, got, want)
		}
	}
	p := &fakeProc{T: t, dir: t.TempDir()}
	p.proc(7, 1, "100", "100", "sh", "")
	p.store("100", "/var/lib/containers/storage")
	s := newSandbox(t, New(Options{Proc: filepath.Join(p.dir, "proc")}))
	for many, want := range map[int64]time.Duration{1: 20 * ms, 10: 200 * ms, 1000: maxPause} {
		s.src.many.Store(many)
		if got := s.src.pause(ms); got != want {
			t.Errorf("of %d sandboxes one waits %v, want %v", many, got, want)
		}
	}
	if got := s.src.pause(time.Second); got != 10*time.Second {
		t.Errorf("after a second it waits %v", got)
	}
	v := &view{key: "t", init: identity.ProcessKey{PID: 7}}
	began := time.Now()
	s.looks, s.listed = began.Add(time.Second), began.Add(time.Second)
	s.search(v, began, true)
	if len(s.files)+len(s.roots) != 0 {
		t.Error("it was searched while it rests")
	}
	at := s.looks
	s.src.many.Store(1e6)
	s.search(v, at, true) // finds the store
	if !s.listed.Equal(at) || s.looks.Sub(at) < maxPause {
		t.Errorf("files are looked for %v later, stores %v", s.listed.Sub(at), s.looks.Sub(at))
	}
	s.search(v, at, true)
	if took := s.listed.Sub(at); len(s.files) != 1 || took <= 0 || took > 10*time.Since(began) {
		t.Errorf("%d files found, then it rests %v", len(s.files), took)
	}
}

// TestStarted: the file of a container that was created is opened as soon as it is there,
// however long after that the container is started.
func TestStarted(t *testing.T) {
	p := &fakeProc{T: t, dir: t.TempDir()}
	p.proc(7, 1, "100", "100", "sh", "")
	p.store("100", "/var/lib/containers/storage")
	s := newSandbox(t, New(Options{Proc: filepath.Join(p.dir, "proc")}))
	v := &view{key: "t", init: identity.ProcessKey{PID: 7}}
	at := time.Now()
	turn := func(after time.Duration) {
		at = at.Add(after)
		s.listed = at
		s.read(t.Context(), s.search(v, at, true), at)
	}
	turn(0)
	turn(0)
	for range 100 {
		turn(500 * time.Millisecond)
	}
	p.do(os.WriteFile(filepath.Join(p.root("100"), "/var/lib/containers/storage/overlay-containers", someID, "userdata/ctr.log"), []byte(k8s("a")), 0o600))
	turn(s.src.o.Every)
	if f := s.files[someID]; f == nil || f.file == nil {
		t.Errorf("it is not open: %+v", f)
	}
}

// TestElsewhere: CRI-O has a directory for each container where podman has its logs, and
// keeps logs where a kubelet looks for them. Those are read.
func TestElsewhere(t *testing.T) {
	p := &fakeProc{T: t, dir: t.TempDir()}
	p.proc(7, 1, "100", "100", "sh", "")
	p.store("100", "/var/lib/containers/storage")
	for _, dir := range []string{"var/log/containers", "var/log/pods/web"} {
		p.do(os.MkdirAll(filepath.Join(p.root("100"), dir), 0o755))
	}
	p.do(os.WriteFile(filepath.Join(p.root("100"), "var/log/pods/web/0.log"), []byte(k8s("a")), 0o600))
	p.do(os.Symlink("/var/log/pods/web/0.log", filepath.Join(p.root("100"), "var/log/containers/web_default_c-"+someID+".log")))
	s := newSandbox(t, New(Options{Proc: filepath.Join(p.dir, "proc")}))
	v := &view{key: "t", init: identity.ProcessKey{PID: 7}}
	for i := range 3 {
		at := time.Now().Add(time.Duration(i) * storesEvery)
		s.looks, s.listed = at, at
		s.read(t.Context(), s.search(v, at, true), at)
	}
	if f := s.files[someID]; f == nil || f.file == nil || f.path != "/var/log/pods/web/0.log" {
		t.Errorf("it is not open: %+v", f)
	}
}
