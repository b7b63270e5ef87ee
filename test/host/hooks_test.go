//go:build host

package host

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/cgroups"
)

// TestEveryHook loads, attaches and drives every program, in the way this kernel
// wants and guarded: each must fire, but for those whose tracepoint the kernel
// lacks, and those that only an OOM kill drives.
func TestEveryHook(t *testing.T) {
	btf, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Fatal(err)
	}
	for name, guard := range map[string]bpf.GuardMode{"auto": bpf.GuardAuto, "guarded": bpf.GuardOn} {
		t.Run(name, func(t *testing.T) {
			m, err := bpf.Open(bpf.Options{Guard: guard})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			m.SelfTest(exec.Command("/bin/true").Run, stayInCgroup)
			want := map[string]bpf.HookState{
				"each_task": bpf.HookActive, "each_userns": bpf.HookActive, "on_exit": bpf.HookActive,
				"on_attach": bpf.HookActive, "on_capable": bpf.HookActive, "on_exec": bpf.HookActive,
				"on_newtask": bpf.HookActive,
				"on_victim":  bpf.HookUnproven, "on_oom": bpf.HookUnproven, "on_oom_done": bpf.HookUnproven,
			}
			if m.Guarded() {
				want["on_free"] = bpf.HookActive
			}
			if !bytes.Contains(btf, []byte("btf_trace_cap_capable\x00")) {
				want["on_capable"] = bpf.HookMissing
			}
			got := map[string]bpf.HookState{}
			for _, h := range m.Hooks() {
				if strings.Contains(h.Target, "oom_kill_process") && os.Getenv("EYAS_VM") == "" && strings.Contains(h.Reason, "operation not permitted") {
					want[h.Name] = bpf.HookMissing // a kernel without trampolines
				}
				got[h.Name] = h.State
				if h.State == bpf.HookActive && h.Reason != "" {
					t.Errorf("%s works, but not whole: %s", h.Name, h.Reason)
				}
				if h.State != bpf.HookActive {
					t.Logf("%s (%s): %s: %s", h.Name, h.Target, h.State, h.Reason)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("states of hooks (-want +got):\n%s", diff)
			}
			if _, err := m.CountTasks(); err != nil {
				t.Error(err)
			}
			if guard == bpf.GuardOn && !m.Guarded() {
				t.Error("not guarded though asked to be")
			}
		})
	}
}

// stayInCgroup moves this process to the cgroup that it is in.
func stayInCgroup() error {
	h, err := cgroups.Open("/proc")
	if err != nil {
		return err
	}
	defer h.Close()
	self, _ := readFacts(os.Getpid())
	return os.WriteFile(filepath.Join(h.Mount(), self.Cgroup, "cgroup.procs"), []byte("0"), 0)
}
