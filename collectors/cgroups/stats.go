package cgroups

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/cgroups/v3/cgroup2"
	"github.com/containerd/cgroups/v3/cgroup2/stats"
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
	PIDs   *PIDs
	// Pressure is by resource: cpu, memory, io.
	Pressure map[string]Pressure
}

// PIDs are tasks, threads included. Max is NoLimit without a limit.
type PIDs struct {
	Current, Max uint64
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

// Stats reads a cgroup; ErrGone when it vanished meanwhile. Of what the library
// reads, cpu.stat, io.stat, memory.events and two pressures are taken: for the
// size of memory it reads memory.stat first, which makes the kernel add up the
// counters of all CPUs, it knows no memory.events.local, and makes no difference
// between 0 and absent.
func (h *Hierarchy) Stats(path string) (Stats, error) {
	dir, err := openDirectory(filepath.Join(h.mount, path))
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w: %w", path, ErrGone, err)
	}
	defer dir.close()
	enabled, err := dir.controllers()
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w", path, err)
	}
	m, err := cgroup2.Load(filepath.Clean("/"+path), cgroup2.WithMountpoint(h.mount))
	if err != nil {
		return Stats{}, fmt.Errorf("load cgroup %s: %w", path, err)
	}
	have, err := m.StatFiltered(cgroup2.StatCPU | cgroup2.StatIO | cgroup2.StatMemoryEvents | cgroup2.StatPids)
	if err != nil {
		return Stats{}, fmt.Errorf("read cgroup %s: %w", path, err)
	}
	s := fromLibrary(have, enabled)
	if slices.Contains(enabled, "memory") {
		s.Memory = readMemory(dir)
		if s.Memory != nil && have.MemoryEvents != nil {
			e := have.MemoryEvents
			s.Memory.Events = &MemoryEvents{Max: e.Max, OOM: e.Oom, OOMKill: e.OomKill, GroupKill: e.OomGroupKill}
		}
	}
	if p, ok := parsePressure(dir.text("memory.pressure")); ok {
		s.Pressure["memory"] = p
	}
	// The library takes what vanishes for 0, and by its path another cgroup for
	// this one.
	if _, err := dir.controllers(); err != nil {
		return Stats{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// fromLibrary takes over what the controllers that are enabled have counted.
// The CPU time is known without one.
func fromLibrary(m *stats.Metrics, enabled []string) Stats {
	s := Stats{Pressure: map[string]Pressure{}}
	if c := m.CPU; c != nil {
		s.CPU = &CPU{
			User: microseconds(c.UserUsec), System: microseconds(c.SystemUsec), Throttled: microseconds(c.ThrottledUsec),
			Periods: c.NrPeriods, ThrottledPeriods: c.NrThrottled,
		}
		s.addPressure("cpu", c.PSI)
	}
	if p := m.Pids; p != nil && slices.Contains(enabled, "pids") {
		s.PIDs = &PIDs{Current: p.Current, Max: p.Limit}
	}
	if m.Io == nil {
		return s
	}
	s.addPressure("io", m.Io.PSI)
	if slices.Contains(enabled, "io") {
		s.IO = &IO{}
		for _, d := range m.Io.Usage {
			s.IO.ReadBytes += d.Rbytes
			s.IO.WriteBytes += d.Wbytes
			s.IO.Reads += d.Rios
			s.IO.Writes += d.Wios
		}
	}
	return s
}

func microseconds(n uint64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/1000)) * time.Microsecond
}

func (s *Stats) addPressure(resource string, p *stats.PSIStats) {
	if p == nil || p.Some == nil {
		return
	}
	out := Pressure{Some: microseconds(p.Some.Total), Recent: p.Some.Avg10}
	if p.Full != nil {
		out.Full = microseconds(p.Full.Total)
	}
	s.Pressure[resource] = out
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
	for file, to := range map[string]**uint64{"memory.peak": &m.Peak, "memory.swap.current": &m.Swap, "memory.swap.max": &m.SwapMax} {
		if v, ok := parseValue(dir.text(file)); ok {
			*to = &v
		}
	}
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
