package files

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// process adds a process to the fake procfs, in the root of process 7.
func (r *sourceRig) process(pid, parent int) {
	r.Helper()
	dir := filepath.Join(r.s.o.Proc, fmt.Sprint(pid))
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "ns"), 0o755),
		os.WriteFile(filepath.Join(dir, "stat"), fmt.Appendf(nil, "%d (sh) S %d %s", pid, parent, strings.Repeat("0 ", 48)), 0o600),
		os.Symlink(r.root, filepath.Join(dir, "root")),
		os.Symlink(fmt.Sprintf("mnt:[%d]", pid), filepath.Join(dir, "ns/mnt")),
	} {
		if err != nil {
			r.Fatal(err)
		}
	}
}

// told waits until something is told and for what should not come after that, and
// returns what was, by the runtime's id of unknown containers, or by pid namespace.
func (r *sourceRig) told() map[string]string {
	r.Helper()
	r.until("a line", func() bool { return len(r.text) > 0 })
	again := time.Now().Add(wait + time.Second)
	r.until("the end", func() bool { return time.Now().After(again) })
	all := map[string]string{}
	for b := range r.text {
		name := fmt.Sprint(b.PIDNS)
		if u, ok := r.s.Unseen(b); ok {
			name = fmt.Sprintf("%.12s in %d", u.Name.ID, u.Parent.Inum)
		}
		all[name] += r.of(b, bpf.LogStdout)
	}
	return all
}

// TestNotYetMoved: the first process of a container is in its engine's root until its
// runtime has moved it into its own. What is there is not the container's, but that of
// what is around it; and so it is if both share a root for good.
func TestNotYetMoved(t *testing.T) {
	r := newSource(t, bpf.LogInside)
	r.process(8, 7)
	r.put(8, "inside", 100, 200)
	if _, err := r.log(someID).WriteString(line("stdout", "F", "short")); err != nil {
		t.Fatal(err)
	}
	if got := r.told(); len(got) != 1 || got[someID[:12]+" in 100"] != "short\n" {
		t.Errorf("told of %q", got)
	}

	// Once it is moved, its own root is looked at, though the mount namespace is the same.
	own := filepath.Join(t.TempDir(), "own")
	other := strings.Replace(someID, "a", "f", 1)
	dir := filepath.Join(own, "var/lib/containers/storage/overlay-containers", other, "userdata")
	for _, err := range []error{
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "ctr.log"), []byte(line("stdout", "F", "deeper")), 0o600),
		os.Remove(filepath.Join(r.s.o.Proc, "8/root")),
		os.Symlink(own, filepath.Join(r.s.o.Proc, "8/root")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r.until("what is in its own root", func() bool {
		for b := range r.text {
			if u, ok := r.s.Unseen(b); ok && u.Parent.Inum == 200 && r.of(b, bpf.LogStdout) == "deeper\n" {
				return true
			}
		}
		return false
	})
}

// TestReadOnce: a file that two sandboxes see, of a container that nobody knows, is told
// of one of them.
func TestReadOnce(t *testing.T) {
	r := newSource(t, bpf.LogInside)
	r.process(8, 7)
	r.put(8, "inside", 100, 200)
	shared := filepath.Join(r.root, "shared") // the inner root, in which the store is the outer's
	for _, err := range []error{
		os.MkdirAll(filepath.Join(shared, "var/lib/containers"), 0o755),
		os.Remove(filepath.Join(r.s.o.Proc, "8/root")),
		os.Symlink(shared, filepath.Join(r.s.o.Proc, "8/root")),
		os.Link(r.log(someID).Name(), filepath.Join(r.root, "again")),
		os.MkdirAll(filepath.Join(shared, "var/lib/containers/storage/overlay-containers", someID, "userdata"), 0o755),
		os.Rename(filepath.Join(r.root, "again"), filepath.Join(shared, "var/lib/containers/storage/overlay-containers", someID, "userdata/ctr.log")),
		os.WriteFile(filepath.Join(r.root, "var/lib/containers/storage/overlay-containers", someID, "userdata/ctr.log"), []byte(line("stdout", "F", "once")), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got, all := r.told(), ""
	for _, text := range got {
		all += text
	}
	if len(got) != 1 || all != "once\n" {
		t.Errorf("told of %q", got)
	}
}

// TestLateName: a container whose name comes after its first lines is told on by the id
// that those have, and found by its own; started again it is another.
func TestLateName(t *testing.T) {
	r := newSource(t, bpf.LogInside)
	r.put(8, "named-later", 100, 200)
	f := r.log(someID)
	write := func(text string) {
		if _, err := f.WriteString(line("stdout", "F", text)); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	began := time.Now()
	if got := r.told(); len(got) != 1 || got[someID[:12]+" in 100"] != "one\n" || time.Since(began) < wait {
		t.Errorf("told of %q in %v", got, time.Since(began))
	}
	var late *identity.Container
	r.View(func(table *identity.Table, _ map[string]int) {
		late = table.ByPIDNS(identity.NSKey{Inum: 200, Gen: 200})
		late.Name.ID = someID
	})
	r.until("its name is known", func() bool {
		write("more")
		return r.s.Also(late.ID) != ""
	})
	write("last")
	var unseen string
	r.View(func(table *identity.Table, _ map[string]int) {
		unseen = table.UnseenID(identity.NSKey{Inum: 100, Gen: 100}, someID)
	})
	last := ""
	r.until("the last line", func() bool {
		for b := range r.text {
			last = r.of(b, bpf.LogStdout)
		}
		return strings.HasSuffix(last, "last\n")
	})
	if len(r.text) != 1 || !strings.HasPrefix(last, "one\nmore\n") || r.s.Also(late.ID) != unseen {
		t.Errorf("told of %d containers: %.80q; %s is also %q, want %q", len(r.text), last, late.ID, r.s.Also(late.ID), unseen)
	}
}

// TestLearn: the table gets the name of a container that was gone before anybody looked
// for it.
func TestLearn(t *testing.T) {
	r := newSource(t, bpf.LogInside)
	learned := make(chan identity.Name, 2)
	r.s.o.Learn = func(pidns identity.NSKey, name identity.Name) {
		if pidns != (identity.NSKey{Inum: 200, Gen: 200}) {
			t.Errorf("a name for %+v", pidns)
		}
		learned <- name
	}
	f := r.log(someID)
	names := filepath.Join(r.root, "var/lib/containers/storage/overlay-containers/containers.json")
	if err := os.WriteFile(names, []byte(`[{"id":"`+someID+`","names":["many"]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	r.put(8, someID[:12], 100, 200)
	r.die(8)
	if _, err := f.WriteString(line("stdout", "F", "one")); err != nil {
		t.Fatal(err)
	}
	r.until("its line", func() bool { return r.of(inner, bpf.LogStdout) == "one\n" })
	r.until("its name", func() bool { return len(learned) > 0 })
	if got := <-learned; got.Name != "many" || got.ID != someID {
		t.Errorf("learned %+v", got)
	}
}
