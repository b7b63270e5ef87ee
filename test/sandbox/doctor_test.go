//go:build host

package sandbox

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/test/cri"
)

// doctor says of an old kernel what does not work on it, and says it of no other.
func (n *node) doctor(t *testing.T) {
	out, err := exec.Command(os.Getenv("EYAS_BIN"), "doctor", "node", "-o", "json").Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) { // 1: a check fails
		t.Fatal(err)
	}
	var all []doctor.Result
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	found := map[string]doctor.Result{}
	for _, r := range all {
		found[r.ID] = r
		if r.State != doctor.OK && r.State != doctor.NotApplicable {
			t.Logf("%s: %s: %s", r.State, r.ID, r.Found)
		}
	}
	// Volumes on tmpfs, such as secrets, are what hostUsers: false wants Linux 6.3
	// for. The same pod tells whether doctor is right.
	old := found["kernel-version"].State == doctor.Warn
	p := n.start(t, "tmpfs", podOptions{userns: &cri.UserNamespace{HostID: 700000, Length: 65536}})
	_, err = p.tryContainer(t, "secret", cri.Mount{Host: t.TempDir(), Container: "/secret", ReadOnly: true})
	t.Logf("%s; a volume on tmpfs: %v", found["kernel-version"].Found, err)
	switch {
	case !old && err != nil:
		t.Error("doctor knows of nothing")
	case old && (err == nil || !strings.Contains(err.Error(), "MOUNT_ATTR_IDMAP")):
		t.Error("doctor warns, and it works, or fails for another reason")
	case old && !strings.Contains(found["kernel-version"].Found, "not for hostUsers: false (6.3)"):
		t.Error("doctor does not say what fails")
	}
	p.remove(t)
}
