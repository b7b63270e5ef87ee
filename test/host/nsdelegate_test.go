//go:build host

package host

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/delegation"
	"github.com/eyas-agent/eyas/agent/doctor"
)

// TestNSDelegateStripped: a mount of cgroup2 in another mount namespace, as a
// privileged container makes it, strips nsdelegate from the node. The agent tells
// of it, and of the repair.
func TestNSDelegateStripped(t *testing.T) {
	if os.Getenv("EYAS_VM") == "" {
		t.Skip("cgroup2 has one superblock: on this machine the test would strip its nsdelegate")
	}
	m, err := delegation.ReadMountOptions("/proc")
	if err != nil {
		t.Fatal(err)
	}
	restore := func() error {
		return unix.Mount("", m.MountPoint, "", unix.MS_REMOUNT, "nsdelegate,memory_recursiveprot")
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := restore(); err != nil {
			t.Error(err)
		}
	})
	a := startAgent(t, "")
	shows := func(metric float64, state doctor.State) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := poll(ctx, a.done, func() error {
			f := a.families()
			if got := f["eyas_cgroup_nsdelegate"].GetMetric(); len(got) != 1 || value(got[0]) != metric {
				return fmt.Errorf("eyas_cgroup_nsdelegate: %v, want %v", got, metric)
			}
			for _, s := range f["eyas_doctor_check"].GetMetric() {
				if label(s, "check") == "cgroup-nsdelegate" && label(s, "state") == string(state) && value(s) == 1 {
					return nil
				}
			}
			return fmt.Errorf("eyas_doctor_check of cgroup-nsdelegate is not %s", state)
		}); err != nil {
			t.Fatalf("%v\n%s", err, a.log.String())
		}
	}
	shows(1, doctor.OK)

	if out, err := exec.Command("unshare", "--mount", "--propagation", "private", "mount", "-t", "cgroup2", "none", t.TempDir()).CombinedOutput(); err != nil {
		t.Fatalf("mount cgroup2: %v: %s", err, out)
	}
	shows(0, doctor.Fail)
	out, stderr, _ := a.eyas("doctor", "node", "-o", "json")
	var results []doctor.Result
	if err := json.Unmarshal([]byte(out), &results); err != nil {
		t.Fatalf("%v: %s %s", err, out, stderr)
	}
	found := false
	for _, r := range results {
		found = found || r.ID == "cgroup-nsdelegate" && r.State == doctor.Fail && strings.Contains(r.Found, ", since ") && strings.Contains(r.Fix, "remount,nsdelegate")
	}
	if !found {
		t.Errorf("doctor: %s", out)
	}

	if err := restore(); err != nil {
		t.Fatal(err)
	}
	shows(1, doctor.OK)
	for text, level := range map[string]string{"cgroup2 lost nsdelegate": "warn", "cgroup2 has nsdelegate again": "info"} {
		n := 0
		for line := range strings.Lines(a.log.String()) {
			if strings.Contains(line, text) && strings.Contains(line, `"level":"`+level+`"`) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q was told %d times at %s:\n%s", text, n, level, a.log.String())
		}
	}
}
