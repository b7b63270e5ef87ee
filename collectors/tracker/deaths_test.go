package tracker

import (
	"sync"
	"testing"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// deaths notes who was in the table when it heard.
type deaths struct {
	mu    sync.Mutex
	heard []string
}

func (d *deaths) note(what string, t *identity.Table, pid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.Process(identity.HostPID(pid)) != nil {
		what += " of one that is known"
	}
	d.heard = append(d.heard, what)
}

func (d *deaths) Victim(t *identity.Table, v *bpf.Victim) { d.note("victim", t, v.PID) }
func (d *deaths) Exit(t *identity.Table, e *bpf.Exit)     { d.note("exit", t, e.PID) }

// Victims are heard of before the table forgets them, in the order of the
// kernel; of exits those by the OOM killer alone.
func TestDeaths(t *testing.T) {
	k, d := newKernel(task(100, 1, 100)), &deaths{}
	tr := follow(t, k, Options{Deaths: d})
	killed := exit(101)
	killed.OOM = true
	k.do(func(k *kernel) {
		k.ring = append(k.ring, fork(101, 100, 100), fork(102, 100, 100), &bpf.Victim{PID: 101, Start: 101}, &bpf.Victim{PID: 7}, exit(102), killed)
	})
	syncNow(t, tr)
	d.mu.Lock()
	defer d.mu.Unlock()
	check(t, "heard", []string{"victim of one that is known", "victim", "exit of one that is known"}, d.heard)
}
