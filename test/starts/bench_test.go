//go:build host

package starts

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/test/cri"
)

// starts is how many containers each side of a benchmark starts.
const starts = 200

// BenchmarkStart starts containers (CreateContainer and StartContainer) that eyas
// prepares, and as many under a containerd without eyas, in turn, so that both meet
// the same noise.
func BenchmarkStart(b *testing.B) {
	with, without := benchNode(b), benchNode(b)
	a := with.agent(b, "")
	sandboxes, others := with.pod(b, sandbox("true")), without.pod(b, nil)
	for b.Loop() {
		var prepared, plain []time.Duration
		for i := range starts {
			sides := []func(){
				func() {
					c, took := timeStart(b, sandboxes, i)
					prepared = append(prepared, took)
					a.wantLease(c, ledger.Done)
					end(b, c)
					a.wantLease(c, ledger.Tombstone)
				},
				func() {
					c, took := timeStart(b, others, i)
					plain = append(plain, took)
					end(b, c)
				},
			}
			if i%2 == 1 {
				slices.Reverse(sides)
			}
			for _, f := range sides {
				f()
			}
		}
		report(b, "with", prepared)
		report(b, "without", plain)
		b.ReportMetric(float64(median(prepared))/float64(median(plain)), "ratio-p50")
	}
	f, err := a.families()
	if err != nil {
		b.Fatal(err)
	}
	for _, event := range []string{"CreateContainer", "StartContainer"} {
		h := histogram(f["eyas_nri_request_seconds"], event)
		b.ReportMetric(1000*h.GetSampleSum()/float64(h.GetSampleCount()), event+"-ms-mean")
		b.ReportMetric(1000*quantile(h, 0.5), event+"-ms-p50")
		b.ReportMetric(1000*quantile(h, 0.99), event+"-ms-p99")
	}
}

func benchNode(b *testing.B) *node {
	b.Helper()
	n, err := newNode(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := n.close(); err != nil {
			b.Error(err)
		}
	})
	return n
}

func timeStart(b *testing.B, p *cri.Pod, i int) (*cri.Container, time.Duration) {
	b.Helper()
	o := sleeper()
	o.Name = fmt.Sprintf("c-%d", i)
	began := time.Now()
	c, err := p.Run(b.Context(), o)
	took := time.Since(began)
	if err != nil {
		b.Fatal(err)
	}
	return c, took
}

func end(b *testing.B, c *cri.Container) {
	b.Helper()
	if err := c.Stop(b.Context(), 0); err != nil {
		b.Fatal(err)
	}
	if err := c.Remove(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func report(b *testing.B, side string, took []time.Duration) {
	b.Helper()
	p99 := slices.Sorted(slices.Values(took))[len(took)*99/100]
	b.ReportMetric(ms(median(took)), side+"-ms-p50")
	b.ReportMetric(ms(p99), side+"-ms-p99")
}

func median(took []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(took))[len(took)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func histogram(f *dto.MetricFamily, event string) *dto.Histogram {
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "event" && l.GetValue() == event {
				return m.GetHistogram()
			}
		}
	}
	return nil
}

// quantile interpolates within a bucket, as Prometheus does.
func quantile(h *dto.Histogram, q float64) float64 {
	rank := q * float64(h.GetSampleCount())
	low, below := 0.0, 0.0
	for _, b := range h.GetBucket() {
		n := float64(b.GetCumulativeCount())
		if n >= rank && !math.IsInf(b.GetUpperBound(), 1) {
			return low + (b.GetUpperBound()-low)*(rank-below)/(n-below)
		}
		low, below = b.GetUpperBound(), n
	}
	return low
}
