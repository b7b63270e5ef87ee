//go:build host

package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/oom"
)

// TestOOM: kills at the limit of a nested container, of the sandbox around it, of
// the pod, and of a group, are told apart as the kernel's log tells them, also
// after a restart, and where the kernel tells no limit they are inferred the same.
func TestOOM(t *testing.T) {
	l := newOOMLab(t)
	monitor, err := bpf.Open(bpf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	a := startAgent(t, "")
	const small, large = "33554432", "max"
	const alone, together = "tail /dev/zero; exec sleep 1000", "sleep 1000 & exec tail /dev/zero"
	sandbox := ""
	for i, tc := range []struct {
		name             string
		nest, outer, pod string // limits
		script           string
		scope            identity.OOMScope
		limit            string       // cgroup
		depth            int          // containers of its chain
		pid              identity.PID // of the victim, in its container
		beside           []string
	}{
		{"nested", small, large, large, alone, identity.OOMContainer, l.nest, 2, 3, nil},
		{"outer", large, small, large, alone, identity.OOMContainer, l.outer, 1, 3, nil},
		{"pod", large, large, small, alone, identity.OOMPod, l.pod, 0, 3, nil},
		{"group", small, large, large, together, identity.OOMContainer, l.nest, 2, 1, []string{"sleep"}},
	} {
		group := tc.script == together
		l.write(l.nest, "memory.max", tc.nest)
		l.write(l.outer, "memory.max", tc.outer)
		l.write(l.pod, "memory.max", tc.pod)
		l.write(l.nest, "memory.oom.group", map[bool]string{false: "0", true: "1"}[group])
		l.nested(tc.name, tc.script)
		k := awaitKill(t, a, i+1, 1+len(tc.beside))
		want := kernelSays(t)
		v := k.Victims[0]
		got := kernelKill{k.Limit.Cgroup, v.Cgroup, v.Comm, fmt.Sprint(v.Host.PID)}
		if d := cmp.Diff(want, got); d != "" || want.Limit != tc.limit {
			t.Errorf("%s: the limit is to be %s (-kernel's log +eyas):\n%s", tc.name, tc.limit, d)
		}
		var chain, around, beside []string
		for _, c := range k.Limit.Chain {
			chain = append(chain, c.ID)
		}
		for _, c := range v.Chain[1:] {
			around = append(around, c.ID)
		}
		for _, o := range k.Victims[1:] {
			beside = append(beside, o.Comm)
		}
		sandbox = around[0]
		if len(around) != 2 || !slices.Equal(chain, around[:tc.depth]) || k.Limit.Scope != tc.scope {
			t.Errorf("%s: the limit is %s %v, the victim in %v", tc.name, k.Limit.Scope, chain, around)
		}
		if pid := v.PIDs[len(v.PIDs)-1]; pid != tc.pid || !slices.Equal(beside, tc.beside) {
			t.Errorf("%s: pid %d inside, want %d; beside it %q, want %q", tc.name, pid, tc.pid, beside, tc.beside)
		}
		if k.Limit.Max == nil || *k.Limit.Max != 32<<20 || k.Limit.Usage == nil || *k.Limit.Usage < 31<<20 || v.RSS < 16<<20 || v.RSS > 40<<20 {
			t.Errorf("%s: limit %+v, victim's memory %+v", tc.name, k.Limit, v.Memory)
		}
		if (k.Group == l.nest) != group {
			t.Errorf("%s: group %q", tc.name, k.Group)
		}
		if !group { // else it is gone
			awaitCount(t, a, around[1])
		}
		l.write(l.nest, "cgroup.kill", "1")
	}
	t.Run("series", func(t *testing.T) { checkSeries(t, a, l, sandbox) })
	t.Run("inference", func(t *testing.T) { checkInference(t, monitor) })
	t.Run("restart", func(t *testing.T) { checkRestart(t, a, sandbox) })
}

// awaitKill waits until there are so many kills, the last with so many victims.
func awaitKill(t *testing.T, a *agent, kills, victims int) (k identity.OOMAnswer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := poll(ctx, a.done, func() error {
		all, err := a.Client.OOM(t.Context(), "", time.Time{})
		if err != nil {
			return err
		}
		if len(all) < kills || len(all[0].Victims) < victims {
			return fmt.Errorf("%d kills, want %d with %d victims", len(all), kills, victims)
		}
		k = all[0]
		return nil
	})
	if err != nil {
		all, _, _ := a.eyas("oom", "-o", "wide")
		tree, _, _ := a.eyas("tree", "-o", "wide")
		t.Fatalf("%v\n%s%s", err, all, tree)
	}
	return k
}

// awaitCount waits until one victim is counted in a nested container.
func awaitCount(t *testing.T, a *agent, nested string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := poll(ctx, a.done, func() error {
		if n := total(a.families(), "eyas_container_oom_kills_total", "nested", nested); n != 1 {
			return fmt.Errorf("%v victims are counted", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// checkSeries: the sandbox's memory and its events are what its cgroup says.
func checkSeries(t *testing.T, a *agent, l *oomLab, sandbox string) {
	t.Helper()
	type sample struct{ Event, Scope string }
	var want, got map[sample]float64
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := poll(ctx, a.done, func() error {
		want, got = map[sample]float64{}, map[sample]float64{}
		for scope, file := range map[string]string{"subtree": "memory.events", "local": "memory.events.local"} {
			for line := range strings.Lines(l.read(l.outer, file)) {
				var event string
				var n float64
				if _, err := fmt.Sscan(line, &event, &n); err != nil {
					return err
				}
				switch event {
				case "max", "oom", "oom_kill", "oom_group_kill":
					want[sample{event, scope}] = n
				}
			}
		}
		f := a.families()
		for _, m := range f["eyas_container_memory_events_total"].GetMetric() {
			if label(m, "container") == sandbox && label(m, "nested") == "" {
				got[sample{label(m, "event"), label(m, "scope")}] = value(m)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			return errors.New(d)
		}
		for _, name := range []string{"memory_bytes", "cpu_seconds_total", "pressure_seconds_total", "memory_peak_bytes"} {
			if total(f, "eyas_container_"+name, "container", sandbox) <= 0 {
				return fmt.Errorf("no %s", name)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// An allocation that tries again at the limit is counted again: one kill may
	// have several (cgroup-v2.rst, memory.events). What is told must equal that.
	if want[sample{"oom", "local"}] < 1 || want[sample{"oom_kill", "subtree"}] < 4 {
		t.Errorf("the kernel counts %v", want)
	}
}

// checkInference: what the kernel tells of limits is inferred without it.
func checkInference(t *testing.T, m *bpf.Monitor) {
	t.Helper()
	var told, inferred kills
	table := identity.NewTable(identity.Options{})
	h, err := cgroups.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	tell, infer := oom.New(oom.Options{Memory: &told, Path: h.Path}), oom.New(oom.Options{Memory: &inferred, Path: h.Path})
	err = m.Read(time.Now(), func(r any) bool {
		if v, ok := r.(*bpf.Victim); ok {
			if v.Kill == 0 {
				t.Errorf("the kernel tells no limit of %s", v.Comm)
			}
			tell.Victim(table, v)
			untold := *v
			untold.Kill, untold.Limit = 0, bpf.Memcg{}
			infer.Victim(table, &untold)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range told {
		told[i].Limit.Source, inferred[i].Limit.Source = "", ""
		// Their usage is read a moment later.
		told[i].Limit.Usage, inferred[i].Limit.Usage = nil, nil
	}
	if d := cmp.Diff(told, inferred); d != "" || len(told) != 5 {
		t.Errorf("%d victims; (-told +inferred):\n%s", len(told), d)
	}
}

// kills are the records of kills, as they grow.
type kills []identity.OOMRecord

func (k *kills) PutOOM(r identity.OOMRecord) { *k = append(*k, r) }

// checkRestart: kills are remembered while no agent runs, and by the next.
func checkRestart(t *testing.T, a *agent, sandbox string) {
	t.Helper()
	before, stderr, code := a.eyas("oom", sandbox, "-o", "json")
	if code != 0 || strings.Count(before, `"scope"`) != 4 {
		t.Fatalf("eyas oom of the sandbox: %d %s\n%s", code, stderr, before)
	}
	table, _, _ := a.eyas("oom", "-o", "wide")
	t.Log("\n" + table)
	a.Stop()
	if out, stderr, code := a.eyas("oom", "-o", "json"); code != 0 || out != before {
		t.Errorf("without an agent: %d %s (-before +now):\n%s", code, stderr, cmp.Diff(before, out))
	}
	b := startAgent(t, a.dir)
	if out, stderr, code := b.eyas("oom", sandbox, "-o", "json"); code != 0 || out != before {
		t.Errorf("after a restart: %d %s (-before +now):\n%s", code, stderr, cmp.Diff(before, out))
	}
	if out, _, code := b.eyas("oom", "--since", time.Now().Add(time.Hour).Format(time.RFC3339)); code != 0 || strings.Contains(out, "tail") {
		t.Errorf("since later: %d\n%s", code, out)
	}
	if _, stderr, code := b.eyas("oom", "no-such"); code != 3 {
		t.Error(errors.New(stderr), code)
	}
}
