package files

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// fakeProc is a procfs of processes that all began at tick 0, with their roots.
type fakeProc struct {
	*testing.T
	dir string
}

func (p *fakeProc) do(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// proc adds a process. Each mount namespace has a root of its own.
func (p *fakeProc) proc(pid, parent int, mnt, pidns, cmdline, mountinfo string) {
	dir := filepath.Join(p.dir, "proc", fmt.Sprint(pid))
	p.do(os.MkdirAll(filepath.Join(dir, "ns"), 0o755))
	p.do(os.MkdirAll(p.root(mnt), 0o755))
	p.do(os.Symlink(p.root(mnt), filepath.Join(dir, "root")))
	p.do(os.Symlink("mnt:["+mnt+"]", filepath.Join(dir, "ns/mnt")))
	p.do(os.Symlink("pid:["+pidns+"]", filepath.Join(dir, "ns/pid")))
	for name, text := range map[string]string{
		"stat":      fmt.Sprintf("%d (sh) S %d ", pid, parent) + strings.Repeat("0 ", 48),
		"cmdline":   strings.ReplaceAll(cmdline, " ", "\x00"),
		"mountinfo": mountinfo,
	} {
		p.do(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
}

func (p *fakeProc) root(mnt string) string { return filepath.Join(p.dir, "mnt", mnt) }

func (p *fakeProc) store(mnt string, dirs ...string) {
	for _, dir := range dirs {
		p.do(os.MkdirAll(filepath.Join(p.root(mnt), dir, "overlay-containers", someID, "userdata"), 0o755))
	}
}

// places returns the stores that are read of a sandbox, by mount namespace.
func places(s *sandbox) map[string][]string {
	all := map[string][]string{}
	for ns, p := range s.roots {
		all[ns] = []string{}
		for _, st := range p.stores {
			all[ns] = append(all[ns], st.Dir)
		}
		slices.Sort(all[ns])
	}
	return all
}

// newSandbox is one that nobody runs.
func newSandbox(t *testing.T, src *Source) *sandbox {
	s := &sandbox{src: src, roots: map[string]*place{}, files: map[string]*follow{}}
	t.Cleanup(s.close)
	return s
}

// TestForged: where a tenant's containers say that their logs are is believed for that
// tenant alone. Here all stores have a file of the same id.
func TestForged(t *testing.T) {
	const (
		usual   = "/var/lib/containers/storage"
		host    = "4026531836"
		overlay = "1 2 0:3 / /x rw - overlay overlay rw,lowerdir=/tenant/overlay/l/X\n"
	)
	p := &fakeProc{T: t, dir: t.TempDir()}
	p.proc(1, 0, "1", host, "init", "")
	p.proc(2, 1, "1", host, "containerd-shim", "")
	p.proc(3, 1, "1", host, "conmon -b /graph/overlay-containers/"+someID+"/userdata", "")
	p.proc(4, 1, "2", host, "conmon -b /tenant/overlay-containers/"+someID+"/userdata", "") // of a user of the node
	p.proc(7, 2, "100", "100", "sh", overlay)                                               // the tenant
	p.proc(8, 9, "200", "200", "sh", overlay)                                               // started by 9, which lives in it
	p.proc(9, 7, "101", "100", "conmon -b /other/overlay-containers/"+someID+"/userdata", "")
	p.proc(10, 2, "201", "201", "sh", "") // in the tenant's, with CLONE_PARENT
	p.proc(11, 3, "300", "300", "sh", "")
	p.proc(12, 4, "400", "400", "sh", "")
	p.store("1", usual, "/graph", "/tenant", "/other")
	p.store("2", "/tenant", "/graph")
	p.store("100", usual, "/tenant", "/other", "/graph")
	p.store("101", usual, "/other")
	p.store("200", usual)

	n := &table{t: identity.NewTable(identity.Options{Boot: "b"})}
	n.put(7, "aaaaaaaaaaaa", 100)
	n.put(8, someID[:12], 100, 200)
	n.put(10, "bbbbbbbbbbbb", 100, 201)
	n.put(11, "", 300)
	n.put(12, "cccccccccccc", 400)
	n.t.ByPIDNS(identity.NSKey{Inum: 300, Gen: 300}).Name.ID = someID
	src := New(Options{Table: n, Proc: filepath.Join(p.dir, "proc")})
	src.all = bpf.LogSelf | bpf.LogInside
	views, _ := src.views()
	tenant := n.t.ByPIDNS(identity.NSKey{Inum: 100, Gen: 100}).ID
	in := func(dirs ...string) []string {
		for i := range dirs {
			dirs[i] += "/overlay-containers"
		}
		return dirs
	}
	for key, want := range map[string]map[string][]string{
		"":     {"mnt:[1]": in("/graph", usual), "mnt:[2]": in("/tenant")},
		tenant: {"mnt:[100]": in("/other", "/tenant", usual), "mnt:[101]": in("/other", usual)},
	} {
		s := newSandbox(t, src)
		s.look(views[key], time.Now())
		if d := cmp.Diff(want, places(s)); d != "" {
			t.Errorf("sandbox %q reads other stores (-want +got):\n%s", key, d)
		}
	}
	never := func(bpf.LogBox) bool { return false }
	if found, _ := views[""].find(someID, never); found == nil || found.box.PIDNS != 300 {
		t.Errorf("on the node a file is taken for that of %+v", found)
	}
	if _, ok := views[""].children[someID[:12]]; ok {
		t.Errorf("on the node containers are found that are inside others: %v", slices.Collect(maps.Keys(views[""].children)))
	}
	if found, _ := views[tenant].find(someID, never); found == nil || found.box.PIDNS != 200 {
		t.Errorf("in the tenant a file is taken for that of %+v", found)
	}
}
