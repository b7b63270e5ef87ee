package bpf

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/cilium/ebpf"
)

// keepAlive keeps what only the kernel has seen a pointer to.
func keepAlive(v any) { runtime.KeepAlive(v) }

// CountsKey says what a row of counts belongs to: the innermost namespaces of
// the processes counted, and their cgroup.
type CountsKey struct {
	PIDNSStart uint64
	UserNSID   uint64
	Cgroup     uint64
	PIDNS      uint32
	UserNS     uint32
}

// Counts of one row; they only grow.
type Counts struct {
	Forks       uint64 // processes born
	Threads     uint64 // threads born that are not the first of their process
	Execs       uint64
	ExitsZero   uint64 // processes that ended with status 0
	ExitsError  uint64 // … with another status
	ExitsSignal uint64 // … by a signal
	OOMKills    uint64 // of those, chosen by the OOM killer
}

// Add adds o to c.
func (c *Counts) Add(o Counts) {
	c.Forks += o.Forks
	c.Threads += o.Threads
	c.Execs += o.Execs
	c.ExitsZero += o.ExitsZero
	c.ExitsError += o.ExitsError
	c.ExitsSignal += o.ExitsSignal
	c.OOMKills += o.OOMKills
}

// Counts reads all rows, as they are in the kernel at this moment. No event is
// missing from them, also when the ring lost its record.
func (m *Monitor) Counts() (map[CountsKey]Counts, error) {
	rows := map[CountsKey]Counts{}
	var (
		k  identityEyasCountsKey
		v  identityEyasCounts
		it = m.coll.Counts.Iterate()
	)
	for it.Next(&k, &v) {
		rows[countsKey(k)] = counts(v)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read counts map: %w", err)
	}
	return rows, nil
}

// TakeCounts removes a row and returns what it held at that moment; zero when
// there was none. For containers that are gone.
func (m *Monitor) TakeCounts(k CountsKey) (Counts, error) {
	key := identityEyasCountsKey{PidnsStart: k.PIDNSStart, UsernsId: k.UserNSID, Cgroup: k.Cgroup, Pidns: k.PIDNS, Userns: k.UserNS}
	var v identityEyasCounts
	err := m.coll.Counts.LookupAndDelete(&key, &v)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return Counts{}, nil
	}
	if err != nil {
		return Counts{}, fmt.Errorf("take counts row: %w", err)
	}
	return counts(v), nil
}

// CountsCapacity is the number of rows the kernel can hold.
func (m *Monitor) CountsCapacity() int { return int(m.coll.Counts.MaxEntries()) }

func countsKey(k identityEyasCountsKey) CountsKey {
	return CountsKey{PIDNSStart: k.PidnsStart, UserNSID: k.UsernsId, Cgroup: k.Cgroup, PIDNS: k.Pidns, UserNS: k.Userns}
}

func counts(v identityEyasCounts) Counts {
	return Counts{
		Forks: v.Forks, Threads: v.Threads, Execs: v.Execs,
		ExitsZero: v.ExitsZero, ExitsError: v.ExitsError, ExitsSignal: v.ExitsSignal, OOMKills: v.OomKills,
	}
}

// Hooks returns the state and the counters of every program.
func (m *Monitor) Hooks() []Hook {
	all := make([]Hook, 0, len(m.hooks))
	for _, h := range m.hooks {
		out := Hook{Name: h.name, Target: h.target, State: h.state, Reason: h.reason, Loss: h.loss, Rare: h.rare()}
		if h.state == HookUnproven && out.Rare && m.ran(h.index) {
			out.State, out.Reason = HookActive, ""
		}
		if h.lacks != "" && h.state != HookMissing {
			out.Reason = strings.Trim(out.Reason+"; this kernel does not let it tell "+h.lacks, "; ")
		}
		s := m.statsOf(h.index)
		out.Records, out.Lost, out.LostBytes, out.LostCounts = s.Records, s.Lost, s.LostBytes, s.LostCounts
		out.Recovered = s.Recovered
		if h.program != nil {
			if ps, err := h.program.Stats(); err == nil {
				out.RunCount, out.RunNanos, out.Missed = ps.RunCount, uint64(ps.Runtime), ps.RecursionMisses
			}
		}
		all = append(all, out)
	}
	return all
}

// Losses count what was not told: whenever they grow, a new snapshot is due.
type Losses struct {
	Records uint64 // the ring had no room
	Skipped uint64 // the kernel skipped the program's run
}

// Lost returns the losses so far. A hint that is not told is no loss.
func (m *Monitor) Lost() Losses {
	var n Losses
	for _, h := range m.hooks {
		if h.iterator || h.program == nil || h.index == identityEyasProgramEYAS_PROGRAM_CAPABLE {
			continue
		}
		n.Records += m.statsOf(h.index).Lost
		if s, err := h.program.Stats(); err == nil {
			n.Skipped += s.RecursionMisses
		}
	}
	return n
}

// Guarded reports whether events of skipped runs are found out: the counts miss
// none, and an exit is told late rather than never.
func (m *Monitor) Guarded() bool { return m.guarded }

func (m *Monitor) statsOf(p identityEyasProgram) identityEyasStats {
	var sum identityEyasStats
	var cpus []identityEyasStats
	if err := m.coll.Stats.Lookup(uint32(p), &cpus); err != nil {
		return sum
	}
	for _, c := range cpus {
		sum.Records += c.Records
		sum.Lost += c.Lost
		sum.LostBytes += c.LostBytes
		sum.LostCounts += c.LostCounts
		sum.Recovered += c.Recovered
	}
	return sum
}
