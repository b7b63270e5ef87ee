package tracker

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/history"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// MemoryOptions of a History.
type MemoryOptions struct {
	Dir      string // state directory
	Boot     string
	MaxAge   time.Duration
	MaxBytes int64
	ReadOnly bool
	Clock    identity.Clock
	Log      zerolog.Logger
}

// History is the Memory on disk, and what the last run knew.
type History struct {
	*history.Store
	clock   identity.Clock
	boot    string
	started time.Time
	known   map[uint32]identity.UserNSRecord // user namespaces of the last run in this boot
	open    []history.Unfinished             // processes of earlier runs whose end is not known
	first   map[string]time.Time             // first sight of containers that the last run left alive
}

var _ Memory = (*History)(nil)

// HistoryFile is the name of the history below the state directory.
const HistoryFile = "history.db"

// OpenMemory opens the history below a state directory.
func OpenMemory(o MemoryOptions) (*History, error) {
	s, err := history.Open(history.Options{
		Path: filepath.Join(o.Dir, HistoryFile), Boot: o.Boot, MaxAge: o.MaxAge, MaxBytes: o.MaxBytes,
		ReadOnly: o.ReadOnly, Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	// The store has set a damaged file aside: the agent starts with what could
	// be read before.
	fatal := func(err error) bool { return err != nil && (o.ReadOnly || !errors.Is(err, history.ErrDamaged)) }
	h := &History{Store: s, clock: o.Clock, boot: o.Boot, started: time.Now(), known: map[uint32]identity.UserNSRecord{}, first: map[string]time.Time{}}
	if s.Previous().Boot == o.Boot {
		err = s.UserNSs(func(r identity.UserNSRecord) {
			if !r.Gone {
				h.known[r.Key.Inum] = r
			}
		})
		if fatal(err) {
			return nil, errors.Join(err, s.Close())
		}
	}
	// Read now: soon this run's records of the same processes and containers
	// replace them.
	containers, err := s.Containers(time.Time{}, h.started)
	if fatal(err) {
		return nil, errors.Join(err, s.Close())
	}
	for _, c := range containers {
		if !c.Gone {
			h.first[c.ID] = c.First
		}
	}
	err = s.Live(func(u history.Unfinished) { h.open = append(h.open, u) })
	if fatal(err) {
		return nil, errors.Join(err, s.Close())
	}
	return h, nil
}

// LateExit implements Memory: it completes what is remembered of a process
// whose exit was told after it had left the table.
func (h *History) LateExit(e bpf.Exit, at time.Time) {
	r, ok := h.Process(identity.ProcessKey{PID: identity.HostPID(e.PID), Start: e.Start})
	if !ok {
		return
	}
	r.Exited, r.ExitTold, r.ExitCode, r.OOM, r.Last = true, true, e.Code, e.OOM, at
	h.PutProcess(r)
}

// InnerProcesses returns who had a pid inside a container, the newest first.
func (h *History) InnerProcesses(in identity.ContainerRecord, pid identity.PID, limit int) ([]identity.ProcessRecord, error) {
	all, err := h.Containers(time.Time{}, time.Now())
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, c := range identity.Below(all, in.ID) {
		ids = append(ids, c.ID)
	}
	return h.Store.InnerProcesses(ids, in.PIDLevel, pid, limit)
}

// Generation implements identity.Options.Generation from the last run.
func (h *History) Generation(inum uint32, level int, owner identity.HostUID, sum uint64) (uint64, bool) {
	r, ok := h.known[inum]
	if !ok || r.Level != level || r.OwnerUID != owner || r.Sum != sum {
		return 0, false
	}
	return r.Key.Gen, true
}

// CloseDead ends the lives of those that died while no agent ran: the last
// that is known of them is when the previous agent was last alive. Those that
// still live keep their first sight. Call it once, after the first snapshot.
func (h *History) CloseDead(t *Tracker) error {
	before := func(last time.Time) time.Time {
		if alive := h.Previous().Alive; alive.After(last) {
			return alive
		}
		return last
	}
	earlier := map[identity.ProcessKey]history.Unfinished{}
	for _, u := range h.open {
		if u.ThisBoot {
			earlier[identity.ProcessKey{PID: u.PID, Start: u.Start}] = u
		}
	}
	alive := map[identity.ProcessKey]bool{}
	containers, spaces := map[string]bool{}, map[identity.NSKey]bool{}
	t.View(func(table *identity.Table, _ map[string]int) {
		for _, p := range table.Processes() {
			alive[p.Key] = true
			if u, ok := earlier[p.Key]; ok {
				p.First = min(p.First, uint64(max(0, u.First.Sub(h.clock.Boot))))
				if p.Exe == "" && p.Comm == u.Comm {
					p.Exe, p.Argv, p.ArgvCut = u.Exe, u.Argv, u.ArgvCut
				}
				h.PutProcess(p.Record(h.clock))
			}
		}
		for _, c := range table.Containers() {
			containers[c.ID] = true
			if earlier, ok := h.first[c.ID]; ok {
				c.First = min(c.First, uint64(max(0, earlier.Sub(h.clock.Boot))))
				h.PutContainer(c.Record(h.clock))
			}
		}
		for _, u := range table.UserNamespaces() {
			spaces[u.Key] = true
		}
	})
	for _, u := range h.open {
		if !u.ThisBoot || !alive[identity.ProcessKey{PID: u.PID, Start: u.Start}] {
			h.Finish(u, before(u.Last))
		}
	}
	h.open, h.first = nil, nil
	return h.closeObjects(containers, spaces, before)
}

func (h *History) closeObjects(containers map[string]bool, spaces map[identity.NSKey]bool, before func(time.Time) time.Time) error {
	all, err := h.Containers(time.Time{}, h.started)
	if err != nil {
		return err
	}
	for _, c := range all {
		if !c.Gone && !containers[c.ID] && c.Last.Before(h.started) {
			c.Gone, c.Last = true, before(c.Last)
			h.PutContainer(c)
		}
	}
	var gone []identity.UserNSRecord
	err = h.UserNSs(func(u identity.UserNSRecord) {
		if !u.Gone && !spaces[u.Key] && u.Last.Before(h.started) {
			gone = append(gone, u)
		}
	})
	for _, u := range gone {
		u.Gone, u.Last = true, before(u.Last)
		h.PutUserNS(u)
	}
	return err
}
