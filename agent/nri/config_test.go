package nri_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/agent/nri"
)

// What the agent's file says reaches the runtime: who is a sandbox, by which
// profile, and which of them must not start unprepared.
func TestConfigured(t *testing.T) {
	file := filepath.Join(t.TempDir(), "eyas.yaml")
	if err := os.WriteFile(file, []byte(`
sandbox-default-profile: soft
sandbox-namespaces: {strict: hard}
sandbox-handlers: {nested: build}
sandbox-profiles:
  soft: {ids: none}
  hard: {base: soft, required: true}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := daemon.DefaultConfig()
	if err := c.LoadFile(file); err != nil {
		t.Fatal(err)
	}
	r := nri.NewRig(t, func(o *nri.Options) {
		with := c.Sandboxes()
		o.Profiles, o.Default, o.Namespaces, o.Handlers = with.Profiles, with.Default, with.Namespaces, with.Handlers
	})
	for _, create := range [][4]string{
		{"x", "", "true", "1"}, {"x", "", "hard", "2"}, {"strict", "nested", "", "3"}, {"x", "nested", "", "4"}, {"x", "", "", "5"}, {"strict", "", "false", "6"},
	} {
		if err := r.Create(create[0], create[1], create[2], create[3]); err != nil {
			t.Errorf("%q: %v", create, err)
		}
	}
	var got []string
	for _, call := range r.Calls() {
		got = append(got, strings.Join(strings.Fields(call)[:3], " "))
	}
	if d := cmp.Diff([]string{"reserve 1 soft", "reserve 2 hard", "reserve 3 hard", "reserve 4 build"}, got); d != "" {
		t.Errorf("the preparer heard (-want +got):\n%s", d)
	}

	r.FailAll(errors.New("no range"))
	for annotation, wantErr := range map[string]bool{"true": false, "soft": false, "hard": true, "dev": false, "wrong": false} {
		err := r.Create("x", "", annotation, "fails-"+annotation)
		if (err != nil) != wantErr || err != nil && !strings.Contains(err.Error(), "its profile requires that it is prepared: no range") {
			t.Errorf("%s: %v", annotation, err)
		}
	}
	if err := r.Create("strict", "", "", "fails-by-namespace"); err == nil {
		t.Error("a container of a namespace whose profile is required starts unprepared")
	}
}
