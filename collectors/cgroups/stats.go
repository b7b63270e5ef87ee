package cgroups

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// ErrGone means that a cgroup does not exist (any more).
var ErrGone = errors.New("no such cgroup")

// NoLimit is the value of a limit that is not set.
const NoLimit = math.MaxUint64

// Stats are the numbers of a cgroup and of those below it. What its controllers
// do not count is nil: absent, not 0.
type Stats struct {
	Memory *Memory
	CPU    *CPU
	IO     *IO
	// Pressure is by resource: cpu, memory, io.
	Pressure map[string]Pressure
}

// Memory is in bytes. Peak, Swap and SwapMax are nil where the kernel has none.
type Memory struct {
	Current, Max        uint64
	Peak, Swap, SwapMax *uint64
	Events              *MemoryEvents // here and below
	Local               *MemoryEvents // here alone
}

// MemoryEvents count since the cgroup was made.
type MemoryEvents struct {
	Max       uint64 // times the limit was hit
	OOM       uint64 // times nothing could be reclaimed there
	OOMKill   uint64 // processes killed
	GroupKill uint64 // times all were killed together
}

// CPU is what was used. Periods are those of a limit, 0 without one.
type CPU struct {
	User, System, Throttled   time.Duration
	Periods, ThrottledPeriods uint64
}

// IO is the sum over block devices.
type IO struct {
	ReadBytes, WriteBytes, Reads, Writes uint64
}

// Pressure is how long some, or all, tasks stood still for lack of a resource.
type Pressure struct {
	Some, Full time.Duration
	Recent     float64 // percent of the last 10 s that some did (avg10)
}

// Stats reads a cgroup; ErrGone when it vanished meanwhile. A scrape reads a
// thousand of them. The cgroups library takes two to three times as long for its
// part: it opens each file by its whole path, polls it, and reads memory.stat for
// the size of memory, which makes the kernel add up the counters of all CPUs; and
// it makes no difference between 0 and absent.
func (h *Hierarchy) Stats(path string) (Stats, error) {
	dir, err := h.open(path)
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w: %w", path, ErrGone, err)
	}
	defer dir.close()
	enabled, err := dir.controllers()
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w", path, err)
	}
	s := Stats{CPU: parseCPU(dir.text("cpu.stat")), Pressure: map[string]Pressure{}}
	if slices.Contains(enabled, "memory") {
		s.Memory = readMemory(dir)
	}
	if slices.Contains(enabled, "io") {
		s.IO = parseIO(dir.text("io.stat"))
	}
	for _, f := range [...]struct{ resource, file string }{{"cpu", "cpu.pressure"}, {"memory", "memory.pressure"}, {"io", "io.pressure"}} {
		if p, ok := parsePressure(dir.text(f.file)); ok {
			s.Pressure[f.resource] = p
		}
	}
	// The files of one that is gone are as if they were absent.
	if _, err := dir.controllers(); err != nil {
		return Stats{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func microseconds(n uint64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/1000)) * time.Microsecond
}

func readMemory(dir directory) *Memory {
	current, ok := parseValue(dir.text("memory.current"))
	if !ok {
		return nil
	}
	m := &Memory{Current: current, Max: NoLimit}
	if limit, ok := parseValue(dir.text("memory.max")); ok {
		m.Max = limit
	}
	for _, f := range [...]struct {
		file string
		to   **uint64
	}{{"memory.peak", &m.Peak}, {"memory.swap.current", &m.Swap}, {"memory.swap.max", &m.SwapMax}} {
		if v, ok := parseValue(dir.text(f.file)); ok {
			*f.to = &v
		}
	}
	m.Events = parseEvents(dir.text("memory.events"))
	m.Local = parseEvents(dir.text("memory.events.local"))
	return m
}

// Controllers returns the controllers of the v2 hierarchy. Those of v1
// hierarchies are not among them.
func (h *Hierarchy) Controllers() ([]string, error) {
	dir, err := openDirectory(h.mount)
	if err != nil {
		return nil, fmt.Errorf("open cgroup2 mount: %w", err)
	}
	defer dir.close()
	return dir.controllers()
}
