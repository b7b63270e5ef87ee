//go:build host

package starts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/agent/ledger"
)

// oneBlock is a configuration whose pool is dry after one lease.
const oneBlock = `
subid-range: 1342177280:65536
sandbox-profiles:
  strict: {base: build, required: true, env: {BUILDAH_ISOLATION: chroot}}
`

// TestRequiredProfile: what a profile of the file gives is in the container, and
// without it no container that requires it starts. Others do.
func TestRequiredProfile(t *testing.T) {
	n := theNode(t)
	file := filepath.Join(t.TempDir(), "eyas.yaml")
	if err := os.WriteFile(file, []byte(oneBlock), 0o600); err != nil {
		t.Fatal(err)
	}
	a := n.agent(t, "", "--config", file)

	_, c1 := n.run(t, sandbox("strict"))
	l := a.wantLease(c1, ledger.Done)
	checkSandbox(t, a, c1, l, "128")
	if l.Range.Start != 1342177280 || l.Profile != "strict" {
		t.Errorf("lease %+v", l)
	}
	if s, _ := ociSpec(t, c1); !slices.Contains(s.Process.Env, "BUILDAH_ISOLATION=chroot") {
		t.Errorf("environment of the spec: %q", s.Process.Env)
	}

	_, err := n.pod(t, sandbox("strict")).Create(t.Context(), sleeper())
	for _, part := range []string{"eyas: its profile requires that it is prepared", "1342177280"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("a container that cannot be prepared is created, or not with %q: %v", part, err)
		}
	}
	if got := a.metric("eyas_nri_requests_total", "event", "CreateContainer", "result", "failed"); got != 1 {
		t.Errorf("%v requests failed, want 1", got)
	}
	if got := a.metric("eyas_unprepared_containers"); got != 0 {
		t.Errorf("%v containers are unprepared: the one that is refused does not exist", got)
	}

	_, c3 := n.run(t, sandbox("true"))
	checkUntouched(t, a, c3)
	if got := a.metric("eyas_unprepared_containers"); got != 1 {
		t.Errorf("%v containers are unprepared, want 1", got)
	}
}
