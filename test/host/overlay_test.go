//go:build host

package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// refused is what the agent says of overlay hooks where the kernel lets nobody
// have trampolines.
const refused = "lets nobody put programs on its functions"

// overlayHooks waits until the agent has tried to attach the overlay hooks, and
// returns their reasons by name; "" is active.
func overlayHooks(t testing.TB, a *agent) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	why := map[string]string{}
	if err := poll(ctx, a.done, func() error {
		h, err := a.Client.Health(ctx)
		if err != nil {
			return err
		}
		for _, k := range h.Hooks {
			if strings.HasPrefix(k.Name, "overlay_") && !strings.HasPrefix(k.Name, bpf.FuseHooks) {
				why[k.Name] = k.Reason
				if k.State != "active" {
					why[k.Name] = k.State + ": " + k.Reason
				}
				if strings.Contains(k.Reason, "not attached yet") || strings.Contains(k.Reason, "not driven") {
					return errors.New(k.Name + " is " + why[k.Name])
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatalf("overlay hooks: %v", err)
	}
	if len(why) == 0 {
		t.Fatal("the agent names no overlay hooks")
	}
	return why
}

// needTrampolines skips where the kernel refuses them, if the agent says so of
// every hook and goes on.
func needTrampolines(t testing.TB, a *agent) map[string]string {
	t.Helper()
	why := overlayHooks(t, a)
	for name, reason := range why {
		if !strings.Contains(reason, refused) {
			return why
		}
		if !strings.HasPrefix(reason, "missing: load: operation not permitted: ") {
			t.Fatalf("%s: %s", name, reason)
		}
	}
	f := a.families()
	if n := total(f, "eyas_hook_state", "state", "missing"); int(n) < len(why) {
		t.Errorf("%v hooks are missing on /metrics, want %d", n, len(why))
	}
	if f["eyas_overlay_read_bytes_total"] != nil {
		t.Error("overlay series without hooks")
	}
	t.Skip("this kernel refuses trampolines, and the agent says so: " + why["overlay_read"])
	return nil
}

// startOverlayWork starts overlayWork in namespaces of its own. step runs its
// next part and returns when that is done.
func startOverlayWork(t testing.TB, kind string) (pid int, step func()) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	// Go's runtime would preempt long calls by signals: they cut sendfile short.
	c.Env = []string{overlayWorkEnv + "=" + kind, "GODEBUG=asyncpreemptoff=1"}
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if kind == "user" || kind == "calls" {
		inUserNamespace(c)
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("overlay work: %v", err)
		}
	})
	lines := bufio.NewReader(out)
	ready := func() {
		t.Helper()
		if line, err := lines.ReadString('\n'); err != nil || line != "ready\n" {
			t.Fatalf("overlay work says %q, %v", line, err)
		}
	}
	ready()
	return c.Process.Pid, func() {
		t.Helper()
		if _, err := io.WriteString(in, "go\n"); err != nil {
			t.Fatal(err)
		}
		ready()
	}
}

// inUserNamespace has a command start in one, and in a pid namespace.
func inUserNamespace(c *exec.Cmd) {
	c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID
	c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: 100000, Size: 65536}}
	c.SysProcAttr.GidMappings = c.SysProcAttr.UidMappings
	c.SysProcAttr.Credential = &syscall.Credential{}
}

// overlayNumbers are the counters of one container, by name, label and depth.
// Calls are counted, not the times they took.
func overlayNumbers(f map[string]*dto.MetricFamily, container string) map[string]float64 {
	got := map[string]float64{}
	for name, family := range f {
		short, ok := strings.CutPrefix(name, "eyas_overlay_")
		if !ok {
			continue
		}
		for _, m := range family.Metric {
			if label(m, "container") != container || label(m, "depth") == "" {
				continue
			}
			key := short
			for _, l := range []string{"way", "operation", "kind"} {
				if v := label(m, l); v != "" {
					key += " " + v
				}
			}
			key += " " + label(m, "depth")
			if m.Histogram != nil {
				got[key] += float64(m.Histogram.GetSampleCount())
			} else {
				got[key] += value(m)
			}
		}
	}
	return got
}

