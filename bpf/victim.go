package bpf

import (
	"fmt"
	"math"
	"os"
)

// Victim is a process that the OOM killer has chosen, as it is before it dies.
// Sizes are in bytes; Linux 6.2 and later know those of a process to within some
// pages per CPU.
type Victim struct {
	Time     uint64 // ns since boot
	Start    uint64 // with PID the key of the process
	PID      uint32
	By       uint32 // who wanted the memory
	Cgroup   uint64 // id in the v2 hierarchy
	Comm     string // raw, hostile
	ScoreAdj int
	File     uint64
	Anon     uint64
	Swap     uint64
	Shmem    uint64

	// Kill is the same for those that are killed at once: ns since boot. 0 where
	// the kernel lets no program run on its functions; Limit then is not known.
	Kill  uint64
	Limit Memcg // whose limit it is; zero: no cgroup's, the machine's memory is used up

	Memcgs []Memcg // from the victim's own outwards, without the root
	Cut    bool    // …but not all
}

// Memcg is a memory cgroup at the moment of an OOM kill.
type Memcg struct {
	Cgroup uint64 // id, in the v2 hierarchy but for V1
	Level  int    // 1: right below the root
	V1     bool
	Read   bool   // what follows is known
	Usage  uint64 // bytes
	Max    uint64 // bytes; math.MaxUint64: no limit
	OOMs   uint64 // oom of memory.events.local, this one included
	Group  bool   // memory.oom.group
}

func decodeVictim(b []byte, h identityEyasHeader) (any, error) {
	r := readAs[identityEyasVictim](b)
	if int(r.Memcgs) > len(r.Memcg) {
		return nil, fmt.Errorf("decode victim: %w: %d cgroups", ErrMalformed, r.Memcgs)
	}
	v := &Victim{
		Time: h.Time, Start: r.Start, PID: r.Pid, By: r.By, Cgroup: r.Cgroup, Comm: text(r.Comm[:]), ScoreAdj: int(r.ScoreAdj),
		File: bytesIn(r.File), Anon: bytesIn(r.Anon), Swap: bytesIn(r.Swap), Shmem: bytesIn(r.Shmem),
		Kill: r.Kill, Cut: flag(h, identityEyasFlagEYAS_FLAG_PARTIAL),
	}
	if r.Kill != 0 {
		v.Limit = memcg(&r.Limit)
	}
	for i := range r.Memcg[:r.Memcgs] {
		v.Memcgs = append(v.Memcgs, memcg(&r.Memcg[i]))
	}
	return v, nil
}

func memcg(m *identityEyasMemcg) Memcg {
	is := func(f identityEyasMemcgFlag) bool { return m.Flags&uint32(f) != 0 }
	return Memcg{
		Cgroup: m.Cgroup, Level: int(m.Level), V1: is(identityEyasMemcgFlagEYAS_MEMCG_V1), Read: is(identityEyasMemcgFlagEYAS_MEMCG_READ),
		Usage: bytesIn(int64(min(m.Usage, math.MaxInt64))), Max: limitIn(m.Max), OOMs: m.Ooms,
		Group: is(identityEyasMemcgFlagEYAS_MEMCG_GROUP),
	}
}

// bytesIn is how many bytes so many pages have. The kernel's counters of a
// process may be below 0 for a moment.
func bytesIn(pages int64) uint64 {
	return min(uint64(max(pages, 0)), math.MaxUint64/uint64(os.Getpagesize())) * uint64(os.Getpagesize())
}

// limitIn is bytesIn for a limit: PAGE_COUNTER_MAX is none (include/linux/page_counter.h).
func limitIn(pages uint64) uint64 {
	if pages >= uint64(math.MaxInt64/os.Getpagesize()) {
		return math.MaxUint64
	}
	return pages * uint64(os.Getpagesize())
}
