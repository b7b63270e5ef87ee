//go:build host

package host

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

func median(times int, measure func() float64) float64 {
	all := make([]float64, times)
	for i := range all {
		all[i] = measure()
	}
	slices.Sort(all)
	return all[times/2]
}

// BenchmarkLogCosts is what the log programs cost a write: of a process of the host, of
// a container that nobody watches, and of one that is watched; before, with and after
// them, in one run. test/vm/bench runs it where a nanosecond is an instruction.
func BenchmarkLogCosts(b *testing.B) {
	_, host := startLogCosts(b, false)
	_, nested := startLogCosts(b, true)
	pid, watched := startLogCosts(b, true)
	round := func(after func()) map[string]float64 {
		all := map[string]float64{}
		for _, op := range logOps {
			for who, measure := range map[string]func(string) float64{"host": host, "nested": nested, "watched": watched} {
				all[who+"-"+op.name] = measure(op.name)
				after()
			}
		}
		return all
	}
	nothing := func() {}
	round(nothing) // fills the caches
	for b.Loop() {
		before := round(nothing)
		m := watchOne(b, pid)
		told := 0
		with := round(func() {
			if err := m.Read(time.Now(), func(l *bpf.Log) bool { told += len(l.Data); return true }); err != nil {
				b.Fatal(err)
			}
		})
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
		after := round(nothing)
		want := 0
		for _, op := range logOps[:2] {
			want += 9 * op.bytes * op.times
		}
		if told != want {
			b.Errorf("%d bytes are told, of %d", told, want)
		}
		for name := range before {
			bare := (before[name] + after[name]) / 2
			b.ReportMetric(bare, name+"-bare-ns")
			b.ReportMetric(with[name]-bare, name+"-more-ns")
			b.ReportMetric((after[name]-before[name])/bare*100, name+"-noise-%")
		}
	}
}

// watchOne attaches the log programs, for the container of one process.
func watchOne(b *testing.B, pid int) *bpf.LogMonitor {
	b.Helper()
	m, err := bpf.OpenLogs(bpf.LogOptions{Rate: 1 << 30, Burst: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	m.Attach()
	m.SelfTest(driveLogs) // what is not needed is let go
	if !m.Attached() {
		why := m.Hooks()[0].Reason
		m.Close()
		b.Skip(why)
	}
	one, err := bpf.Open(bpf.Options{SnapshotOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer one.Close()
	p, err := one.Task(uint32(pid))
	if err != nil {
		b.Fatal(err)
	}
	inner := p.PIDLevels[len(p.PIDLevels)-1]
	if err := m.Select(bpf.LogBox{PIDNS: inner.PIDNS, Start: inner.PIDNSStart}, bpf.LogSelf); err != nil {
		b.Fatal(err)
	}
	if err := m.Adopt(); err != nil {
		b.Fatal(err)
	}
	return m
}

// flood runs writers for a while and returns what each wrote.
func flood(t testing.TB, nested bool, long time.Duration, works ...string) (wrote []string) {
	t.Helper()
	wrote = make([]string, len(works))
	var wg sync.WaitGroup
	for i, work := range works {
		c := logWriter(fmt.Sprint(work, " ", long), nested)
		r, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			var all bytes.Buffer
			if _, err := io.Copy(&all, r); err != nil {
				t.Error(err)
			}
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
			wrote[i] = all.String()
		})
	}
	wg.Wait()
	return wrote
}

// TestLogsBeside: while one container writes all it can, another one's lines are complete;
// and of the first, what is told and what is dropped is what it wrote, to the byte.
func TestLogsBeside(t *testing.T) { logsBeside(t, 5*time.Second) }

// BenchmarkLogsSustained is the same for half a minute, with what goes through, beside
// the same writer without anybody who watches.
func BenchmarkLogsSustained(b *testing.B) {
	const long = 30 * time.Second
	for b.Loop() {
		bare := flood(b, true, long, "flood", "quiet")
		wrote, told := logsBeside(b, long)
		b.ReportMetric(float64(len(bare[0]))/100/long.Seconds(), "bare-writes/s")
		b.ReportMetric(float64(wrote)/100/long.Seconds(), "watched-writes/s")
		b.ReportMetric(float64(told)/100/long.Seconds(), "told-lines/s")
		b.ReportMetric(float64(told)/1e6/long.Seconds(), "told-MB/s")
	}
}

func logsBeside(t testing.TB, long time.Duration) (wrote, told int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lines")
	a := startAgent(t, "", "--logs", "all", "--logs-source", "kernel", "--logs-output", file)
	logHooks(t, a)
	all := flood(t, true, long, "flood", "quiet")
	got := openLogged(t, file)
	skipped := got.wait(a, len(all[0])+len(all[1]))
	t.Logf("%d bytes written, %d told, %d dropped; the kernel skipped %d runs of the programs that come last", len(all[0])+len(all[1]), got.told, got.dropped, skipped)
	quiet := false
	for _, s := range got.text {
		quiet = quiet || s.String() == all[1]
	}
	if !quiet && skipped == 0 {
		t.Errorf("the lines of the container beside (%d bytes) are not as they were written", len(all[1]))
	}
	if first := strings.SplitN(all[0], "\n", 2)[0]; !slices.ContainsFunc(got.lines, func(l identity.LogAnswer) bool { return l.Body == first }) {
		t.Error("the first line of the one that floods is not told")
	}
	a.Kill()
	return len(all[0]), got.told - len(all[1])
}
