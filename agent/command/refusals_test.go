package command

import (
	"testing"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestThen: what became of who was refused is told as far as it is known.
func TestThen(t *testing.T) {
	for _, tc := range []struct {
		want string
		d    identity.DenialAnswer
	}{
		{"the process went on, and lives", identity.DenialAnswer{State: "live"}},
		{"the process went on, and ended well (status 0): it can do without", identity.DenialAnswer{State: "exited", Exit: &identity.Exit{}}},
		{"the process exited with status 125", identity.DenialAnswer{State: "exited", Exit: &identity.Exit{Code: 125}}},
		{"the process exited by signal SIGKILL, chosen by the OOM killer", identity.DenialAnswer{State: "exited", Exit: &identity.Exit{Code: -1, Signal: 9, OOM: true}}},
		{"what became of the process is not known", identity.DenialAnswer{State: "exited"}},
		{"what became of the process is not known", identity.DenialAnswer{State: "unknown"}},
	} {
		if got := thenText(tc.d); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.d, got, tc.want)
		}
	}
}
