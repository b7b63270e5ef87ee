//go:build host

package host

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// measure runs work and reports what each hook cost, per unit of work and in
// all, net of the statistics' own clock: the time of a program that does nothing
// on the same tracepoint. An agent with statistics on must be running.
func measure(b *testing.B, a *agent, work func() (n float64)) {
	b.Helper()
	m, err := bpf.Open(bpf.Options{SnapshotOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	floor, err := m.Floor()
	if err != nil {
		b.Fatal(err)
	}
	defer floor.Close()
	before := a.families()
	start := time.Now()
	n := work()
	took := time.Since(start)
	clock, err := floor.Clock()
	if err != nil {
		b.Fatal(err)
	}
	after := a.families()
	sum := 0.0
	for _, hook := range []string{"on_newtask", "on_exec", "on_exit", "on_capable", "on_attach"} {
		delta := func(name string) float64 { return total(after, name, "hook", hook) - total(before, name, "hook", hook) }
		runs := delta("eyas_bpf_program_runs_total")
		if runs == 0 {
			continue
		}
		net := delta("eyas_bpf_program_seconds_total")*1e9/runs - clock[hook]
		sum += net * runs
		b.ReportMetric(runs/n, hook+"-runs/process")
		b.ReportMetric(net, hook+"-ns/run")
		b.ReportMetric(clock[hook], hook+"-clock-ns/run")
	}
	b.ReportMetric(sum/n, "bpf-ns/process")
	b.ReportMetric(100*sum/float64(took.Nanoseconds()), "%of-work")
}

// BenchmarkHostForkExecExit is what the agent costs processes that are none of
// its business.
func BenchmarkHostForkExecExit(b *testing.B) {
	a := startAgent(b, "")
	for b.Loop() {
		measure(b, a, func() float64 {
			const n = 2000
			for range n {
				if err := exec.Command("/bin/true").Run(); err != nil {
					b.Fatal(err)
				}
			}
			return n
		})
	}
}

// BenchmarkNestedForkExecExit is the same for nested ones, one level deep, as
// fast as they can be.
func BenchmarkNestedForkExecExit(b *testing.B) {
	a := startAgent(b, "")
	for b.Loop() {
		s, _ := startStorm(b, "burst", "--rate", "50000", "--seconds", "0.1", "--level", "1")
		measure(b, a, func() float64 {
			if err := s.Go(); err != nil {
				b.Fatal(err)
			}
			end, err := s.Done()
			if err != nil {
				b.Fatal(err)
			}
			return float64(end.Sum.Execs)
		})
	}
}

// BenchmarkSnapshot8000 compares one snapshot with an iterator that only
// counts, and with reading the same facts from /proc.
func BenchmarkSnapshot8000(b *testing.B) {
	startStorm(b, "many", "--processes", "8000", "--containers", "10")
	m, err := bpf.Open(bpf.Options{SnapshotOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	best := func(f func()) time.Duration {
		all := make([]time.Duration, 5)
		for i := range all {
			start := time.Now()
			f()
			all[i] = time.Since(start)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	for b.Loop() {
		n := 0
		snapshot := best(func() {
			n = 0
			if err := m.Tasks(func(*bpf.Process) { n++ }); err != nil {
				b.Fatal(err)
			}
		})
		floor := best(func() {
			if _, err := m.CountTasks(); err != nil {
				b.Fatal(err)
			}
		})
		proc := best(func() {
			for _, pid := range nestedPIDs() {
				readFacts(pid)
			}
		})
		ps := best(func() { run(b, "ps", "-eo", "pid,ppid,uid,gid,comm,pidns,userns,mntns,cgroup") })
		lsns := best(func() { run(b, "lsns") })
		b.ReportMetric(float64(n), "processes")
		b.ReportMetric(float64(snapshot.Microseconds())/1000, "snapshot-ms")
		b.ReportMetric(float64(proc)/float64(snapshot), "proc/snapshot")
		b.ReportMetric(float64(snapshot)/float64(floor), "snapshot/floor")
		b.ReportMetric(float64(ps)/float64(snapshot), "ps/snapshot")
		b.ReportMetric(float64(lsns)/float64(snapshot), "lsns/snapshot")
	}
}

func run(b *testing.B, name string, args ...string) {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", name, err, out)
	}
}

// BenchmarkAgent10000 is the agent beside 10,000 nested processes: memory, idle
// time, and how long an answer takes.
func BenchmarkAgent10000(b *testing.B) {
	a := startAgent(b, "")
	startStorm(b, "many", "--processes", "10000", "--containers", "10")
	for b.Loop() {
		// The history has taken them all.
		for total(a.families(), "eyas_history_buffered_records") > 0 {
			waitFlushed(b, a)
		}
		if n := total(a.families(), "eyas_container_processes"); n < 10000 {
			b.Fatalf("%v processes", n)
		}
		var pids []identity.HostPID
		if err := a.Client.PS(b.Context(), "", func(id identity.Identity) error {
			pids = append(pids, id.Host.PID)
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		var took []time.Duration
		for i := range 2000 {
			start := time.Now()
			if _, err := a.Client.PID(b.Context(), pids[i*len(pids)/2000]); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "whois-p50-us")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "whois-p99-us")
		b.ReportMetric(float64(rss(b, a.cmd.Process.Pid))/1024, "rss-MiB")

		scrape := scrapeTime(b, a.Listen)
		b.ReportMetric(float64(scrape.Microseconds())/1000, "scrape-ms")
		peer, theirs := processExporter(b)
		b.ReportMetric(float64(theirs)/float64(scrape), "process-exporter-scrape/scrape")
		b.ReportMetric(float64(rss(b, peer))/float64(rss(b, a.cmd.Process.Pid)), "process-exporter-rss/rss")

		ticks := cpuTicks(b, a.cmd.Process.Pid)
		start := time.Now()
		<-time.After(20 * time.Second) // idle is what is measured
		b.ReportMetric(float64(cpuTicks(b, a.cmd.Process.Pid)-ticks)*10/float64(time.Since(start).Milliseconds())*100, "idle-%cpu")
		b.ReportMetric(float64(rss(b, a.cmd.Process.Pid))/1024, "rss-idle-MiB")
	}
}

// scrapeTime is the median of five scrapes. They are far enough apart for each
// to be of fresh facts.
func scrapeTime(b *testing.B, listen string) time.Duration {
	b.Helper()
	all := make([]time.Duration, 5)
	for i := range all {
		<-time.After(1100 * time.Millisecond) // minRefresh of package processes
		start := time.Now()
		resp, err := http.Get("http://" + listen + "/metrics")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
		all[i] = time.Since(start)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// processExporter starts Debian's process-exporter with one group per command,
// and returns its pid and the time a scrape takes it.
func processExporter(b *testing.B) (int, time.Duration) {
	b.Helper()
	listen := freePort(b)
	config := filepath.Join(b.TempDir(), "config.yml")
	if err := os.WriteFile(config, []byte("process_names:\n- name: \"{{.Comm}}\"\n  cmdline: ['.+']\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("prometheus-process-exporter", "-config.path", config, "-web.listen-address", listen)
	if err := cmd.Start(); err != nil {
		b.Fatalf("start process-exporter: %v: run test/deps bench", err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	b.Cleanup(func() {
		_ = cmd.Process.Kill() // may be dead
		<-done
	})
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if err := poll(ctx, done, func() error {
		resp, err := http.Get("http://" + listen + "/metrics")
		if err == nil {
			resp.Body.Close()
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return cmd.Process.Pid, scrapeTime(b, listen)
}

func rss(b *testing.B, pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, l := range strings.Split(string(status), "\n") {
		if f := strings.Fields(l); len(f) > 1 && f[0] == "VmRSS:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// cpuTicks is the time a process has used, in 10 ms.
func cpuTicks(b *testing.B, pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return user + system
}
