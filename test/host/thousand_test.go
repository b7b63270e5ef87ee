//go:build host

package host

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkAgent1000Containers is the agent beside 1,000 nested containers: how long a
// scrape takes, how much it is, memory and idle time. They are in one sandbox, with series
// for as many as is the default, or shared by 20, with series for all.
func BenchmarkAgent1000Containers(b *testing.B) {
	for _, sandboxes := range []int{1, 20} {
		b.Run(fmt.Sprintf("sandboxes=%d", sandboxes), func(b *testing.B) {
			a := startAgent(b, "", "--max-nested-series", "50")
			each := 1000 / sandboxes
			for range sandboxes {
				startStorm(b, "many", "--processes", fmt.Sprint(2*each), "--containers", fmt.Sprint(each))
			}
			for b.Loop() {
				for total(a.families(), "eyas_history_buffered_records") > 0 {
					waitFlushed(b, a)
				}
				nodes, err := a.Client.Tree(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				nested := 0
				for _, n := range nodes {
					nested += len(n.Children)
				}
				if nested < 1000 {
					b.Fatalf("%d nested containers", nested)
				}
				own := map[string]int{} // by sandbox; others may run on this machine, too
				for _, line := range series(a.text(b), "eyas_container_info", `level="2"`) {
					_, rest, _ := strings.Cut(line, `container="`)
					outer, _, _ := strings.Cut(rest, `"`)
					own[outer]++
				}
				whole := 0
				for outer, n := range own {
					if n > 50 {
						b.Fatalf("%d nested containers of %s have series", n, outer)
					}
					if n == 50 {
						whole++
					}
				}
				if whole < sandboxes {
					b.Fatalf("series of nested containers: %v, want 50 in %d sandboxes", own, sandboxes)
				}
				scrapes(b, a)
				b.ReportMetric(float64(rss(b, a.cmd.Process.Pid))/1024, "rss-MiB")
				ticks := cpuTicks(b, a.cmd.Process.Pid)
				start := time.Now()
				<-time.After(30 * time.Second) // idle is what is measured
				b.ReportMetric(float64(cpuTicks(b, a.cmd.Process.Pid)-ticks)*10/float64(time.Since(start).Milliseconds())*100, "idle-%cpu")
			}
		})
	}
}

// series are the lines of a family with a word in them.
func series(text, family, word string) (all []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, family+"{") && strings.Contains(line, word) {
			all = append(all, line)
		}
	}
	return all
}

// text is what /metrics says.
func (a *agent) text(b *testing.B) string {
	b.Helper()
	resp, err := http.Get("http://" + a.Listen + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

// scrapes reports of 50 scrapes, each of fresh facts and compressed as Prometheus asks
// for, what they took and were. The agent's CPU time does not depend on what else the
// machine does; it has what the agent does in a second beside.
func scrapes(b *testing.B, a *agent) {
	b.Helper()
	took := make([]time.Duration, 50)
	ticks := cpuTicks(b, a.cmd.Process.Pid)
	wire := int64(0)
	for i := range took {
		<-time.After(1050 * time.Millisecond) // minRefresh of package processes
		start := time.Now()
		r, err := http.NewRequest(http.MethodGet, "http://"+a.Listen+"/metrics", nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "gzip")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		if wire, err = io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
		took[i] = time.Since(start)
	}
	b.ReportMetric(float64(cpuTicks(b, a.cmd.Process.Pid)-ticks)*10/float64(len(took)), "scrape-cpu-ms")
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(took[0]), "scrape-min-ms")
	b.ReportMetric(ms(took[25]), "scrape-p50-ms")
	b.ReportMetric(ms(took[48]), "scrape-p96-ms")
	text, lines := a.text(b), 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			lines++
		}
	}
	b.ReportMetric(float64(wire), "wire-bytes")
	b.ReportMetric(float64(len(text)), "text-bytes")
	b.ReportMetric(float64(lines), "series")
	b.ReportMetric(total(a.families(), "eyas_snapshot_seconds")*1000, "snapshot-ms")
}
