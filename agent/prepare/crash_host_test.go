//go:build host

package prepare

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/agent/ledger"
)

// TestCrashAtEveryPoint kills the agent at each fault point of Prepare, Release
// and Reconcile; the next agent mends what is left.
func TestCrashAtEveryPoint(t *testing.T) {
	r := newRig(t)
	kills := map[string]int{}
	for _, own := range []bool{true, false} {
		for _, what := range []string{"prepare", "prepare, and the container ends", "release", "reconcile", "force"} {
			name := fmt.Sprintf("%s, own ids %v", what, own)
			for n := 1; r.crashAt(what, own, n); n++ {
				kills[name] = n
				if t.Failed() {
					t.Fatalf("%s, killed at fault point %d", name, n)
				}
			}
		}
	}
	total := 0
	for name, n := range kills {
		t.Logf("%d points of %s", n, name)
		total += n
	}
	t.Logf("%d kills", total)
	for name, n := range kills {
		if n < 5 {
			t.Errorf("%s: killed %d times only", name, n)
		}
	}
}

// crashAt reports whether the agent came to the fault point.
func (r *rig) crashAt(what string, own bool, n int) bool {
	r.Helper()
	r.dir = r.TempDir() // each lease on record adds a point to Reconcile
	c := r.start(fmt.Sprintf("c%d", len(r.all)), own)
	prepare := call{Do: "prepare", PID: c.pid()}
	var killed bool
	if strings.HasPrefix(what, "prepare") {
		_, killed = r.run(n, 0, prepare)
	} else {
		said, _ := r.run(0, 0, prepare)
		if c.told(said[0]); said[0].Err != "" {
			r.Fatal(said[0].Err)
		}
		if c.forced = what == "force"; !c.forced {
			c.end()
		}
		switch what {
		case "reconcile":
			_, killed = r.run(n, 0, call{Do: what})
		default:
			_, killed = r.run(n, 0, call{Do: "release", ID: c.lease, Force: c.forced})
		}
	}
	r.check()
	if strings.HasSuffix(what, "ends") {
		c.end()
	}
	p := r.open()
	defer r.close(p)
	r.agree(p)
	if what == "prepare" {
		rep := r.reconcile(p)
		if live := len(r.leases()) > 0 && rep.Live > 0; rep.Live > 1 || n > 5 && !live {
			r.Errorf("reconciled: %+v", rep)
		}
		res, err := p.PreparePID(r.Context(), PIDRequest{PID: c.pid(), Profile: "dev"})
		if err != nil || res.Lease.State != ledger.Done {
			r.Errorf("prepare again: %+v, %v", res, err)
		}
		c.lease, c.done = res.Lease.ID, true
		r.check()
		r.agree(p)
	}
	c.end()
	r.reconcile(p)
	r.agree(p)
	r.over()
	r.forget(c)
	return killed
}

func (c *container) told(a answer) {
	if a.Err == "" {
		c.lease, c.done = a.Lease.ID, a.Lease.State == ledger.Done
	}
}

// TestCrashAtRandom kills agents that look after several containers, at fault
// points or anywhere after them.
func TestCrashAtRandom(t *testing.T) {
	const sequences = 500
	r := newRig(t)
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	kills, containers := 0, 0
	for i := 0; i < sequences && !t.Failed(); i++ {
		for len(r.all) < 3 {
			r.start(fmt.Sprintf("r%d", containers), rnd.IntN(2) == 0)
			containers++
		}
		c := r.all[rnd.IntN(len(r.all))]
		l := r.leases()[c.lease]
		switch n := rnd.IntN(6); {
		case n == 0:
			c.end()
		case n == 1:
			stop(c.cmd) // who has ids of its range lives on
		case n == 2 && c.alive() && l.State == ledger.Done && !l.Range.Empty():
			r.use(c, l.Range.Start+7)
		case n == 3:
			for _, u := range c.users {
				stop(u)
			}
		}
		calls, of := []call{{Do: "reconcile"}}, []*container{nil}
		for range 1 + rnd.IntN(4) {
			c := r.all[rnd.IntN(len(r.all))]
			next := call{Do: "prepare", PID: c.pid()}
			if c.lease != "" && rnd.IntN(3) == 0 {
				next = call{Do: "release", ID: c.lease, Force: rnd.IntN(4) == 0}
				c.forced = c.forced || next.Force
			}
			calls, of = append(calls, next), append(of, c)
		}
		killAt, after := 0, 0
		switch k := 1 + rnd.IntN(50); rnd.IntN(8) {
		case 0:
		case 1, 2, 3:
			after = k
		default:
			killAt = k
		}
		answers, killed := r.run(killAt, after, calls...)
		if killed {
			kills++
		}
		for _, a := range answers {
			if c := of[a.Call]; c != nil && calls[a.Call].Do == "prepare" {
				c.told(a)
				if a.Err != "" && c.alive() && !c.forced {
					t.Errorf("prepare a live container: %s", a.Err)
				}
			} else if a.Err != "" && c == nil {
				t.Errorf("reconcile: %s", a.Err)
			}
		}
		r.check()
		leases := r.leases()
		for _, c := range append([]*container(nil), r.all...) {
			if !c.alive() && r.undeclared(c, leases) {
				c.end()
				r.forget(c)
			}
		}
	}
	for _, c := range r.all {
		c.end()
	}
	p := r.open()
	defer r.close(p)
	r.agree(p)
	r.reconcile(p)
	r.agree(p)
	r.over()
	t.Logf("%d agents, %d of them killed, %d containers, %d leases", sequences, kills, containers, len(r.leases()))
}

// undeclared: no live lease names the cgroup of a container.
func (r *rig) undeclared(c *container, leases map[string]ledger.Lease) bool {
	for _, l := range leases {
		if l.Live() && l.CgroupID == c.id {
			return false
		}
	}
	return true
}
