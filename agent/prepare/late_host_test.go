//go:build host

package prepare

import (
	"fmt"
	"os"
	"testing"

	"github.com/eyas-agent/eyas/agent/ledger"
)

// TestCrashWhenLate kills the agent at each fault point of PrepareLate: when it
// is done after all, the container has its files.
func TestCrashWhenLate(t *testing.T) {
	r := newRig(t)
	killed, n := true, 0
	for killed && !t.Failed() {
		n++
		r.dir = t.TempDir()
		c := r.start(fmt.Sprintf("c%d", n), true)
		c.lease = fmt.Sprintf("late%d", n)
		_, killed = r.run(n, 0, call{Do: "late", ID: c.lease, PID: c.pid()})
		r.check()
		p := r.open()
		res, err := p.PrepareLate(t.Context(), untold(c.lease, 0), c.pid())
		if err != nil || res.Lease.State != ledger.Done {
			t.Fatalf("killed at fault point %d, prepared again: %+v, %v", n, res, err)
		}
		for i, name := range fileNames {
			want := []string{res.Subuid, res.Subgid}[i]
			if want == "" { // a later call does not tell them again
				b, err := os.ReadFile(p.FilesDir(c.lease) + "/" + name)
				if err != nil {
					t.Fatal(err)
				}
				want = string(b)
			}
			got, err := os.ReadFile("/proc/" + c.pidText() + "/root/etc/" + name)
			if err != nil || string(got) != want {
				t.Errorf("killed at fault point %d: /etc/%s of the container: %q, %v, want %q", n, name, got, err, want)
			}
		}
		c.done = true
		r.agree(p)
		c.end()
		r.reconcile(p)
		r.over()
		r.close(p)
		r.forget(c)
	}
	if n < 8 {
		t.Errorf("killed %d times only", n-1)
	}
}
