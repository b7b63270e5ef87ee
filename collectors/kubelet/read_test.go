package kubelet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/hostfs"
	"github.com/eyas-agent/eyas/collectors/identity"
)

const (
	podA = "2ff1d3f2-0000-4000-8000-00000000000a"
	podB = "2ff1d3f2-0000-4000-8000-00000000000b"
)

func record(host uint32) string {
	m := fmt.Sprintf(`[{"hostId":%d,"containerId":0,"length":65536}]`, host)
	return `{"uidMappings":` + m + `,"gidMappings":` + m + `}`
}

// root is kubelet's root directory, as a test makes it.
type root struct {
	t   testing.TB
	dir string
}

func newRoot(t testing.TB) root {
	t.Helper()
	r := root{t, t.TempDir()}
	r.must(os.Mkdir(filepath.Join(r.dir, "pods"), 0o700))
	return r
}

func (r root) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r root) path(pod string) string { return filepath.Join(r.dir, "pods", pod, "userns") }

// write writes a record as kubelet does: whole, or not at all.
func (r root) write(pod, text string, at time.Time) {
	r.t.Helper()
	file := r.path(pod)
	r.must(os.MkdirAll(filepath.Dir(file), 0o700))
	r.must(os.WriteFile(file+".tmp", []byte(text), 0o600))
	r.must(os.Chtimes(file+".tmp", at, at))
	r.must(os.Rename(file+".tmp", file))
}

func (r root) remove(pod string) {
	r.t.Helper()
	r.must(os.RemoveAll(filepath.Dir(r.path(pod))))
}

func TestRead(t *testing.T) {
	r := newRoot(t)
	written := time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)
	r.write(podB, record(805371904), written)
	r.write(podA, record(805306368), written)
	r.must(os.MkdirAll(filepath.Join(r.dir, "pods", "host-ids", "volumes"), 0o700))
	found, bad, err := Read(hostfs.Root{}, r.dir)
	want := func(pod string, host uint32) Record {
		one := []identity.Extent{{Host: host, Count: 65536}}
		return Record{Pod: pod, Path: r.path(pod), Written: written, UIDs: one, GIDs: one}
	}
	if d := cmp.Diff([]Record{want(podA, 805306368), want(podB, 805371904)}, found); d != "" || err != nil || bad != nil {
		t.Error(d, bad, err)
	}
	if found, bad, err := Read(hostfs.Root{}, filepath.Join(r.dir, "none")); found != nil || bad != nil || err != nil {
		t.Error(found, bad, err)
	}
}

// A hostile record is named and neither followed, waited for nor read whole;
// the others are read.
func TestReadHostile(t *testing.T) {
	r := newRoot(t)
	good := filepath.Join(r.dir, "elsewhere")
	r.must(os.WriteFile(good, []byte(record(65536)), 0o600))
	for pod, plant := range map[string]func(file string) error{
		"link":  func(file string) error { return os.Symlink(good, file) },
		"fifo":  func(file string) error { return unix.Mkfifo(file, 0o600) },
		"dir":   func(file string) error { return os.Mkdir(file, 0o700) },
		"large": func(file string) error { return os.WriteFile(file, make([]byte, maxBytes+1), 0o600) },
		"text":  func(file string) error { return os.WriteFile(file, []byte("\x1b["), 0o600) },
	} {
		r.must(os.Mkdir(filepath.Dir(r.path(pod)), 0o700))
		r.must(plant(r.path(pod)))
	}
	r.must(os.WriteFile(filepath.Join(r.dir, "pods", "no-dir"), nil, 0o600))
	r.must(os.Symlink(filepath.Join(r.dir, "pods", podA), filepath.Join(r.dir, "pods", "other")))
	r.write(podA, record(805306368), time.Now())
	found, bad, err := Read(hostfs.Root{}, r.dir)
	if len(found) != 1 || err != nil {
		t.Error(found, err)
	}
	got := map[string]string{}
	for _, b := range bad {
		got[b.Pod] = b.Err.Error()
	}
	for pod, want := range map[string]string{
		"link": "too many levels of symbolic links", "fifo": "not a regular file", "dir": "not a regular file", "large": "more than",
		"text": "no record", "no-dir": "not a directory", "other": "too many levels of symbolic links",
	} {
		if !strings.Contains(got[pod], want) {
			t.Errorf("%s: %q, want %q", pod, got[pod], want)
		}
		delete(got, pod)
	}
	if len(got) != 0 {
		t.Error(got)
	}
}

