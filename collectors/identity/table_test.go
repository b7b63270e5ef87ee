package identity

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
)

// However often and late records come, a process counts once.
func TestApplyTwice(t *testing.T) {
	s := host().unshareUser(20, 200, 1000).unsharePID(10, 100)
	fork, child := s.fork(50, 1, 100), s.fork(51, 50, 110)
	exec := s.task(bpf.KindExec, 51, 50, 110, 120)
	exec.Comm, exec.Exe, exec.Argv, exec.HasArgs, exec.UID = "sh", "/bin/sh", []string{"sh"}, true, 7
	dead := s.task(bpf.KindTask, 52, 50, 105, 130)
	dead.Zombie = true
	for name, records := range map[string][]any{
		"in order":                {fork, child, exec},
		"twice":                   {fork, fork, child, child, exec, exec},
		"exec before fork":        {fork, exec, child},
		"a snapshot before them":  {s.task(bpf.KindTask, 50, 1, 100, 130), child, exec, fork, child},
		"child before parent":     {exec, fork, child},
		"with a zombie":           {fork, child, exec, dead},
		"with another's exit":     {fork, child, exec, exit(51, 109, 140), exit(53, 1, 140)},
		"with an older pid owner": {fork, exec, host().unsharePID(11, 90).task(bpf.KindFork, 51, 1, 90, 90)},
	} {
		table := NewTable(Options{})
		apply(table, records...)
		audit(t, table)
		if d := cmp.Diff(map[HostPID]string{50: "p10", 51: "p10"}, where(table)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		p := table.Process(51)
		if p.Comm != "sh" || p.Exe != "/bin/sh" || p.UID != 7 || !cmp.Equal([]string{"sh"}, p.Argv) || p.Last != 120 {
			t.Errorf("%s: older facts replaced newer ones: %+v", name, p)
		}
		if c := table.Containers()[0]; c.Live != 2 || c.Peak != 2 || c.Init.PID != 50 || table.Stats() != (TableStats{}) {
			t.Errorf("%s: %+v, %+v", name, boxOf(c), table.Stats())
		}
		apply(table, &bpf.Exit{Time: 150, Start: 110, PID: 51, Code: 9, OOM: true}, exit(51, 110, 151), exit(50, 100, 152))
		empty(t, table)
		if !p.Exited || p.ExitCode != 9 || !p.OOM || p.Last != 150 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestUntoldExec: a step of the exec counter without a record of the exec makes
// the command line unknown; it is not that of the program before.
func TestUntoldExec(t *testing.T) {
	table := NewTable(Options{})
	s := host().unshareUser(20, 200, 1000).unsharePID(10, 100)
	record := func(kind bpf.Kind, id uint32, at uint64, argv ...string) *bpf.Process {
		r := s.task(kind, 50, 1, 100, at)
		r.ExecID, r.Argv, r.HasArgs = id, argv, len(argv) > 0
		return r
	}
	apply(table, record(bpf.KindFork, 7, 100), record(bpf.KindExec, 8, 110, "first"), record(bpf.KindTask, 8, 120))
	p := table.Process(50)
	if !cmp.Equal([]string{"first"}, p.Argv) {
		t.Errorf("command line %q", p.Argv)
	}
	apply(table, record(bpf.KindTask, 9, 130), record(bpf.KindExec, 8, 110, "first"))
	if p.Argv != nil {
		t.Errorf("command line %q is of a program that is gone", p.Argv)
	}
	apply(table, record(bpf.KindExec, 9, 125, "second"))
	if !cmp.Equal([]string{"second"}, p.Argv) {
		t.Errorf("command line %q", p.Argv)
	}
}

func TestChanges(t *testing.T) {
	table := NewTable(Options{})
	s := host().unshareUser(20, 200, 1000).unsharePID(10, 100)
	apply(table, s.fork(50, 1, 100), s.fork(51, 50, 110), s.task(bpf.KindTask, 51, 50, 110, 115))
	exec := s.task(bpf.KindExec, 51, 50, 110, 120)
	exec.MapSum = 5 // written meanwhile
	setuid := s.task(bpf.KindTask, 50, 1, 100, 125)
	setuid.UID = 3
	late := exit(99, 98, 130)
	apply(table, exec, setuid, late, exit(51, 110, 140), exit(50, 100, 150))
	type heard struct {
		Seen, Exited []HostPID
		New, Gone    []string
		NS, GoneNS   []NSKey
		Late         []bpf.Exit
		Need         []HostPID
	}
	c, got := table.TakeChanges(), heard{}
	for _, p := range c.Seen {
		got.Seen = append(got.Seen, p.Key.PID)
	}
	for _, p := range c.Exited {
		got.Exited = append(got.Exited, p.Key.PID)
	}
	for _, x := range c.Containers {
		got.New = append(got.New, inums(x))
	}
	for _, x := range c.Gone {
		got.Gone = append(got.Gone, inums(x))
	}
	for _, u := range c.Namespaces {
		got.NS = append(got.NS, u.Key)
	}
	for _, u := range c.GoneNS {
		got.GoneNS = append(got.GoneNS, u.Key)
	}
	got.Late, got.Need = c.LateExits, c.NeedMaps
	key := []NSKey{{20, 200}}
	want := heard{[]HostPID{50, 51, 51, 50}, []HostPID{51, 50}, []string{"p10"}, []string{"p10"}, key, key, []bpf.Exit{*late}, []HostPID{51}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff(Changes{}, table.TakeChanges()); d != "" {
		t.Errorf("told twice:\n%s", d)
	}
}

// A pid whose exit was missed goes to its next owner.
func TestPIDReuse(t *testing.T) {
	table := NewTable(Options{})
	a, b := host().unsharePID(10, 100), host().unsharePID(11, 200)
	apply(table, a.fork(50, 1, 100), b.fork(50, 1, 200))
	audit(t, table)
	if d := cmp.Diff(map[HostPID]string{50: "p11"}, where(table)); d != "" || table.Stats().MissedExits != 1 {
		t.Errorf("%+v (-want +got):\n%s", table.Stats(), d)
	}
	gone := table.TakeChanges().Exited
	if len(gone) != 1 || gone[0].Key != (ProcessKey{50, 100}) || gone[0].Last != 200 {
		t.Errorf("%+v", gone)
	}
	// Neither an old record nor the old exit touches the new owner.
	apply(table, a.task(bpf.KindExec, 50, 1, 100, 150), exit(50, 100, 199), &bpf.Attach{Time: 300, Start: 100, PID: 50, Cgroup: 9})
	if d := cmp.Diff(map[HostPID]string{50: "p11"}, where(table)); d != "" || table.Process(50).Cgroup.ID != 1 {
		t.Errorf("(-want +got):\n%s", d)
	}
	apply(table, exit(50, 200, 300))
	empty(t, table)
}

// Containers come with their parents, and stay for as long as one lives inside.
func TestParents(t *testing.T) {
	table := NewTable(Options{Boot: "b"})
	a := host().unshareUser(20, 200, 1000).unsharePID(10, 100)
	b := a.unsharePID(11, 110)
	c := b.unshareUser(21, 210, 0).unsharePID(12, 120)
	apply(table, c.fork(52, 51, 120)) // the innermost alone tells of all
	want := []box{
		{Path: "p10", User: 20, UserLevel: 1, Children: 1},
		{Path: "p10/p11", User: 20, UserLevel: 1, Children: 1},
		{Path: "p10/p11/p12", User: 21, UserLevel: 2, Live: 1, Peak: 1, Init: 52},
	}
	if d := cmp.Diff(want, boxes(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	all := table.Containers()
	apply(table, a.fork(50, 1, 100), b.fork(51, 50, 110), b.fork(53, 51, 130), exit(52, 120, 140), exit(50, 100, 150))
	audit(t, table)
	want = []box{
		{Path: "p10", User: 20, UserLevel: 1, Peak: 1, Children: 1, Init: 50},
		{Path: "p10/p11", User: 20, UserLevel: 1, Live: 2, Peak: 2, Init: 51},
	}
	if d := cmp.Diff(want, boxes(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if n := table.UserNamespaces(); len(n) != 1 || n[0].Key != (NSKey{20, 200}) {
		t.Errorf("%v", n)
	}
	if x := all[2]; !x.Gone() || x.Last != 140 || table.Container(x.ID) != nil || x.Outer() != all[0] {
		t.Errorf("%+v", x)
	}
	apply(table, exit(51, 110, 160), exit(53, 130, 170))
	empty(t, table)
	if !all[0].Gone() || all[0].Last != 170 || all[1].Last != 170 {
		t.Errorf("%+v, %+v", all[0], all[1])
	}
	// Ids hold for one boot, and for one namespace.
	again, other := NewTable(Options{Boot: "b"}), NewTable(Options{Boot: "c"})
	apply(again, c.fork(52, 51, 120), a.unsharePID(11, 111).fork(60, 1, 200))
	apply(other, c.fork(52, 51, 120))
	for _, x := range all {
		if again.Container(x.ID) == nil || other.Container(x.ID) != nil {
			t.Errorf("id of %s: %v, in another boot %v", inums(x), again.Container(x.ID), other.Container(x.ID))
		}
	}
	if len(again.Containers()) != 4 {
		t.Errorf("one inum, two starts: %v", boxes(again))
	}
}

// Which container a process is in, by its namespaces.
func TestChain(t *testing.T) {
	h := host()
	podman := h.unshareUser(20, 200, 1000)
	for name, tc := range map[string]struct {
		s    space
		want []box
	}{
		"pid namespace only": {h.unsharePID(10, 100), []box{{Path: "p10", User: hostUserNS}}},
		"user namespace only": {h.unshareUser(20, 200, 0).unshareUser(21, 210, 0),
			[]box{{Path: "u20", User: 20, UserLevel: 1}, {Path: "u20/u21", User: 21, UserLevel: 2}}},
		"rootless podman, as root":      {podman.unsharePID(10, 100), []box{{Path: "p10", User: 20, UserLevel: 1}}},
		"rootless podman with a userns": {podman.unshareUser(21, 210, 1000).unsharePID(10, 100), []box{{Path: "p10", User: 21, UserLevel: 2}}},
		"podman in a sandbox": {podman.unsharePID(10, 100).unshareUser(21, 210, 0).unshareUser(22, 220, 0).unsharePID(11, 110),
			[]box{{Path: "p10", User: 20, UserLevel: 1}, {Path: "p10/p11", User: 22, UserLevel: 3}}},
		"unshare in a container": {podman.unsharePID(10, 100).unshareUser(21, 210, 0),
			[]box{{Path: "p10", User: 20, UserLevel: 1}, {Path: "p10/u21", User: 21, UserLevel: 2}}},
		"two pid namespaces of one owner": {podman.unsharePID(10, 100).unsharePID(11, 110),
			[]box{{Path: "p10", User: 20, UserLevel: 1}, {Path: "p10/p11", User: 20, UserLevel: 1}}},
		"entered without the owner": {space{podman.unsharePID(10, 100).pid, h.user, 1}, []box{{Path: "p10", User: hostUserNS}}},
	} {
		table := NewTable(Options{})
		apply(table, tc.s.fork(50, 1, 500))
		for i := range tc.want {
			tc.want[i].Children = 1
		}
		last := &tc.want[len(tc.want)-1]
		last.Children, last.Live, last.Peak, last.Init = 0, 1, 1, 50
		if d := cmp.Diff(tc.want, boxes(table)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		r := tc.s.fork(51, 50, 600)
		inner, user := tc.s.pid[len(tc.s.pid)-1], tc.s.user[len(tc.s.user)-1]
		c := table.Process(50).Container
		if got := table.Owner(pidKey(inner), user.UserNS, user.UserNSID); got != c || table.ContainerOf(r) != c.ID {
			t.Errorf("%s: owner %v, container %q, want %s", name, got, table.ContainerOf(r), c.ID)
		}
		// A user namespace that is gone leaves it to the pid namespace.
		var outer *Container
		for _, x := range table.Containers() {
			if !x.byUser && x.PIDNS == pidKey(inner) {
				outer = x
			}
		}
		for _, gone := range []bpf.Level{{UserNS: 99, UserNSID: 1}, {UserNS: user.UserNS, UserNSID: 999}} {
			if got := table.Owner(pidKey(inner), gone.UserNS, gone.UserNSID); got != outer && gone.UserNS != hostUserNS {
				t.Errorf("%s: owner %v, want %v", name, got, outer)
			}
		}
		apply(table, exit(50, 500, 700))
		empty(t, table)
		if got := table.Owner(pidKey(inner), user.UserNS, user.UserNSID); got != nil || table.ContainerOf(r) != "" {
			t.Errorf("%s: the dead own: %v, %q", name, got, table.ContainerOf(r))
		}
	}
}

// setns and unshare are seen with the next record, and leave nothing behind.
func TestMoves(t *testing.T) {
	table := NewTable(Options{})
	a := host().unshareUser(20, 200, 1000).unsharePID(10, 100)
	b := a.unshareUser(21, 210, 0)
	other := host().unshareUser(30, 300, 1001)
	apply(table, a.fork(50, 1, 100), a.fork(51, 50, 110))
	apply(table, b.task(bpf.KindTask, 51, 50, 110, 120))
	audit(t, table)
	want := []box{
		{Path: "p10", User: 20, UserLevel: 1, Live: 1, Peak: 2, Children: 1, Init: 50},
		{Path: "p10/u21", User: 21, UserLevel: 2, Live: 1, Peak: 1, Init: 51},
	}
	if d := cmp.Diff(want, boxes(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if c := table.Process(50).Container; c.First != 100 || c.Last != 120 {
		t.Errorf("seen from %d to %d", c.First, c.Last)
	}
	if n := len(table.TakeChanges().Seen); n != 3 {
		t.Errorf("%d told, want the move as well", n)
	}
	apply(table, other.task(bpf.KindTask, 51, 50, 110, 130), a.task(bpf.KindTask, 51, 50, 110, 125))
	audit(t, table)
	if d := cmp.Diff(map[HostPID]string{50: "p10", 51: "u30"}, where(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if gone := table.TakeChanges(); len(gone.Gone) != 1 || len(gone.GoneNS) != 1 || gone.GoneNS[0].Key != (NSKey{21, 210}) {
		t.Errorf("%+v", gone)
	}
	if d := cmp.Diff([]PID(nil), table.Process(51).PIDs, equateEmpty); d != "" {
		t.Errorf("pids (-want +got):\n%s", d)
	}
	// The last one moves out: the container ends.
	apply(table, other.task(bpf.KindTask, 50, 1, 100, 140))
	audit(t, table)
	if d := cmp.Diff([]box{{Path: "u30", User: 30, UserLevel: 1, Live: 2, Peak: 2, Init: 51}}, boxes(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	members := table.Members(30, 9)
	if slices.Sort(members); !cmp.Equal([]HostPID{50, 51}, members) || len(table.Members(30, 1)) != 1 || table.Members(20, 9) != nil {
		t.Errorf("%v", members)
	}
	apply(table, exit(50, 100, 150), exit(51, 110, 150))
	empty(t, table)
}
