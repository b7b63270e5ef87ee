package sources

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

var leased = subid.Range{Start: 1 << 30, Count: 65536}

// tree is a procfs of files. Process 50 is the reader.
type tree struct {
	t   *testing.T
	dir string
}

func newTree(t *testing.T) tree {
	p := tree{t, t.TempDir()}
	p.process(1, nil)
	p.process(50, nil)
	p.link("self", "50")
	return p
}

func (p tree) write(path, text string) {
	p.t.Helper()
	path = filepath.Join(p.dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		p.t.Fatal(err)
	}
}

func (p tree) link(path, to string) {
	p.t.Helper()
	path = filepath.Join(p.dir, path)
	os.Remove(path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
		p.t.Fatal(err)
	}
}

// process makes one of the host, with files replaced.
func (p tree) process(pid int, files map[string]string) {
	all := map[string]string{
		"status": taskStatus(0, 1), "uid_map": "0 0 4294967295\n", "gid_map": "0 0 4294967295\n",
		"mountinfo": "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n",
	}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		p.write(fmt.Sprintf("%d/%s", pid, name), text)
	}
	p.link(fmt.Sprintf("%d/ns/pid", pid), initPIDNS)
	p.link(fmt.Sprintf("%d/ns/user", pid), initUserNS)
	p.link(fmt.Sprintf("%d/ns/mnt", pid), fmt.Sprintf("mnt:[%d]", pid))
}

func taskStatus(id uint32, threads int) string {
	return fmt.Sprintf("Name:\tx\nUid:\t0\t%d\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0 5 \nThreads:\t%d\nCapEff:\t000001ffffffffff\n", id, threads)
}

func (p tree) prover() *Prover {
	now := func() time.Time { return time.Unix(1000, 0) }
	return &Prover{Proc: p.dir, Known: func() ([]Namespace, error) { return nil, nil }, now: now,
		mounts: func(string) ([]idmappedMount, error) { return nil, nil }}
}

