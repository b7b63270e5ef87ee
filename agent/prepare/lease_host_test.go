//go:build host

package prepare

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Any process of a cgroup may be asked for: there is one lease for it.
func TestOneLeasePerCgroup(t *testing.T) {
	for _, own := range []bool{true, false} {
		r := newRig(t)
		p := r.open()
		c := r.start("c", own)
		// A second container of the pod's cgroup, before and after the first moved.
		beside := container{cmd: r.park(r.abs("c"), own)}
		first, err := r.prepare(p, c)
		if err != nil {
			t.Fatal(err)
		}
		late := container{cmd: r.park(r.abs("c/"+leaf), own)}
		for name, o := range map[string]container{"beside": beside, "late": late} {
			got, err := p.PreparePID(t.Context(), PIDRequest{PID: o.pid(), Profile: "dev"})
			if err != nil || got.Lease.ID != first.Lease.ID || got.Subuid != first.Subuid {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			if b, err := os.ReadFile("/proc/" + o.pidText() + "/root/etc/subuid"); err != nil || string(b) != first.Subuid {
				t.Errorf("%s: inside: %q, %v", name, b, err)
			}
		}
		if n := len(r.leases()); n != 1 {
			t.Errorf("%d leases", n)
		}
		// What differs is refused, and told.
		uid := identity.UID(0)
		for want, q := range map[string]PIDRequest{
			"profile dev": {PID: late.pid(), Profile: "build"},
			"host uid":    {PID: late.pid(), Profile: "dev", UID: &uid},
		} {
			if _, err := p.PreparePID(t.Context(), q); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), first.Lease.ID) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		other := container{cmd: r.park(r.abs("c/"+leaf), !own)}
		if _, err := p.PreparePID(t.Context(), PIDRequest{PID: other.pid(), Profile: "dev"}); err == nil || !strings.Contains(err.Error(), first.Lease.ID) {
			t.Errorf("with other ids: %v", err)
		}
		r.agree(p)
		for _, o := range []container{*c, beside, late, other} {
			o.end()
		}
		r.reconcile(p)
		r.over()
		r.close(p)
		r.forget(c)
		if err := os.Remove(r.abs("")); err != nil {
			t.Fatal(err)
		}
	}
}

// By force a range is not freed under a container that was told of it.
func TestForceFreesNothing(t *testing.T) {
	r := newRig(t)
	p := r.open()
	defer r.close(p)
	c := r.start("c", false)
	if _, err := r.prepare(p, c); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Release(t.Context(), c.lease, ReleaseOptions{}); !errors.Is(err, ErrRunning) {
		t.Errorf("without force: %v", err)
	}
	c.forced = true
	for range 2 {
		var held *subid.NotReleasedError
		if _, err := p.Release(t.Context(), c.lease, ReleaseOptions{Force: true}); !errors.As(err, &held) || !strings.Contains(err.Error(), "still runs") {
			t.Errorf("with force: %v", err)
		}
		r.check()
		r.agree(p)
		if got := r.owners(c); len(got) > 0 {
			t.Errorf("the cgroup was not taken back: %v", got)
		}
	}
	if _, err := p.PreparePID(t.Context(), PIDRequest{PID: c.pid(), Profile: "dev"}); err == nil || !strings.Contains(err.Error(), "releasing") {
		t.Errorf("prepare it again: %v", err)
	}
	if l := r.leases()[c.lease]; l.State != ledger.Releasing || !strings.Contains(l.Proof, "still runs") {
		t.Errorf("%+v", l)
	}
	c.end()
	r.reconcile(p)
	r.over()
}

// One agent has the ledger, and in it one change is made at a time.
func TestTwoAtOnce(t *testing.T) {
	r := newRig(t)
	p := r.open()
	defer r.close(p)
	var held *ledger.HeldError
	if _, err := Open(r.options()); !errors.As(err, &held) {
		t.Errorf("a second agent: %v", err)
	}
	c := r.start("c", false)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if res, err := p.PreparePID(t.Context(), PIDRequest{PID: c.pid(), Profile: "dev"}); err != nil || res.Lease.State != ledger.Done {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
	wg.Wait()
	if n := len(r.leases()); n != 1 {
		t.Errorf("%d leases", n)
	}
	c.end()
	r.reconcile(p)
	r.over()
}

// What the cgroup's check refuses leaves no lease.
func TestRefusedLeavesNothing(t *testing.T) {
	r := newRig(t)
	p := r.open()
	defer r.close(p)
	c := r.start("c", false)
	threaded := filepath.Join(r.mount, c.cgroup, "threaded")
	if err := errors.Join(os.Mkdir(threaded, 0o755), os.WriteFile(threaded+"/cgroup.type", []byte("threaded"), 0)); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(threaded)
	if _, err := r.prepare(p, c); err == nil || !strings.Contains(err.Error(), "threaded") || len(r.leases()) != 0 {
		t.Errorf("%v, %v", err, r.leases())
	}
}

// The files are readable inside whatever the agent's umask is.
func TestUmask(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	unix.Umask(0o077)
	r := newRig(t)
	p := r.open()
	defer r.close(p)
	c := r.start("c", true)
	if _, err := r.prepare(p, c); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/"+c.pidText()+"/root/etc/subuid", &st); err != nil || st.Mode&0o777 != 0o644 {
		t.Errorf("mode %o, %v", st.Mode, err)
	}
}

// A proof that is older than the release, as when the clock was set back, buries
// nothing; the next agent is not held up by it.
func TestClockSetBack(t *testing.T) {
	r := newRig(t)
	o := r.options()
	o.Now = func() time.Time { return time.Now().Add(time.Hour) } // the prover's is the real one
	p, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	c := r.start("c", false)
	if _, err := r.prepare(p, c); err != nil {
		t.Fatal(err)
	}
	c.end()
	var held *subid.NotReleasedError
	if _, err := p.Release(t.Context(), c.lease, ReleaseOptions{}); !errors.As(err, &held) {
		t.Errorf("%v", err)
	}
	if l := r.leases()[c.lease]; l.State != ledger.Releasing {
		t.Errorf("%+v", l)
	}
	r.agree(p)
	r.close(p)
	p = r.open()
	defer r.close(p)
	r.reconcile(p)
	r.over()
}

// A lease in state intent whose container runs is neither finished nor undone.
func TestReconcileKeepsIntent(t *testing.T) {
	r := newRig(t)
	c := r.start("c", true)
	if _, killed := r.run(8, 0, call{Do: "prepare", PID: c.pid()}); !killed {
		t.Fatal("not killed")
	}
	p := r.open()
	defer r.close(p)
	before := r.leases()
	rep, err := p.Reconcile(t.Context())
	if err != nil || rep.Live != 1 || len(rep.Released) > 0 || len(before) != 1 || !cmp.Equal(before, r.leases()) {
		t.Errorf("%+v, %v: %s", rep, err, cmp.Diff(before, r.leases()))
	}
	for _, l := range before {
		if l.State != ledger.Intent {
			t.Errorf("%+v", l)
		}
	}
	c.end()
	r.reconcile(p)
	r.over()
}
