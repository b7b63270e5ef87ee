//go:build host

package host

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
)

// TestFuseOverlay: what a container does on fuse-overlayfs is counted to the byte, and
// as what it is.
func TestFuseOverlay(t *testing.T) {
	a := startAgent(t, "", "--reconcile-interval", "1s")
	needTrampolines(t, a)
	cgroup, _ := cgroupOfOwn(t, map[string]string{"pids.max": "100"})
	s := startShell(t, cgroup, false)
	if out := s.do("mkdir l u w fuse; echo below >l/below; fuse-overlayfs -o lowerdir=l,upperdir=u,workdir=w fuse; cat fuse/below"); !strings.Contains(out, "below") {
		t.Fatalf("no fuse-overlayfs here: %s", out)
	}
	states := map[string]string{}
	hooks := func() error { // attached when the kernel has FUSE
		h, err := a.Client.Health(t.Context())
		if err != nil {
			return err
		}
		for _, k := range h.Hooks {
			if strings.HasPrefix(k.Name, bpf.FuseHooks) {
				states[k.Name] = strings.TrimSuffix(k.State+": "+k.Reason, ": ")
			}
		}
		if len(states) == 0 {
			return errors.New("no hooks of fuse-overlayfs")
		}
		return nil
	}
	if err := poll(t.Context(), a.done, hooks); err != nil {
		t.Fatal(err)
	}
	id := a.container(s.pid)
	before := overlayNumbers(a.families(), id)
	s.do("cd fuse; dd if=/dev/zero of=made bs=4096 count=10; dd if=made of=/dev/null bs=4096; dd if=made of=/dev/null bs=1000 count=3; cat below")
	after := overlayNumbers(a.families(), id)
	want := map[string]float64{ // the end of a file is a read, too
		"read_bytes_total read 0": 40960 + 3000 + 6, "write_bytes_total write 0": 40960,
		"operations_total read 0": 10 + 1 + 3 + 2, "operations_total write 0": 10, "operations_total open 0": 3,
		"read_seconds 0": 16, "write_seconds 0": 10,
	}
	if d := cmp.Diff(want, grown(before, after)); d != "" {
		t.Errorf("fuse-overlayfs (-want +got):\n%s", d)
	}
	for key := range after {
		if strings.HasPrefix(key, "copy_up") && strings.HasSuffix(key, " 0") {
			t.Errorf("%s of fuse-overlayfs, which nobody sees", key)
		}
	}
	if err := hooks(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"read", "read_start", "write", "write_start", "open"} {
		if state := states[bpf.FuseHooks+name]; state != "active" {
			t.Errorf("%s is %s", name, state)
		}
	}
}