func TestProve(t *testing.T) {
	in := leased.Start + 65535
	tenant := fmt.Sprintf("0 %d 65536\n", leased.Start)
	other := fmt.Sprintf("0 %d 65536\n", leased.Start-65536)
	const idmap = "40 27 0:30 / /mnt rw,idmapped - tmpfs x rw\n"
	noMaps := func(p *Prover) {
		p.mounts = func(string) ([]idmappedMount, error) { return nil, errNoMountMaps }
	}
	for name, tc := range map[string]struct {
		files    map[string]string // of process 70
		set      func(tree, *Prover)
		want     subid.Liveness
		evidence string
	}{
		"nobody":              {want: subid.Released},
		"effective uid":       {files: map[string]string{"status": taskStatus(in, 1)}, want: subid.Alive, evidence: "process 70 (thread 70) runs with id 1073807359"},
		"uid beside":          {files: map[string]string{"status": taskStatus(in+1, 1)}, want: subid.Released},
		"gid":                 {files: map[string]string{"status": fmt.Sprintf("Uid:\t0\t0\t0\t0\nGid:\t0\t0\t%d\t0\nThreads:\t1\n", in)}, want: subid.Alive},
		"file system gid":     {files: map[string]string{"status": fmt.Sprintf("Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t%d\n", in)}, want: subid.Alive},
		"group":               {files: map[string]string{"status": fmt.Sprintf("Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t1 %d\n", in)}, want: subid.Alive},
		"thread":              {files: map[string]string{"status": taskStatus(0, 2), "task/70/status": taskStatus(0, 2), "task/71/status": taskStatus(in, 2)}, want: subid.Alive, evidence: "thread 71"},
		"map":                 {files: map[string]string{"uid_map": tenant, "gid_map": tenant}, want: subid.Alive, evidence: "maps it"},
		"map of gids":         {files: map[string]string{"uid_map": other, "gid_map": tenant}, want: subid.Alive},
		"map of another":      {files: map[string]string{"uid_map": other, "gid_map": other}, want: subid.Released},
		"map of same numbers": {files: map[string]string{"uid_map": fmt.Sprintf("%d %d 65536\n", leased.Start, leased.Start)}, want: subid.Alive},
		"map not written":     {files: map[string]string{"uid_map": "", "gid_map": ""}, want: subid.Released},
		"unreadable map":      {files: map[string]string{"uid_map": "x\n"}, want: subid.Indeterminate, evidence: "process 70: parse"},
		"unreadable status":   {files: map[string]string{"status": "x\n"}, want: subid.Indeterminate},
		"status is a fifo": {set: func(p tree, _ *Prover) {
			p.process(70, nil)
			os.Remove(filepath.Join(p.dir, "70/status"))
			if err := os.Mkdir(filepath.Join(p.dir, "70/status"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, want: subid.Indeterminate, evidence: "not a regular file"},
		"always gone":  {set: func(p tree, _ *Prover) { p.write("80/cmdline", "") }, want: subid.Indeterminate, evidence: "faster than"},
		"no processes": {set: func(p tree, pr *Prover) { pr.Proc = t.TempDir() }, want: subid.Unsupported},
		"no procfs":    {set: func(p tree, pr *Prover) { pr.Proc = "/nonexistent" }, want: subid.Unsupported},
		"in a pid namespace": {set: func(p tree, _ *Prover) { p.link("50/ns/pid", "pid:[4026532000]") }, want: subid.Unsupported,
			evidence: "hostPID: true"},
		"in a user namespace": {set: func(p tree, _ *Prover) { p.link("50/ns/user", "user:[4026532000]") }, want: subid.Unsupported},
		"no capability": {set: func(p tree, _ *Prover) {
			p.write("50/status", "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t0\n")
		}, want: subid.Unsupported, evidence: "CAP_SYS_PTRACE"},
		"no witness": {set: func(_ tree, pr *Prover) { pr.Known = nil }, want: subid.Unsupported},
		"witness fails": {set: func(_ tree, pr *Prover) {
			pr.Known = func() ([]Namespace, error) { return nil, errors.New("table is stale") }
		}, want: subid.Indeterminate, evidence: "table is stale"},
		"witness knows": {set: func(_ tree, pr *Prover) {
			pr.Known = func() ([]Namespace, error) {
				return []Namespace{{Name: "n", UIDs: identity.UIDMap{{First: 0, Host: in, Count: 1}}}}, nil
			}
		}, want: subid.Alive},
		"alive outweighs": {files: map[string]string{"status": taskStatus(in, 1)}, set: func(p tree, pr *Prover) {
			pr.Known = nil
			p.process(70, map[string]string{"status": taskStatus(in, 1)})
		}, want: subid.Alive, evidence: "process 70"},
		"mount shows": {set: func(_ tree, pr *Prover) {
			pr.mounts = func(string) ([]idmappedMount, error) {
				return []idmappedMount{{id: 9, gids: []identity.Extent{{First: 0, Host: in, Count: 1}}}}, nil
			}
		}, want: subid.Alive, evidence: "mount 9"},
		"mount has on disk": {set: func(_ tree, pr *Prover) {
			pr.mounts = func(string) ([]idmappedMount, error) {
				return []idmappedMount{{id: 9, uids: []identity.Extent{{First: in, Host: 1000, Count: 1}}}}, nil
			}
		}, want: subid.Alive},
		"mount of the host's numbers": {set: func(_ tree, pr *Prover) {
			pr.mounts = func(string) ([]idmappedMount, error) {
				return []idmappedMount{{id: 9, uids: []identity.Extent{{First: 0, Host: 0, Count: 4294967295}}}}, nil
			}
		}, want: subid.Released},
		"old kernel":                 {set: func(_ tree, pr *Prover) { noMaps(pr) }, want: subid.Released},
		"old kernel, host's mount":   {files: map[string]string{"mountinfo": idmap}, set: func(_ tree, pr *Prover) { noMaps(pr) }, want: subid.Indeterminate, evidence: "6.15"},
		"old kernel, tenant's mount": {files: map[string]string{"mountinfo": idmap, "uid_map": other, "gid_map": other}, set: func(_ tree, pr *Prover) { noMaps(pr) }, want: subid.Released},
		"old kernel, bad mountinfo":  {files: map[string]string{"mountinfo": "x\n"}, set: func(_ tree, pr *Prover) { noMaps(pr) }, want: subid.Indeterminate},
		"old kernel, own mount":      {files: map[string]string{"mountinfo": idmap, "uid_map": tenant, "gid_map": tenant}, set: func(_ tree, pr *Prover) { noMaps(pr) }, want: subid.Alive},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTree(t)
			pr := p.prover()
			if tc.files != nil {
				p.process(70, tc.files)
			}
			if tc.set != nil {
				tc.set(p, pr)
			}
			proof := pr.Prove(leased)
			if proof.Liveness != tc.want || proof.Range != leased || !proof.At.Equal(time.Unix(1000, 0)) {
				t.Fatalf("%+v, want %v", proof, tc.want)
			}
			if (proof.Liveness == subid.Released) != (len(proof.Evidence) == 0) {
				t.Errorf("evidence %+v", proof.Evidence)
			}
			if tc.evidence != "" && !strings.Contains(proof.Evidence[0].Text, tc.evidence) {
				t.Errorf("evidence %+v, want %q", proof.Evidence, tc.evidence)
			}
		})
	}
}

// A process that ends before it is read may leave a child behind the listing.
func TestWalkLooksAgain(t *testing.T) {
	p := newTree(t)
	p.process(70, nil)
	pr := p.prover()
	ts := newTargets([]subid.Range{leased}, time.Unix(0, 0))
	looked := map[int]int{}
	pr.walk(ts, func(pid int) error {
		looked[pid]++
		if pid == 70 { // ends, and has a child with a lower pid
			p.process(60, map[string]string{"status": taskStatus(leased.Start, 1)})
			os.RemoveAll(filepath.Join(p.dir, "70"))
			return errGone
		}
		return pr.look(pid, ts)
	})
	if ts.proofs[0].Liveness != subid.Alive || looked[60] != 1 || looked[1] != 1 {
		t.Errorf("%+v, looked at %v", ts.proofs[0], looked)
	}
}

func TestProveAll(t *testing.T) {
	p := newTree(t)
	p.process(70, map[string]string{"status": taskStatus(leased.Start, 1)})
	second := subid.Range{Start: 1<<30 + 65536, Count: 65536}
	got := p.prover().ProveAll([]subid.Range{second, leased, {}})
	for i, want := range []subid.Liveness{subid.Released, subid.Alive, subid.Unsupported} {
		if got[i].Liveness != want {
			t.Errorf("%d: %+v, want %v", i, got[i], want)
		}
	}
}