// TestOverlay holds what the agent counts of known work against what was done.
func TestOverlay(t *testing.T) {
	a := startAgent(t, "", "--reconcile-interval", "1s")
	why := needTrampolines(t, a)
	for name, reason := range why {
		old := name == "overlay_splice_read" && strings.HasSuffix(reason, "this kernel has no ovl_splice_read")
		if reason != "" && !old {
			t.Errorf("%s is %s", name, reason)
		}
	}
	spliceIsRead := why["overlay_splice_read"] != ""
	for _, kind := range []string{"root", "user"} {
		t.Run(kind, func(t *testing.T) {
			user := kind == "user"
			pid, step := startOverlayWork(t, kind)
			id := containerOf(t, a, pid)
			before := overlayNumbers(a.families(), id)
			check := func(what string, want map[string]float64) {
				t.Helper()
				step()
				after := overlayNumbers(a.families(), id)
				if spliceIsRead {
					splicesAreReads(want)
				}
				maps.DeleteFunc(want, func(_ string, n float64) bool { return n == 0 })
				if d := cmp.Diff(want, grown(before, after)); d != "" {
					t.Errorf("%s (-want +got):\n%s", what, d)
				}
				before = after
			}
			check("read and write", map[string]float64{
				"read_bytes_total read 1": 1 << 20, "operations_total read 1": 257, "read_seconds 1": 257,
				"write_bytes_total write 1": 100_000, "operations_total write 1": 10, "write_seconds 1": 10,
				"read_bytes_total splice 1": 64 << 10, "operations_total splice_read 1": 1,
				"write_bytes_total splice 1": 64 << 10, "operations_total splice_write 1": 1,
				"write_bytes_total copy_range 1": 200_000, "operations_total copy_range 1": 1,
				"operations_total open 1": 3, "operations_total create 1": 1, "operations_total mmap 1": 1,
			})
			data, meta, bytes := 6.0, 1.0, 500_007.0
			if user { // without metacopy
				data, meta, bytes = 7, 0, 550_007
			}
			check("copy up", map[string]float64{
				"copy_ups_total data 1": data, "copy_ups_total metadata 1": meta, "copy_up_bytes_total 1": bytes, "copy_ups_total other 1": 1,
				"copy_up_seconds 1": 8, "operations_total open 1": 6, "operations_total write 1": 6, "write_seconds 1": 6, "write_bytes_total write 1": 6,
				"operations_total remove 1": 3, "operations_total whiteout 1": 1, "operations_total create 1": 1,
			})
			step()
			after := overlayNumbers(a.families(), id)
			if !user {
				checkUponOverlay(t, grown(before, after))
			}
			before = after
			check("remount", map[string]float64{
				"read_bytes_total read 1": 1 << 20, "operations_total read 1": 257, "read_seconds 1": 257, "operations_total open 1": 1,
			})
		})
	}
	checkNoneSkipped(t, a)
	checkQuiet(t, a)
}

// checkUponOverlay: the upper overlay tells what was done. How it reads the
// lower one to copy a file up is the kernel's choice, but every byte shows.
func checkUponOverlay(t *testing.T, got map[string]float64) {
	t.Helper()
	lower := got["read_bytes_total read 1"] + got["read_bytes_total splice 1"]
	if want := float64(1<<20 + 30_000); lower != want {
		t.Errorf("the lower overlay was read %v bytes, want %v", lower, want)
	}
	for k := range got {
		if !strings.HasSuffix(k, " 2") {
			delete(got, k)
		}
	}
	if d := cmp.Diff(map[string]float64{
		"read_bytes_total read 2": 1 << 20, "operations_total read 2": 257, "read_seconds 2": 257, "operations_total open 2": 2,
		"operations_total write 2": 1, "write_seconds 2": 1, "write_bytes_total write 2": 1,
		"copy_ups_total data 2": 1, "copy_up_bytes_total 2": 30_000, "copy_up_seconds 2": 1,
	}, got); d != "" {
		t.Errorf("the upper overlay (-want +got):\n%s", d)
	}
}

// grown is what has grown, and by how much.
func grown(before, after map[string]float64) map[string]float64 {
	got := map[string]float64{}
	for k, v := range after {
		if v -= before[k]; v != 0 {
			got[k] = v
		}
	}
	return got
}

// splicesAreReads is for kernels where they are.
func splicesAreReads(want map[string]float64) {
	n := want["operations_total splice_read 1"]
	for key, more := range map[string]float64{
		"operations_total read 1": n, "read_seconds 1": n, "read_bytes_total read 1": want["read_bytes_total splice 1"],
	} {
		if more > 0 {
			want[key] += more
		}
	}
	delete(want, "operations_total splice_read 1")
	delete(want, "read_bytes_total splice 1")
}

// containerOf waits until the agent knows in which container a process is.
func containerOf(t testing.TB, a *agent, pid int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var id string
	if err := poll(ctx, a.done, func() error {
		who, err := a.Client.PID(ctx, identity.HostPID(pid))
		if err != nil {
			return err
		}
		for _, l := range who.Chain {
			if l.Level == 1 {
				id = l.ID
				return nil
			}
		}
		return fmt.Errorf("pid %d is in no container", pid)
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

// checkNoneSkipped demands that the kernel skipped no run of an overlay program:
// then numbers are exact.
func checkNoneSkipped(t testing.TB, a *agent) {
	t.Helper()
	for _, m := range a.families()["eyas_hook_missed_total"].GetMetric() {
		if strings.HasPrefix(label(m, "hook"), "overlay_") && value(m) != 0 {
			t.Errorf("%s: %v runs skipped", label(m, "hook"), value(m))
		}
	}
}
