package identity

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
)

func TestReconcile(t *testing.T) {
	s := host().unshareUser(20, 200, 1000).unsharePID(10, 100)
	one, two := s.fork(50, 1, 100), s.fork(51, 50, 110)
	task := func(pid uint32, start uint64) *bpf.Process { return s.task(bpf.KindTask, pid, 50, start, 1000) }
	zombie := task(52, 120)
	zombie.Zombie = true
	entered := host().unshareUser(30, 300, 1001).task(bpf.KindTask, 60, 1, 5, 1000)
	type snapshot struct {
		tasks  []*bpf.Process
		exited map[ProcessKey]bool
		says   map[HostPID]Liveness // of those asked about; others are alive
		sure   bool
		before []any // told between this one and the one before
		want   Drift
	}
	all := map[HostPID]string{50: "p10", 51: "p10"}
	for name, tc := range map[string]struct {
		looks []snapshot
		want  map[HostPID]string
		asked []HostPID
	}{
		"equal": {[]snapshot{{tasks: []*bpf.Process{task(51, 110), task(50, 100), zombie}}}, all, nil},
		"missing, proved by the next": {[]snapshot{
			{tasks: []*bpf.Process{task(50, 100), task(51, 110), task(52, 120)}},
			{tasks: []*bpf.Process{task(50, 100), task(51, 110), task(52, 120)}, want: Drift{Missing: 1}},
			{tasks: []*bpf.Process{task(50, 100), task(51, 110), task(52, 120)}},
		}, map[HostPID]string{50: "p10", 51: "p10", 52: "p10"}, nil},
		"shown before it was told": {[]snapshot{
			{tasks: []*bpf.Process{task(50, 100), task(51, 110), task(52, 120)}},
			{tasks: []*bpf.Process{task(50, 100), task(51, 110), task(52, 120)}, before: []any{s.fork(52, 50, 120)}},
		}, map[HostPID]string{50: "p10", 51: "p10", 52: "p10"}, nil},
		"shown, told and dead": {[]snapshot{
			{tasks: []*bpf.Process{task(50, 100), task(51, 110), task(52, 120)}},
			{tasks: []*bpf.Process{task(50, 100), task(51, 110)}, before: []any{s.fork(52, 50, 120), exit(52, 120, 130)}},
		}, all, nil},
		"another of the pid is told": {[]snapshot{
			{tasks: []*bpf.Process{task(50, 100), task(51, 110), task(52, 120)}},
			{tasks: []*bpf.Process{task(50, 100), task(51, 110), task(52, 130)}, before: []any{s.fork(52, 50, 130)}, want: Drift{Missing: 1}},
		}, map[HostPID]string{50: "p10", 51: "p10", 52: "p10"}, nil},
		"missing, when sure": {[]snapshot{
			{tasks: []*bpf.Process{task(50, 100), task(51, 110), task(52, 120)}, sure: true, want: Drift{Missing: 1}},
			{tasks: []*bpf.Process{task(50, 100), task(51, 110), task(52, 120)}},
		}, map[HostPID]string{50: "p10", 51: "p10", 52: "p10"}, nil},
		"pid reused": {[]snapshot{{tasks: []*bpf.Process{task(50, 100), task(51, 130)}, sure: true, want: Drift{Missing: 1}}}, all, nil},
		"entered from the host": {[]snapshot{{tasks: []*bpf.Process{task(50, 100), task(51, 110), entered}, sure: true, want: Drift{Adopted: 1}},
			{tasks: []*bpf.Process{task(50, 100), task(51, 110), entered}}}, map[HostPID]string{50: "p10", 51: "p10", 60: "u30"}, nil},
		"exit drained meanwhile": {[]snapshot{{tasks: []*bpf.Process{task(50, 100), task(51, 110)}, before: []any{exit(51, 110, 999)},
			exited: map[ProcessKey]bool{{51, 110}: true}}}, map[HostPID]string{50: "p10"}, nil},
		"hidden by an exec": {[]snapshot{{tasks: []*bpf.Process{task(50, 100)}, sure: true}}, all, []HostPID{51}},
		"dead": {[]snapshot{
			{tasks: []*bpf.Process{task(50, 100)}, says: map[HostPID]Liveness{51: Dead}},
			{tasks: []*bpf.Process{task(50, 100)}, says: map[HostPID]Liveness{51: Dead}, want: Drift{Stale: 1}},
		}, map[HostPID]string{50: "p10"}, []HostPID{51, 51}},
		"dead, then told": {[]snapshot{
			{tasks: []*bpf.Process{task(50, 100)}, says: map[HostPID]Liveness{51: Dead}},
			{tasks: []*bpf.Process{task(50, 100)}, before: []any{exit(51, 110, 900)}},
		}, map[HostPID]string{50: "p10"}, []HostPID{51}},
		"dead, when sure": {[]snapshot{{tasks: []*bpf.Process{task(50, 100)}, says: map[HostPID]Liveness{51: Dead}, sure: true, want: Drift{Stale: 1}}},
			map[HostPID]string{50: "p10"}, []HostPID{51}},
		"dying, then told": {[]snapshot{
			{tasks: []*bpf.Process{task(50, 100)}, says: map[HostPID]Liveness{51: Dying}},
			{tasks: []*bpf.Process{task(50, 100)}, before: []any{exit(51, 110, 900)}},
		}, map[HostPID]string{50: "p10"}, []HostPID{51}},
		"dying twice is dead": {[]snapshot{
			{tasks: []*bpf.Process{task(50, 100)}, says: map[HostPID]Liveness{51: Dying}},
			{tasks: []*bpf.Process{task(50, 100)}, says: map[HostPID]Liveness{51: Dying}, want: Drift{Stale: 1}},
		}, map[HostPID]string{50: "p10"}, []HostPID{51, 51}},
		"dying, seen alive, dying": {[]snapshot{
			{tasks: []*bpf.Process{task(50, 100)}, says: map[HostPID]Liveness{51: Dying}},
			{tasks: []*bpf.Process{task(50, 100), task(51, 110)}},
			{tasks: []*bpf.Process{task(50, 100)}, says: map[HostPID]Liveness{51: Dying}},
		}, all, []HostPID{51, 51}},
		"dying, when sure": {[]snapshot{{tasks: []*bpf.Process{task(50, 100)}, says: map[HostPID]Liveness{51: Dying}, sure: true, want: Drift{Stale: 1}}},
			map[HostPID]string{50: "p10"}, []HostPID{51}},
		"zombies are dead": {[]snapshot{{tasks: []*bpf.Process{task(50, 100), zombie}, sure: true, says: map[HostPID]Liveness{51: Dead},
			want: Drift{Stale: 1}}}, map[HostPID]string{50: "p10"}, []HostPID{51}},
		"born since it began": {[]snapshot{{tasks: []*bpf.Process{task(50, 100), task(51, 110)}, before: []any{s.fork(52, 50, 900)}}},
			map[HostPID]string{50: "p10", 51: "p10", 52: "p10"}, nil},
	} {
		table := NewTable(Options{})
		apply(table, one, two)
		var asked []HostPID
		for i, l := range tc.looks {
			apply(table, l.before...)
			ask := func(p *Process) Liveness {
				asked = append(asked, p.Key.PID)
				return l.says[p.Key.PID]
			}
			if d := cmp.Diff(l.want, table.Reconcile(l.tasks, 900, l.exited, ask, l.sure)); d != "" {
				t.Errorf("%s: %d (-want +got):\n%s", name, i, d)
			}
			audit(t, table)
		}
		if d := cmp.Diff(tc.want, where(table)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if d := cmp.Diff(tc.asked, asked); d != "" {
			t.Errorf("%s: asked (-want +got):\n%s", name, d)
		}
		if d := table.Reconcile(nil, 2000, nil, func(*Process) Liveness { return Dead }, true); d.Stale != len(tc.want) {
			t.Errorf("%s: %+v", name, d)
		}
		empty(t, table)
	}
}

// A snapshot tells of children and parents in any order; what it enters counts
// once, and a child of what it entered is not drift.
func TestReconcileOrder(t *testing.T) {
	s := host().unshareUser(20, 200, 1000).unsharePID(10, 100)
	table := NewTable(Options{})
	look := []*bpf.Process{s.task(bpf.KindTask, 53, 52, 130, 1000), s.task(bpf.KindTask, 52, 50, 120, 1000), s.task(bpf.KindTask, 50, 1, 100, 1000)}
	if d := cmp.Diff(Drift{Missing: 2, Adopted: 1}, table.Reconcile(look, 900, nil, nil, true)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]box{{Path: "p10", User: 20, UserLevel: 1, Live: 3, Peak: 3, Init: 50}}, boxes(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// User namespaces whose first process never came are forgotten, with those
// around them; a cgroup without a path is asked about again.
func TestSweep(t *testing.T) {
	paths := map[uint64]string{}
	table := NewTable(Options{CgroupPath: func(id uint64) string { return paths[id] }})
	s := host().unshareUser(20, 200, 1000)
	inner := s.unshareUser(21, 210, 0)
	live := host().unshareUser(30, 300, 1000).in(7)
	apply(table, told(s, 100, 7, ext, ext), told(inner, 100, 7, ext, ext), live.fork(50, 1, 100))
	alive := func(*Process) Liveness { return Alive }
	paths[7] = "/late"
	table.Reconcile(nil, 100+sweepAfter, nil, alive, false)
	if n := len(table.UserNamespaces()); n != 3 || table.Process(50).Cgroup.Path != "/late" {
		t.Errorf("%d user namespaces, cgroup %q", n, table.Process(50).Cgroup.Path)
	}
	table.Reconcile(nil, 101+sweepAfter, nil, alive, false)
	audit(t, table)
	if d := cmp.Diff([]nsState{{Key: NSKey{30, 300}, Parent: hostKey}}, nsStates(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	apply(table, exit(50, 100, 200))
	empty(t, table)
}
