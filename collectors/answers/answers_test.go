package answers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

var boot = identity.Clock{Boot: time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)}

// kernel has one nested process, pid 100, and whoever task says.
type kernel struct {
	task map[uint32]*bpf.Process // nil: exists, not nested
}

func (kernel) Read(time.Time, func(any) bool) error   { return nil }
func (kernel) Flush() error                           { return nil }
func (kernel) UserNSOf(uint32) ([]*bpf.UserNS, error) { return nil, bpf.ErrNoProcess }
func (kernel) Lost() bpf.Losses                       { return bpf.Losses{} }
func (k kernel) Tasks(f func(*bpf.Process)) error     { f(k.task[100]); return nil }
func (k kernel) Task(pid uint32) (*bpf.Process, error) {
	if p, ok := k.task[pid]; ok {
		return p, nil
	}
	return nil, bpf.ErrNoProcess
}

func nested(pid uint32, zombie bool) *bpf.Process {
	return &bpf.Process{
		Kind: bpf.KindTask, Time: 9e9, Start: uint64(pid) * 1e7, PID: pid, PPID: 1, LoginUID: identity.NoID, Threads: 1, Comm: "live", Zombie: zombie,
		PIDLevels:  []bpf.Level{{PID: pid, PIDNS: 1}, {PID: 1, PIDNS: 2, PIDNSStart: uint64(pid) * 1e7}},
		UserLevels: []bpf.Level{{UserNS: 3}},
	}
}

// memory remembers processes by pid.
type memory map[identity.HostPID]identity.ProcessRecord

func (m memory) Processes(pid identity.HostPID, _ int) ([]identity.ProcessRecord, error) {
	if r, ok := m[pid]; ok {
		return []identity.ProcessRecord{r}, nil
	}
	return nil, nil
}

func (m memory) InnerProcesses(identity.ContainerRecord, identity.PID, int) ([]identity.ProcessRecord, error) {
	return nil, nil
}

func (m memory) Container(id string) (identity.ContainerRecord, bool) {
	return identity.ContainerRecord{ID: id, Level: 1, PIDLevel: 1, Display: "box"}, id == "cafe"
}

func (m memory) UserNS(identity.NSKey) (identity.UserNSRecord, bool) {
	return identity.UserNSRecord{}, false
}

func (m memory) Containers(time.Time, time.Time) ([]identity.ContainerRecord, error) { return nil, nil }

// OOMs has two kills: in the container that lives, and in one that is gone.
func (m memory) OOMs(since time.Time, f func(identity.OOMRecord)) error {
	for second, container := range []string{"cafe", "", "beef"} {
		r := identity.OOMRecord{
			Time: boot.Boot.Add(time.Duration(second) * time.Second), Limit: identity.OOMLimit{Scope: identity.OOMInside, Container: container},
			Victims: []identity.OOMVictim{{PID: 50, Container: container, PIDs: []identity.PID{7}, Comm: "tail", Memory: identity.OOMMemory{Anon: 1, File: 2, Shmem: 4, Swap: 8}}},
		}
		if !r.Time.Before(since) {
			f(r)
		}
	}
	return nil
}

