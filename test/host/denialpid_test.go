//go:build host

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// denialsOfProcesses: of a kind of refusal that several processes meet each is
// told what it met itself, not only the last.
func denialsOfProcesses(t *testing.T, a *agent, s *shell) {
	t.Helper()
	var pids []int
	for i := range 3 {
		// The shell is refused i+1 times, and goes on as sleep.
		asleep := fmt.Sprintf("sleep %d", 81001+i)
		s.do(fmt.Sprintf("sh -c '%s exec %s' >/dev/null &", strings.Repeat("true </tmp/eyas-node-file;", i+1), asleep))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := poll(ctx, a.done, func() error {
			out, err := exec.Command("pgrep", "-fx", asleep).Output()
			if err != nil {
				return fmt.Errorf("%s: %w", asleep, err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
			if err != nil {
				return errors.New("not one: " + string(out))
			}
			pids = append(pids, pid)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i, pid := range pids {
		out, stderr, code := a.eyas("explain", "pid", strconv.Itoa(pid), "-o", "json")
		var all []refusedOne
		if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
			t.Errorf("explain pid %d: %d %v %s", pid, code, err, stderr)
			continue
		}
		if len(all) != 1 || int(all[0].Host.PID) != pid || all[0].Count != uint64(i+1) || all[0].State != "live" ||
			all[0].Op+" "+all[0].DenialAnswer.Cause != "access owner_unmapped" {
			t.Errorf("pid %d, refused %d times: %s", pid, i+1, out)
		}
	}
}
