//go:build host

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/eyas-agent/eyas/collectors/cgroups"
)

// cgroupOfOwn makes a cgroup for one test, with the limits this kernel's v2
// hierarchy can set; those without a controller there are left out.
func cgroupOfOwn(t *testing.T, limits map[string]string) (path string, have map[string]bool) {
	t.Helper()
	h, err := cgroups.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	path = filepath.Join(h.Mount(), fmt.Sprintf("eyas-limits-%d", os.Getpid()))
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := writeExisting(filepath.Join(path, "cgroup.kill"), "1"); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := poll(ctx, nil, func() error { return os.Remove(path) }); err != nil {
			t.Error(err)
		}
	})
	have = map[string]bool{}
	for file, value := range limits {
		err := writeExisting(filepath.Join(path, file), value)
		switch controller, _, _ := strings.Cut(file, "."); {
		case err == nil:
			have[controller] = true
		case errors.Is(err, os.ErrNotExist) && os.Getenv("EYAS_VM") == "":
			// A hybrid node: the controller belongs to a v1 hierarchy.
		default:
			t.Fatal(err)
		}
	}
	return path, have
}

func writeExisting(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// nestedIn runs a shell script as pid 1 of a container inside a cgroup.
func nestedIn(t *testing.T, cgroup, script string) {
	t.Helper()
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--uts", "sh", "-c", "hostname limits\n"+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // may be dead
		_ = cmd.Wait()
	})
}

// TestLimits: zombies, limits of the pids controller and OOM kills of a container.
func TestLimits(t *testing.T) {
	path, have := cgroupOfOwn(t, map[string]string{"pids.max": "123", "memory.max": "33554432", "memory.swap.max": "0"})
	a := startAgent(t, "")
	script := "(exit 3) & sh -c 'kill -9 $$' & "
	if have["memory"] {
		script += "tail /dev/zero & "
	}
	// sleep is the parent then, and reaps nobody.
	nestedIn(t, path, script+"exec sleep 1000")

	want := map[string]float64{"eyas_container_processes": 1, "eyas_container_zombies": 2, "eyas_container_oom_kills_total": 0}
	signals := 1.0
	if have["memory"] {
		want["eyas_container_oom_kills_total"], want["eyas_container_zombies"] = 1, 3
		signals++
	}
	if have["pids"] {
		want["eyas_container_pids_max"], want["eyas_container_pids_current"] = 123, 1+want["eyas_container_zombies"]+1 // and unshare
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := poll(ctx, a.done, func() error {
		f := a.families()
		id := containerNamed(f, "limits")
		if id == "" {
			return errors.New("no container is named limits")
		}
		for name, v := range want {
			if got := total(f, name, "container", id); got != v {
				return fmt.Errorf("%s is %v, want %v", name, got, v)
			}
		}
		for kind, v := range map[string]float64{"error": 1, "signal": signals} {
			var got float64
			for _, m := range f["eyas_container_exits_total"].GetMetric() {
				if label(m, "container") == id && label(m, "kind") == kind {
					got += value(m)
				}
			}
			if got < v {
				return fmt.Errorf("%v exits by %s, want %v", got, kind, v)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	checkZombies(t, a, "limits")
	if have["memory"] {
		checkOOM(t, a)
	}
}

// checkZombies: of whoever is dead and not reaped, the chain is known all the
// same, although /proc no longer tells it.
func checkZombies(t *testing.T, a *agent, chain string) {
	t.Helper()
	seen := 0
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		f, _ := readFacts(pid) // as far as it goes
		parent, _ := readFacts(int(f.PPID))
		if !f.Zombie || !strings.Contains(parent.Cgroup, "eyas-limits") {
			continue // not ours
		}
		seen++
		out, stderr, code := a.eyas("whois", "pid", fmt.Sprint(pid))
		if code != 0 || !strings.Contains(out, "exited") || !strings.Contains(strings.SplitN(out, "\n", 2)[0], chain) {
			t.Errorf("whois of zombie %d:\n%s%s", pid, out, stderr)
		}
	}
	if seen == 0 {
		t.Error("no zombie was found")
	}
}

// checkOOM: the history says of one process that the OOM killer chose it.
func checkOOM(t *testing.T, a *agent) {
	t.Helper()
	log, err := exec.Command("dmesg").Output()
	if err != nil {
		t.Fatal(err)
	}
	// "Memory cgroup out of memory: Killed process 123 (tail) …"
	_, after, ok := strings.Cut(string(log), "out of memory: Killed process ")
	if !ok {
		t.Fatal("the kernel's log tells of no OOM kill")
	}
	pid, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	out, stderr, code := a.eyas("whois", "pid", fmt.Sprint(pid))
	if code != 0 || !strings.Contains(out, "chosen by the OOM killer") || !strings.Contains(out, "limits") {
		t.Errorf("whois of the OOM killer's victim:\n%s%s", out, stderr)
	}
}

// containerNamed returns the id of the outermost container with such a name that has
// a pid namespace of its own: unshare itself stays in the host's.
func containerNamed(f map[string]*dto.MetricFamily, name string) string {
	for _, m := range f["eyas_container_info"].GetMetric() {
		if strings.Contains(label(m, "name"), name) && label(m, "nested") == "" && label(m, "pidns") != "4026531836" {
			return label(m, "container")
		}
	}
	return ""
}