func TestReadUnreadable(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pods"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(hostfs.Root{}, dir); !errors.Is(err, unix.ENOTDIR) || !strings.Contains(err.Error(), "kubelet's pods") {
		t.Error(err)
	}
	r := newRoot(t)
	for i := range 11 {
		r.write(fmt.Sprint(i), record(65536), time.Now())
	}
	if found, _, err := read(hostfs.Root{}, r.dir, 11); len(found) != 11 || err != nil {
		t.Error(len(found), err)
	}
	if found, _, err := read(hostfs.Root{}, r.dir, 10); len(found) != 0 || err == nil || !strings.Contains(err.Error(), "has more than 10") {
		t.Error(len(found), err)
	}
}

func TestParse(t *testing.T) {
	const good = `{"uidMappings":[{"hostId":833617920,"containerId":7,"length":65536}],"gidMappings":[{"hostId":65536,"containerId":0,"length":131072}]}`
	uids, gids, err := Parse([]byte(good))
	if d := cmp.Diff(identity.UIDMap{{First: 7, Host: 833617920, Count: 65536}}, uids); d != "" || err != nil {
		t.Error(d, err)
	}
	if d := cmp.Diff(identity.GIDMap{{Host: 65536, Count: 131072}}, gids); d != "" {
		t.Error(d)
	}
	if _, _, err := Parse([]byte(record(4294901760))); err != nil { // kubelet gives it, whatever the kernel says
		t.Error("the last block:", err)
	}
	many := strings.Repeat(`{"hostId":1,"length":1},`, maxMappings) + `{"hostId":1,"length":1}`
	for _, text := range []string{"", "{}", "[]", "null", "\x00", `{"uidMappings":[]}`, good[:50], strings.Replace(good, "65536", "0", 1),
		strings.Replace(good, "65536", "4294967295", 1), strings.Replace(good, "hostId", "host", 1), strings.Replace(good, "833617920", "-1", 1),
		strings.Replace(good, ":7,", ":4294967295,", 1), strings.Replace(good, "131072", `"x"`, 1), strings.Replace(good, "length\":131072", `l":1`, 1),
		strings.Replace(good, "65536", strings.Repeat("9", maxBytes), 1), `{"uidMappings":[` + many + `],"gidMappings":[` + many + `]}`} {
		if uids, gids, err := Parse([]byte(text)); err == nil || len(err.Error()) > 256 {
			t.Errorf("%.99q: %v, %v, %v", text, uids, gids, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(record(65536)))
	f.Fuzz(func(t *testing.T, text []byte) {
		uids, gids, err := Parse(text)
		if err != nil {
			return
		}
		for _, e := range append([]identity.Extent(uids), gids...) {
			if e.Count == 0 || uint64(e.Host)+uint64(e.Count) > 1<<32 || uint64(e.First)+uint64(e.Count) > 1<<32 {
				t.Errorf("%q: %+v", text, e)
			}
		}
	})
}

// On a node whose /var/lib/kubelet is a link, the link is the node's, for an agent in a
// pod, too; and where it leads to nothing, nobody knows what pods have.
func TestReadLinked(t *testing.T) {
	node := hostfs.Root{Path: t.TempDir()}
	r := root{t: t, dir: filepath.Join(node.Path, "data/kubelet")}
	r.write(podA, record(805306368), time.Now())
	r.must(os.MkdirAll(filepath.Join(node.Path, "var/lib"), 0o700))
	r.must(os.Symlink("/data/kubelet", filepath.Join(node.Path, "var/lib/kubelet")))
	if found, bad, err := Read(node, "/var/lib/kubelet"); len(found) != 1 || found[0].Pod != podA || len(bad) != 0 || err != nil {
		t.Error(found, bad, err)
	}
	r.must(os.Rename(filepath.Join(node.Path, "data"), filepath.Join(node.Path, "elsewhere")))
	if found, _, err := Read(node, "/var/lib/kubelet"); len(found) != 0 || !errors.Is(err, hostfs.ErrDangling) {
		t.Error(found, err)
	}
}
