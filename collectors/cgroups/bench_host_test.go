//go:build host

package cgroups

import (
	"os"
	"strings"
	"testing"

	"github.com/containerd/cgroups/v3/cgroup2"
)

// BenchmarkStats: a cgroup as it is read at a scrape, and what the library's own
// reading of all, or of memory.stat, would cost instead.
func BenchmarkStats(b *testing.B) {
	h, err := Open("/proc")
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	all, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		b.Fatal(err)
	}
	_, path, _ := strings.Cut(string(all), "0::")
	path, _, _ = strings.Cut(path, "\n")
	b.Run("own", func(b *testing.B) {
		for b.Loop() {
			if _, err := h.Stats(path); err != nil {
				b.Fatal(err)
			}
		}
	})
	m, err := cgroup2.Load(path, cgroup2.WithMountpoint(h.Mount()))
	if err != nil {
		b.Fatal(err)
	}
	for name, mask := range map[string]cgroup2.StatMask{
		"library": cgroup2.StatAll, "library memory.stat": cgroup2.StatMemory, "library cpu io events": cgroup2.StatCPU | cgroup2.StatIO | cgroup2.StatMemoryEvents,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := m.StatFiltered(mask); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
