package subid

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// reportP99 turns the benchmark's samples into the figure that is promised.
func reportP99(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
}

// others is a machine with many users and namespaces.
func others() *Taken {
	claims := []Claim{{Range{0, 65536}, "host"}}
	for i := range uint32(5000) {
		claims = append(claims, Claim{Range{100000 + i*65536, 65536}, "user"})
	}
	return NewTaken(claims)
}

// 10,000 leases in a pool of as many blocks: first never used, then each again
// from those that rest.
func BenchmarkLease10000(b *testing.B) {
	const n = 10000
	taken := others()
	var took []time.Duration
	for b.Loop() {
		p := newPool(b, 12000, time.Hour)
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprintf("lease-%d", i)
		}
		for round := range 2 {
			for _, id := range ids {
				start := time.Now()
				if _, err := p.Lease(id, BlockSize, t0, taken); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			if round == 0 {
				for i, id := range ids {
					free(b, p, id, t0.Add(time.Duration(i)))
				}
			}
		}
	}
	reportP99(b, took)
}

// The widest pool there can be, all of it used before: the whole table is read.
func BenchmarkLeaseWidestPool(b *testing.B) {
	p, err := New(Options{Range: Range{BlockSize, 4294836224}})
	if err != nil {
		b.Fatal(err)
	}
	for i := range p.blocks {
		p.blocks[i].freed, p.blocks[i].freedBy = int64(1+(i*7919)%len(p.blocks)), "x"
		p.settle(i)
	}
	taken := others()
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := p.Lease("a", 3*BlockSize, t0, taken); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		free(b, p, "a", t0)
	}
	reportP99(b, took)
}

// A dry pool says who holds what.
func BenchmarkLeaseDry(b *testing.B) {
	p := newPool(b, 10000, time.Hour)
	for i := range 10000 {
		mustLease(b, p, fmt.Sprintf("lease-%d", i), 1, t0.Add(time.Duration(i*7919%10000)))
	}
	taken := others()
	for b.Loop() {
		if _, err := p.Lease("x", 1, t0, taken); err == nil {
			b.Fatal("leased")
		}
	}
}

func BenchmarkRestore10000(b *testing.B) {
	var records []Record
	for i := range uint32(10000) {
		records = append(records, Record{fmt.Sprintf("lease-%d", i), blocks(i, 1), Leased, t0})
	}
	for b.Loop() {
		if err := newPool(b, 12000, time.Hour).Restore(records, nil); err != nil {
			b.Fatal(err)
		}
	}
}
