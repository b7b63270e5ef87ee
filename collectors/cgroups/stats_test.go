package cgroups

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lay makes a hierarchy of files.
func lay(t *testing.T, files map[string]string) *Hierarchy {
	t.Helper()
	mount := t.TempDir()
	for name, text := range files {
		path := filepath.Join(mount, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &Hierarchy{mount: mount}
}

func number(n uint64) *uint64 { return &n }

// What there is is read, what there is not is absent, and not 0.
func TestStats(t *testing.T) {
	h := lay(t, map[string]string{
		"cgroup.controllers":      "cpu io memory pids\n",
		"full/cgroup.controllers": "cpu io memory pids\n",
		"full/cpu.stat":           "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 3\nthrottled_usec 7000000\nnew_field 1\n",
		"full/cpu.pressure":       "some avg10=12.50 avg60=0.00 avg300=0.00 total=1000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
		"full/io.pressure":        "some avg10=0.00 avg60=0.00 avg300=0.00 total=4\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2\n",
		"full/io.stat":            "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 \n254:0 rbytes=10 wbytes=20 rios=30 wios=40\n",
		"full/pids.current":       "3\n", "full/pids.max": "20\n",
		"full/memory.current":      "4096\n",
		"full/memory.max":          "8192\n",
		"full/memory.peak":         "5000\n",
		"full/memory.swap.current": "7\n", "full/memory.swap.max": "max\n",
		"full/memory.events":           "low 0\nhigh 0\nmax 9\noom 3\noom_kill 5\noom_group_kill 1\nsock_throttled 2\n",
		"full/memory.events.local":     "low 0\nhigh 0\nmax 4\noom 2\noom_kill 0\n",
		"full/memory.pressure":         "some avg10=99.99 avg60=0.00 avg300=0.00 total=8\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=6\n",
		"hybrid/cgroup.controllers":    "hugetlb\n",
		"hybrid/cpu.stat":              "usage_usec 3\nuser_usec 2\nsystem_usec 1\n",
		"old/cgroup.controllers":       "memory\n",
		"old/memory.current":           "1\n",
		"vanished/memory.current":      "1\n",
		"full/nested/memory.current":   "no controllers: being removed\n",
		"unlimited/cgroup.controllers": "memory\n", "unlimited/memory.current": "18446744073709551615\n", "unlimited/memory.max": "max\n",
	})
	µs := time.Microsecond
	for path, want := range map[string]Stats{
		"/full": {
			Memory: &Memory{
				Current: 4096, Max: 8192, Peak: number(5000), Swap: number(7), SwapMax: number(NoLimit),
				Events: &MemoryEvents{Max: 9, OOM: 3, OOMKill: 5, GroupKill: 1}, Local: &MemoryEvents{Max: 4, OOM: 2},
			},
			CPU: &CPU{User: 20 * µs, System: 10 * µs, Throttled: 7 * time.Second, Periods: 5, ThrottledPeriods: 3},
			IO:  &IO{ReadBytes: 11, WriteBytes: 22, Reads: 33, Writes: 44}, PIDs: &PIDs{Current: 3, Max: 20},
			Pressure: map[string]Pressure{
				"cpu": {time.Second, 500 * time.Millisecond, 12.5}, "memory": {8 * µs, 6 * µs, 99.99}, "io": {4 * µs, 2 * µs, 0},
			},
		},
		"/hybrid":    {CPU: &CPU{User: 2 * µs, System: µs}, Pressure: map[string]Pressure{}},
		"/old":       {CPU: &CPU{}, Memory: &Memory{Current: 1, Max: NoLimit}, Pressure: map[string]Pressure{}},
		"/unlimited": {CPU: &CPU{}, Memory: &Memory{Current: 1<<64 - 1, Max: NoLimit}, Pressure: map[string]Pressure{}},
	} {
		got, err := h.Stats(path)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", path, err, d)
		}
	}
	for _, path := range []string{"/none", "/vanished", "/full/nested", "/full/cpu.stat"} {
		if s, err := h.Stats(path); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %+v, %v", path, s, err)
		}
	}
	got, err := h.Controllers()
	if d := cmp.Diff([]string{"cpu", "io", "memory", "pids"}, got); d != "" || err != nil {
		t.Errorf("controllers: %v %s", err, d)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]struct {
		n  uint64
		ok bool
	}{
		"0\n": {0, true}, "max\n": {NoLimit, true}, "max": {NoLimit, true}, "18446744073709551615\n": {NoLimit, true},
		"": {}, "\n": {}, "-1\n": {}, "1 2\n": {}, "0x10\n": {}, "18446744073709551616\n": {NoLimit, false}, "MAX\n": {}, "max\n\n": {},
	} {
		if n, ok := parseValue(text); n != want.n || ok != want.ok {
			t.Errorf("%q: %d, %v", text, n, ok)
		}
	}
	for text, want := range map[string]*MemoryEvents{
		"": nil, "low 1\n": nil, "oom\n": nil, "oom -1\n": nil, "oom 1 2\n": nil, "oom_kill 7\n": nil,
		"oom 1": {OOM: 1}, "max x\noom 2\noom_kill 3\n\nnonsense\x00\n": {OOM: 2, OOMKill: 3},
	} {
		if d := cmp.Diff(want, parseEvents(text)); d != "" {
			t.Errorf("%q: %s", text, d)
		}
	}
	for text, want := range map[string]Pressure{
		"some avg10=0.00 total=5\n": {Some: 5 * time.Microsecond}, "some total=18446744073709551615\nfull total=1": {9223372036854775 * time.Microsecond, time.Microsecond, 0},
		"some avg10=7.25 total=5\nfull avg10=3.00 total=1\n": {5 * time.Microsecond, time.Microsecond, 7.25},
		"some avg10=NaN total=5\n":                           {Some: 5 * time.Microsecond}, "some avg10=100.01 total=5\n": {Some: 5 * time.Microsecond},
	} {
		if p, ok := parsePressure(text); p != want || !ok {
			t.Errorf("%q: %v, %v", text, p, ok)
		}
	}
	for _, text := range []string{"", "\n", "some\n", "some total=\n", "some total=-1\n", "full total=1\n", "some total=1x\n", strings.Repeat("x", maxFile)} {
		if p, ok := parsePressure(text); ok {
			t.Errorf("%q: %v", text, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("max\n")
	f.Add("oom 1\noom_kill 2\n")
	f.Add("some avg10=0.00 total=5\n")
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := parseValue(s); !ok && n != 0 && n != NoLimit {
			t.Errorf("%q: %d", s, n)
		}
		if e := parseEvents(s); e != nil && !strings.Contains(s, "oom ") {
			t.Errorf("%q: %+v", s, e)
		}
		if p, ok := parsePressure(s); p.Some < 0 || p.Full < 0 || !(p.Recent >= 0 && p.Recent <= 100) || ok && !strings.Contains(s, "total=") {
			t.Errorf("%q: %v", s, p)
		}
	})
}
