//go:build host

package host

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/denials"
)

// BenchmarkHookCosts is what the programs on overlay and on refusals, all attached,
// cost calls that pass them and calls that do not: before, with and after them, in
// one run; and while every refused call is traced. `noise` is how far apart before and after are. test/vm/bench runs it
// where a nanosecond is an instruction.
func BenchmarkHookCosts(b *testing.B) {
	nested, host := startCosts(b, true), startCosts(b, false)
	round := func() map[string]float64 {
		all := map[string]float64{}
		for _, op := range costOps {
			all[op.name] = nested(op.name)
			if op.host {
				all["host-"+op.name] = host(op.name)
			}
		}
		return all
	}
	round() // fills the caches
	for b.Loop() {
		before := round()
		hooks := attachAll(b)
		with := round()
		reportRuns(b, hooks, func() { round() })
		hooks.close(b)
		after := round()
		hooks = attachAll(b)
		if err := hooks.denials.StartTrace(denials.DriveFiltered); err != nil {
			b.Fatal(err)
		}
		traced := round()
		reportRuns(b, hooks, func() { round() })
		hooks.close(b)
		for name := range before {
			bare := (before[name] + after[name]) / 2
			b.ReportMetric(bare, name+"-bare-ns")
			b.ReportMetric((with[name]-bare)/bare*100, name+"-hooks-%")
			b.ReportMetric((traced[name]-bare)/bare*100, name+"-traced-%")
			b.ReportMetric((after[name]-before[name])/bare*100, name+"-noise-%")
		}
	}
}

// allHooks are the programs of both kinds.
type allHooks struct {
	overlay *bpf.OverlayMonitor
	denials *bpf.DenialMonitor
}

func attachAll(b *testing.B) allHooks {
	b.Helper()
	overlay, err := bpf.OpenOverlay(bpf.OverlayOptions{})
	if err != nil {
		b.Fatal(err)
	}
	refusals, err := bpf.OpenDenials(bpf.DenialOptions{})
	if err != nil {
		b.Fatal(err)
	}
	overlay.Attach()
	if !overlay.Attached() {
		why := overlay.Hooks()[0].Reason
		overlay.Close()
		refusals.Close()
		b.Skip(why)
	}
	refusals.Attach()
	if !refusals.Attached() {
		b.Fatal(refusals.Hooks()[0].Reason)
	}
	return allHooks{overlay, refusals}
}

func (h allHooks) close(b *testing.B) {
	b.Helper()
	if err := h.overlay.Close(); err != nil {
		b.Fatal(err)
	}
	if err := h.denials.Close(); err != nil {
		b.Fatal(err)
	}
}

// runs are what the kernel's statistics say of each program.
func (h allHooks) runs() map[string]bpf.Hook {
	all := map[string]bpf.Hook{}
	for _, k := range append(h.overlay.Hooks(), h.denials.Hooks()...) {
		all[k.Name] = k
	}
	return all
}

// reportRuns reports the time of a run of each program that work runs often, by the
// statistics that eyas_bpf_program_seconds_total is made of: with their clock.
func reportRuns(b *testing.B, h allHooks, work func()) {
	b.Helper()
	m, err := bpf.Open(bpf.Options{RunStats: true}) // has them on while it is open
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	before := h.runs()
	work()
	for name, k := range h.runs() {
		if runs := k.RunCount - before[name].RunCount; runs >= 4 {
			b.ReportMetric(float64(k.RunNanos-before[name].RunNanos)/float64(runs), name+"-ns/run")
		}
	}
}

// startCosts returns what measures the mean time of a call, ns: the median of nine
// rounds.
func startCosts(b *testing.B, nested bool) func(op string) float64 {
	b.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = []string{overlayWorkEnv + "=costs", "GOGC=off"}
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if nested {
		inUserNamespace(c)
	}
	in, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := c.Wait(); err != nil {
			b.Errorf("cost work: %v", err)
		}
	})
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		b.Fatalf("cost work says %q, %v", line, err)
	}
	return func(op string) float64 {
		b.Helper()
		all := make([]float64, 9)
		for i := range all {
			if _, err := fmt.Fprintln(in, op); err != nil {
				b.Fatal(err)
			}
			line, err := lines.ReadString('\n')
			if err != nil {
				b.Fatalf("%s: %v", op, err)
			}
			if all[i], err = strconv.ParseFloat(strings.TrimSpace(line), 64); err != nil {
				b.Fatal(err)
			}
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
}
