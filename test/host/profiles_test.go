//go:build host

package host

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/prepare"
)

// TestConfiguredProfile: eyas prepare knows the profiles of the agent's file, and
// of a file that it is given itself when no agent answers.
func TestConfiguredProfile(t *testing.T) {
	cgroup, _ := cgroupOfOwn(t, nil)
	file := filepath.Join(t.TempDir(), "eyas.yaml")
	const start, count = 1<<30 + 1<<27, 1 << 18
	if err := os.WriteFile(file, []byte(fmt.Sprintf(`
subid-range: %d:%d
subid-quarantine: 1s
sandbox-default-profile: wide
sandbox-profiles:
  wide: {base: build, size: 65537, max-descendants: 7}
`, start, count)), 0o600); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, "", "--config", file)

	_, stderr, code := a.eyas("prepare", "--pid", fmt.Sprint(os.Getpid()), "--profile", "wire")
	if code != 1 || !strings.Contains(stderr, `profile "wire" is unknown: known are dev, build, wide`) {
		t.Errorf("an unknown profile: %d %s", code, stderr)
	}
	n := 0
	prepared := func(call ...string) {
		t.Helper()
		n++
		own := filepath.Join(cgroup, fmt.Sprint(n))
		if err := os.Mkdir(own, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(own); err != nil {
				t.Error(err)
			}
		})
		c := parked(t, own, false)
		r := ask[prepare.Result](t, a, append([]string{"prepare", "--pid", fmt.Sprint(c.Process.Pid)}, call...)...)
		l := r.Lease
		if l.Profile != "wide" || l.State != ledger.Done || l.Range.Count != 131072 || l.Range.Start < start || l.Range.Last() >= start+count {
			t.Errorf("%+v", l)
		}
		if b, err := os.ReadFile(filepath.Join(own, "cgroup.max.descendants")); err != nil || string(b) != "7\n" {
			t.Errorf("cgroup.max.descendants: %q, %v", b, err)
		}
		stop(c)
		var config []string
		for i, s := range call {
			if s == "--config" {
				config = call[i : i+2]
			}
		}
		if gone := ask[prepare.Result](t, a, append([]string{"release", l.ID}, config...)...); gone.Lease.State != ledger.Tombstone {
			t.Errorf("%+v", gone.Lease)
		}
	}
	prepared()
	prepared("--profile", "wide")
	a.Stop()
	prepared("--config", file)

	out, stderr, code := a.eyas("leases", "-o", "json")
	var all []ledger.Lease
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all) != 3 {
		t.Errorf("%d leases on record, %v, %d %s", len(all), err, code, stderr)
	}
}
