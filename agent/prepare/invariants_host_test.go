//go:build host

package prepare

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"

	"github.com/eyas-agent/eyas/agent/ledger"
)

// check holds what is on disk and in the kernel against what must be so at any
// time, whatever was killed.
func (r *rig) check() {
	r.Helper()
	leases := r.leases()
	byCgroup := map[uint64]string{}
	var live []ledger.Lease
	for _, l := range leases {
		if !l.Live() {
			continue
		}
		for _, o := range live {
			if o.Range.Overlaps(l.Range) {
				r.Errorf("%s is leased twice: %+v %+v", l.Range, o, l)
			}
		}
		live = append(live, l)
		if other := byCgroup[l.CgroupID]; other != "" {
			r.Errorf("cgroup %s has two leases: %s and %s", l.Cgroup, other, l.ID)
		}
		byCgroup[l.CgroupID] = l.ID
	}
	for _, c := range r.all {
		if got := r.owners(c); len(got) > 0 && (byCgroup[c.id] == "" || leases[byCgroup[c.id]].Cgroup != c.cgroup) {
			r.Errorf("nobody declares cgroup %s: %v", c.cgroup, got)
		}
		l, ok := leases[c.lease]
		switch {
		case !c.done:
		case c.alive() && !c.forced && l.State != ledger.Done:
			r.Errorf("the lease of a live container is lost: %s: %+v", c.cgroup, l)
		case (c.alive() || slices.ContainsFunc(c.users, running)) && !c.own && (!ok || !l.Live()):
			r.Errorf("the range of a live container is free: %s: %+v", c.cgroup, l)
		}
	}
	for _, id := range r.leftFiles() {
		if l, ok := leases[id]; !ok || !l.Live() {
			r.Errorf("files of %s are left: %+v", id, l)
		}
	}
}

func running(c *exec.Cmd) bool { return c.ProcessState == nil }

// agree holds the pool against the ledger.
func (r *rig) agree(p *Preparer) {
	r.Helper()
	pool := map[string]ledger.Range{}
	for _, l := range p.pool.Leases() {
		pool[l.ID] = ledger.Range(l.Range)
	}
	n := 0
	for _, l := range p.ledger.List() {
		if l.Live() && !l.Range.Empty() {
			n++
			if pool[l.ID] != l.Range {
				r.Errorf("the pool has %s of %s, the ledger %s", pool[l.ID], l.ID, l.Range)
			}
		}
	}
	if n != len(pool) {
		r.Errorf("the pool has %d leases, the ledger %d", len(pool), n)
	}
}

// over is what must be when all containers have ended and Reconcile has run.
func (r *rig) over() {
	r.Helper()
	for id, l := range r.leases() {
		if l.Live() {
			r.Errorf("%s lives on: %+v", id, l)
		}
	}
	if left := r.leftFiles(); len(left) > 0 {
		r.Errorf("files are left: %v", left)
	}
	for _, c := range r.all {
		if got := r.owners(c); len(got) > 0 {
			r.Errorf("cgroup %s: %v", c.cgroup, got)
		}
		if _, err := os.Stat(r.mount + c.cgroup + "/" + leaf); c.lease != "" && !c.forced && !errors.Is(err, fs.ErrNotExist) { // by force it is left with who is in it
			r.Errorf("the leaf of %s: %v", c.cgroup, err)
		}
	}
}

// leftFiles are the leases that have files.
func (r *rig) leftFiles() (out []string) {
	r.Helper()
	entries, err := os.ReadDir(r.options().Files)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func (r *rig) leases() map[string]ledger.Lease {
	r.Helper()
	all, blocked, err := ledger.Read(r.options().Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(blocked) > 0 {
		r.Fatalf("read the ledger: %v %v", err, blocked)
	}
	out := map[string]ledger.Lease{}
	for _, l := range all {
		out[l.ID] = l
	}
	return out
}