// fakeProc is a /proc with processes of the given states; a pid's start is its
// number in ticks.
func fakeProc(t *testing.T, states map[int]string) string {
	t.Helper()
	proc := t.TempDir()
	for pid, state := range states {
		dir := filepath.Join(proc, fmt.Sprint(pid))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"stat":    fmt.Sprintf("%d (tail) %s 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d%s\n", pid, state, pid, strings.Repeat(" 0", 30)),
			"status":  fmt.Sprintf("Name:\ttail\nTgid:\t%d\nPid:\t%d\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n", pid, pid),
			"cmdline": "", "cgroup": "0::/x\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return proc
}

// pods is what kubelet's records said.
type pods []identity.PodRecord

func (p pods) Pods() ([]identity.PodRecord, error) { return p, nil }

// A host id that kubelet gave to pods is all of theirs, the latest first, or at
// a time that of who had it then; uids and gids by their own ranges.
func TestPods(t *testing.T) {
	second := func(s int) time.Time { return boot.Boot.Add(time.Duration(s) * time.Second) }
	give := func(pod string, uids, gids uint32, from, last, goneBy int) identity.PodRecord {
		return identity.PodRecord{
			Pod: pod, UIDs: identity.UIDMap{{First: 7, Host: uids, Count: 65536}}, GIDs: identity.GIDMap{{Host: gids, Count: 65536}},
			First: second(from), Last: second(last), Gone: goneBy > 0, GoneBy: second(goneBy),
		}
	}
	all := pods{give("c", 131072, 65536, 30, 90, 0), give("b", 65536, 65536, 20, 90, 0), give("a", 65536, 65536, 1, 9, 11)}
	for range identity.MaxPods {
		all = append(all, give("crowd", 1<<20, 1<<20, 1, 2, 3))
	}
	all = append(all, give("one more", 1<<20, 1<<20, 1, 2, 3))
	a := &Answers{
		Clock: boot, Kubelet: all,
		Tracker: tracker.New(tracker.Options{Source: kernel{map[uint32]*bpf.Process{100: nested(100, false)}}, Table: identity.NewTable(identity.Options{}), Clock: boot, Log: zerolog.Nop()}),
	}
	if err := a.Tracker.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		q    IDQuery
		want string
	}{
		"ever":            {IDQuery{ID: 65541}, "b live 65536:65536 12, a gone 65536:65536 12"},
		"the last id":     {IDQuery{ID: 131071}, "b live 65536:65536 65542, a gone 65536:65536 65542"},
		"one past it":     {IDQuery{ID: 196608}, ""},
		"gid":             {IDQuery{ID: 65541, GID: true}, "c live 65536:65536 5, b live 65536:65536 5, a gone 65536:65536 5"},
		"at a time":       {IDQuery{ID: 65541, At: second(8)}, "a gone 65536:65536 12"},
		"may have gone":   {IDQuery{ID: 65541, At: second(11)}, "a gone 65536:65536 12"},
		"between the two": {IDQuery{ID: 65541, At: second(12)}, ""},
		"too early":       {IDQuery{ID: 65541, At: second(0)}, ""},
	} {
		got, err := a.ID(t.Context(), tc.q)
		var lines []string
		for _, p := range got.Pods {
			lines = append(lines, fmt.Sprintf("%s %s %s %d", p.PodUID, p.State, p.Range, p.Inner))
		}
		if text := strings.Join(lines, ", "); text != tc.want || err != nil || got.MorePods != 0 {
			t.Errorf("%s: %s, %v, want %s", name, text, err, tc.want)
		}
		if own := strings.Contains(got.Note, "the node's own"); own != (tc.want == "") {
			t.Errorf("%s: %s", name, got.Note)
		}
	}
	if got, err := a.ID(t.Context(), IDQuery{ID: 1 << 20}); len(got.Pods) != identity.MaxPods || got.MorePods != 1 || err != nil {
		t.Errorf("%d pods and %d more, %v", len(got.Pods), got.MorePods, err)
	}
	a.Names = names{"b": {Namespace: "team", Name: "web"}}
	got, err := a.ID(t.Context(), IDQuery{ID: 65541})
	if err != nil || len(got.Pods) != 2 || got.Pods[0].Namespace+"/"+got.Pods[0].Pod != "team/web" || got.Pods[1].Pod != "" {
		t.Errorf("with Kubernetes: %+v, %v", got.Pods, err)
	}
}

type names map[string]identity.Pod

func (n names) Pod(uid, _ string) (identity.Pod, bool) { p, ok := n[uid]; return p, ok }

// TestPID: the living from the kernel, zombies and the dead from the history,
// and of nobody a chain that is not known.
func TestPID(t *testing.T) {
	k := kernel{map[uint32]*bpf.Process{
		100: nested(100, false), 101: nested(101, true), 102: nested(102, true), 103: nil, 104: nil,
		107: nested(107, true), 108: nested(108, true),
	}}
	record := func(pid identity.HostPID, ticks int) identity.ProcessRecord {
		return identity.ProcessRecord{PID: pid, StartTime: boot.At(uint64(ticks) * 1e7), Container: "cafe", PIDs: []identity.PID{7}, Comm: "then", Exited: true}
	}
	a := &Answers{
		Clock: boot, Proc: fakeProc(t, map[int]string{101: "Z", 102: "Z", 103: "S", 104: "Z", 107: "R", 108: "R"}),
		History: memory{101: record(101, 101), 103: record(103, 103), 104: record(104, 7), 105: record(105, 105), 107: record(107, 107)},
		Tracker: tracker.New(tracker.Options{Source: k, Table: identity.NewTable(identity.Options{}), Clock: boot, Log: zerolog.Nop()}),
	}
	if err := a.Tracker.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	for pid, want := range map[identity.HostPID]string{
		100: "live live, 2 steps",
		101: "exited then, 2 steps", // a zombie whose containers are remembered
		102: "not found",            // and one whose are not: it is not the host's
		103: "live tail, 1 steps",   // the host's, whoever had the pid before
		104: "exited tail, 1 steps", // a zombie of the host's, likewise
		105: "exited then, 2 steps",
		106: "not found",
		107: "exited then, 2 steps", // has told its exit, and /proc has not seen it yet
		108: "not found",            // nor is such a one the host's
	} {
		id, err := a.PID(t.Context(), pid)
		got := fmt.Sprintf("%s %s, %d steps", id.State, id.Comm, len(id.Chain))
		if errors.Is(err, ErrNotFound) {
			got = "not found"
		} else if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("pid %d: %s, want %s", pid, got, want)
		}
	}
}
