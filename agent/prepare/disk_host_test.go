//go:build host

package prepare

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/subid"
)

func (r *rig) prepare(p *Preparer, c *container) (Result, error) {
	r.Helper()
	res, err := p.PreparePID(r.Context(), PIDRequest{PID: c.pid(), Profile: "dev"})
	if err == nil {
		c.lease, c.done = res.Lease.ID, true
	}
	r.check()
	r.agree(p)
	return res, err
}

// On a disk that is full, or read-only, nothing is handed over and nothing is
// leased twice; when it works again, so does Prepare.
func TestDiskFaults(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	r := newRig(t)
	if err := unix.Mount("state", r.dir, "tmpfs", 0, "size=128k,mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(r.dir, unix.MNT_DETACH) })
	p := r.open()
	defer func() { r.close(p) }()
	first := r.start("first", false)
	if _, err := r.prepare(p, first); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(r.dir, "filler")
	for name, tc := range map[string]struct {
		spoil, mend func() error
		want        error
	}{
		"full": {
			func() error { _ = os.WriteFile(filler, make([]byte, 1<<20), 0o600); return nil }, // as much as there is room
			func() error { return os.Remove(filler) }, unix.ENOSPC,
		},
		"read-only": {
			func() error { // a mount of its own, as the lock is open for writing
				return errors.Join(unix.Mount(r.dir, r.dir, "", unix.MS_BIND, ""), unix.Mount("", r.dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
			},
			func() error { return unix.Unmount(r.dir, 0) }, unix.EROFS,
		},
	} {
		for _, own := range []bool{true, false} {
			c := r.start(strings.Join([]string{name, map[bool]string{true: "own", false: "host"}[own]}, "-"), own)
			if err := tc.spoil(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := r.prepare(p, c); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), "write lease") {
					t.Errorf("%s: %v", name, err)
				}
			}
			if got := r.owners(c); len(got) > 0 {
				t.Errorf("%s: handed over without a record: %v", name, got)
			}
			if _, err := p.Release(t.Context(), first.lease, ReleaseOptions{Force: true}); !errors.Is(err, tc.want) {
				t.Errorf("%s: release: %v", name, err)
			}
			r.check() // it still has all it had
			if err := tc.mend(); err != nil {
				t.Fatal(err)
			}
			if _, err := r.prepare(p, c); err != nil {
				t.Errorf("%s, after it: %v", name, err)
			}
		}
	}
	for _, c := range r.all {
		c.end()
	}
	r.reconcile(p)
	r.over()
}

// A disk that fills up between the proof and the tombstone frees nothing.
func TestDiskFullAtTheEnd(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	r := newRig(t)
	if err := unix.Mount("state", r.dir, "tmpfs", 0, "size=128k,mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(r.dir, unix.MNT_DETACH) })
	filler := filepath.Join(r.dir, "filler")
	o := r.options()
	o.fault = func(point string) {
		if point == "judged" {
			_ = os.WriteFile(filler, make([]byte, 1<<20), 0o600)
		}
	}
	p, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close(p)
	c := r.start("c", false)
	if _, err := r.prepare(p, c); err != nil {
		t.Fatal(err)
	}
	c.end()
	for p.ledger.List()[0].Proof == "" && err == nil { // until the proof succeeds
		var held *subid.NotReleasedError
		if _, err = p.Release(t.Context(), c.lease, ReleaseOptions{}); errors.As(err, &held) {
			err = nil
		}
	}
	if !errors.Is(err, unix.ENOSPC) || r.leases()[c.lease].State != ledger.Releasing {
		t.Errorf("%v, %+v", err, r.leases()[c.lease])
	}
	r.agree(p)
	p.o.fault = func(string) {}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.reconcile(p)
	r.agree(p)
	r.over()
}

// What a damaged file lent stays taken, and errors name the file.
func TestDamagedLease(t *testing.T) {
	r := newRig(t)
	p := r.open()
	c := r.start("c", false)
	res, err := r.prepare(p, c)
	if err != nil {
		t.Fatal(err)
	}
	r.close(p)
	path := filepath.Join(r.options().Dir, c.lease+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A flipped bit: the range can be told.
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"dev"`, `"dew"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.end()
	o := r.options()
	o.Pool.Range = subid.Range(res.Lease.Range) // nothing else is to be had
	if p, err = Open(o); err != nil {
		t.Fatal(err)
	}
	d := r.start("d", false)
	if _, err := p.PreparePID(t.Context(), PIDRequest{PID: d.pid(), Profile: "dev"}); err == nil || !strings.Contains(err.Error(), "damaged/"+c.lease+".json.sum") {
		t.Errorf("with the range of a damaged file: %v", err)
	}
	if got := p.ledger.Blocked(); len(got) != 1 || got[0].Range != res.Lease.Range {
		t.Errorf("%+v", got)
	}
	r.close(p)
	// Torn: any range may be taken.
	if err := os.WriteFile(path, text[:20], 0o600); err != nil {
		t.Fatal(err)
	}
	p = r.open()
	defer r.close(p)
	_, err = p.PreparePID(t.Context(), PIDRequest{PID: d.pid(), Profile: "dev"})
	if !errors.Is(err, ledger.ErrUnknown) || !strings.Contains(err.Error(), "damaged/"+c.lease+".json.torn") {
		t.Errorf("with a torn file: %v", err)
	}
	r.agree(p)
	if got := r.owners(d); len(got) > 0 {
		t.Errorf("handed over: %v", got)
	}
	// A container with ids of its own needs none of the host's.
	e := r.start("e", true)
	if _, err := p.PreparePID(t.Context(), PIDRequest{PID: e.pid(), Profile: "dev"}); err != nil {
		t.Error(err)
	}
}
