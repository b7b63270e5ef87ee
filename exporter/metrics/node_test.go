package metrics

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/overlay"
	"github.com/eyas-agent/eyas/collectors/processes"
)

// node is all that collectors ask, with sandboxes of nested containers in it. Each
// has used a bit of everything.
type node struct {
	table *identity.Table
	rows  map[bpf.CountsKey]bpf.Counts
	disk  map[bpf.OverlayKey]bpf.Overlay
}

const hostPIDNS, hostUserNS = 4026531836, 4026531837

func newNode(sandboxes, nested uint32) *node {
	n := &node{
		table: identity.NewTable(identity.Options{Boot: "b", CgroupPath: func(id uint64) string { return fmt.Sprintf("/pod/%d", id) }}),
		rows:  map[bpf.CountsKey]bpf.Counts{}, disk: map[bpf.OverlayKey]bpf.Overlay{},
	}
	for s := range sandboxes {
		outer := 10000 * (s + 1)
		x := n.put(outer, outer)
		n.table.SetPod(x, &identity.Pod{Namespace: "team-a", Name: fmt.Sprintf("builder-7d9f8c6b54-%05d", s), UID: "u", Container: "workspace"})
		for i := range nested {
			y := n.put(outer+1+i, outer, outer+1+i)
			y.Name = identity.Name{Runtime: "podman", ID: strings.Repeat("0a1b2c3d", 8), Name: fmt.Sprintf("service-%d", i), Image: "docker.io/library/postgres:17"}
		}
	}
	return n
}

// put adds the first process of the innermost of a chain of pid namespaces.
func (n *node) put(pid uint32, chain ...uint32) *identity.Container {
	r := &bpf.Process{
		Kind: bpf.KindFork, Time: uint64(pid), Start: uint64(pid), PID: pid, Threads: 2, Comm: "sh", Cgroup: uint64(pid),
		PIDLevels: []bpf.Level{{PID: pid, PIDNS: hostPIDNS}}, UserLevels: []bpf.Level{{UserNS: hostUserNS}},
	}
	for _, ns := range chain {
		r.PIDLevels = append(r.PIDLevels, bpf.Level{PID: pid, PIDNS: ns, PIDNSStart: uint64(ns), PIDNSOwner: hostUserNS})
	}
	n.table.Apply(r)
	who := bpf.CountsKey{PIDNS: pid, PIDNSStart: uint64(pid), UserNS: hostUserNS, Cgroup: uint64(pid)}
	n.rows[who] = bpf.Counts{Forks: uint64(pid), Execs: 12, ExitsZero: 11}
	timed := bpf.Histogram{Sum: 12345 * time.Microsecond}
	timed.Bucket[0], timed.Bucket[3] = 1<<40, 17
	n.disk[bpf.OverlayKey{Who: who, Dev: pid, Depth: 1}] = bpf.Overlay{ReadBytes: uint64(pid) << 20, Opens: 12, Reads: timed, Writes: timed, CopyUps: timed}
	return n.table.Process(identity.HostPID(pid)).Container
}

// collectors are those with the most series.
func (n *node) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		processes.New(processes.Options{Counter: n, Table: n, Log: zerolog.Nop()}),
		cgroups.New(cgroups.Options{Reader: n, Table: n, Log: zerolog.Nop()}),
		overlay.New(overlay.Options{Source: disks{n}, Table: n, Log: zerolog.Nop()}),
	}
}

func (n *node) Refresh(context.Context) error                 { return nil }
func (n *node) View(f func(*identity.Table, map[string]int))  { f(n.table, nil) }
func (n *node) Counts() (map[bpf.CountsKey]bpf.Counts, error) { return n.rows, nil }
func (n *node) TakeCounts(bpf.CountsKey) (bpf.Counts, error)  { return bpf.Counts{}, nil }
func (n *node) Controllers() ([]string, error) {
	return []string{"cpu", "io", "memory", "pids"}, nil
}

// Stats is a cgroup with all controllers.
func (n *node) Stats(string) (cgroups.Stats, error) {
	peak, none := uint64(123456789), uint64(0)
	p := cgroups.Pressure{Some: 1234567 * time.Microsecond, Full: 234567 * time.Microsecond}
	return cgroups.Stats{
		Memory: &cgroups.Memory{
			Current: 104857600, Max: cgroups.NoLimit, Peak: &peak, Swap: &none, SwapMax: &none,
			Events: &cgroups.MemoryEvents{}, Local: &cgroups.MemoryEvents{},
		},
		CPU:      &cgroups.CPU{User: 12345678 * time.Microsecond, System: 2345678 * time.Microsecond, Periods: 123},
		PIDs:     &cgroups.PIDs{Current: 7, Max: 512},
		IO:       &cgroups.IO{ReadBytes: 1 << 30, WriteBytes: 1 << 28, Reads: 12345, Writes: 2345},
		Pressure: map[string]cgroups.Pressure{"cpu": p, "memory": p, "io": p},
	}, nil
}

// disks is the overlays' source, of which a scrape asks only for rows.
type disks struct{ n *node }

func (d disks) Rows() (map[bpf.OverlayKey]bpf.Overlay, error) { return d.n.disk, nil }
func (d disks) Take(bpf.OverlayKey) (bpf.Overlay, error)      { return bpf.Overlay{}, nil }
func (d disks) Capacity() int                                 { return len(d.n.disk) }
func (d disks) Attached() bool                                { return true }
func (d disks) Attach()                                       {}
func (d disks) AttachFuse()                                   {}
func (d disks) Missing(string)                                {}
func (d disks) SelfTest(bpf.Drive)                            {}
func (d disks) Hooks() []bpf.Hook                             { return nil }

// exposition is of the node.
func (n *node) exposition(t testing.TB) *Exposition {
	t.Helper()
	e, err := NewExposition(n.collectors()...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
