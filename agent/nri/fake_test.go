package nri

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// fake is a Preparer that keeps leases in memory and tells what it is asked.
type fake struct {
	mu     sync.Mutex
	leases map[string]ledger.Lease
	calls  []string
	heard  chan string // every call, for those that wait

	fail  error                 // of Reserve and HandOver
	stall func(context.Context) // in Reserve
}

func newFake() *fake {
	return &fake{leases: map[string]ledger.Lease{}, heard: make(chan string, 10000)}
}

func (f *fake) say(format string, a ...any) {
	s := fmt.Sprintf(format, a...)
	f.mu.Lock()
	f.calls = append(f.calls, s)
	f.mu.Unlock()
	f.heard <- s
}

func (f *fake) set(id string, s ledger.State, o ledger.Owner) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leases[id] = ledger.Lease{ID: id, State: s, Owner: o}
}

func (f *fake) Reserve(ctx context.Context, v prepare.Reservation) (prepare.Result, error) {
	user := "?"
	if v.User != nil {
		user = fmt.Sprintf("%d:%d", v.User.UID, v.User.GID)
	}
	if f.stall != nil {
		f.stall(ctx)
	}
	if f.fail != nil {
		return prepare.Result{}, f.fail
	}
	f.set(v.ID, ledger.Intent, v.Owner)
	f.say("reserve %s %s user %s sandbox %d of %s/%s", v.ID, v.Profile.Name, user, v.Sandbox, v.Owner.Namespace, v.Owner.Pod)
	return prepare.Result{Subuid: "0:1:1\n", Subgid: "0:1:1\n"}, nil
}

func (f *fake) HandOver(_ context.Context, id string, at prepare.Place, pr prepare.Profile) (prepare.Result, error) {
	l, ok := f.Lease(id)
	if !ok {
		return prepare.Result{}, ledger.ErrNoLease
	}
	if f.fail != nil {
		return prepare.Result{}, f.fail
	}
	f.set(id, ledger.Done, l.Owner)
	f.say("hand over %s %s %s pid %d", id, pr.Name, at.Cgroup, at.PID)
	return prepare.Result{}, nil
}

func (f *fake) PrepareLate(_ context.Context, v prepare.Reservation, pid identity.HostPID) (prepare.Result, error) {
	f.set(v.ID, ledger.Done, v.Owner)
	f.say("late %s pid %d", v.ID, pid)
	return prepare.Result{}, nil
}

func (f *fake) Drop(_ context.Context, id string) (prepare.Result, error) {
	l, _ := f.Lease(id)
	f.set(id, ledger.Tombstone, l.Owner)
	f.say("drop %s", id)
	return prepare.Result{}, nil
}

func (f *fake) Leases(context.Context) (out prepare.Leases, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.leases {
		out.Leases = append(out.Leases, l)
	}
	return out, nil
}

func (f *fake) Lease(id string) (ledger.Lease, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok := f.leases[id]
	return l, ok
}

func (f *fake) FilesDir(id string) string { return "/files/" + id }

// wait waits for a call.
func (f *fake) wait(t testing.TB, call string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case got := <-f.heard:
			if got == call {
				return
			}
		case <-late:
			t.Fatalf("no call %q; there were %q", call, f.calls)
		}
	}
}
