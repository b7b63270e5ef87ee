package identity

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
)

// records is what a history, or a table, knows.
type records struct {
	containers map[string]ContainerRecord
	spaces     map[NSKey]UserNSRecord
}

func (r records) Container(id string) (ContainerRecord, bool) {
	c, ok := r.containers[id]
	return c, ok
}
func (r records) UserNS(key NSKey) (UserNSRecord, bool) { u, ok := r.spaces[key]; return u, ok }

var (
	clock = Clock{Boot: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)}
	node  = Node{ID: "ed5ed647", Name: "node1", PIDNS: hostPIDNS, UserNS: hostUserNS}
)

func recordsOf(table *Table) records {
	r := records{map[string]ContainerRecord{}, map[NSKey]UserNSRecord{}}
	for _, c := range table.Containers() {
		r.containers[c.ID] = c.Record(clock)
	}
	for _, u := range table.UserNamespaces() {
		r.spaces[u.Key] = u.Record(clock)
	}
	return r
}

func ptr[T any](v T) *T { return &v }

// sandbox is a table with rootless podman in it: web in a sandbox, with a user
// namespace between.
func sandbox() *Table {
	table := NewTable(Options{Boot: "b"})
	outer := host().unshareUser(20, 200, 0).unsharePID(10, 100)
	middle := outer.unshareUser(21, 210, 101000)
	web := middle.unshareUser(22, 220, 101000).unsharePID(11, 110)
	init := web.task(bpf.KindExec, 50, 40, 110, 120)
	init.UID, init.GID, init.RUID, init.RGID, init.MntNS = 101000, 300005, 101000, 300005, 77
	init.Comm, init.HasArgs, init.Exe, init.Argv, init.ArgvCut = "sh\xff", true, "/bin/sh\n\xfd", []string{"sh", "-c", "\x1b[2J\xfe"}, true
	id := func(first, host, n uint32) []bpf.Extent { return []bpf.Extent{{First: first, Host: host, Count: n}} }
	apply(table,
		outer.fork(40, 1, 100), init,
		told(outer, 121, 1, id(0, 100000, 65536), id(0, 100000, 65536)),
		told(middle, 121, 2, id(0, 101000, 1), id(0, 101000, 1)),
		told(web, 121, 3, id(5, 101000, 1), nil))
	c := table.Process(50).Container
	c.Name = Name{Runtime: "podman", ID: strings.Repeat("ab", 32), Name: "w\xffeb", Image: "img\xfe", Source: "cgroup"}
	return table
}

func TestDescribe(t *testing.T) {
	table := sandbox()
	l, p := recordsOf(table), table.Process(50)
	want := Identity{
		State: "live", Host: Host{50, 101000, 300005, clock.At(110)},
		Command: `sh -c ` + "\x1b" + `[2J\xfe`, Comm: `sh\xff`, Exe: "/bin/sh\n" + `\xfd`, Argv: []string{"sh", "-c", "\x1b" + `[2J\xfe`}, ArgvCut: true,
		PPID: 40, MntNS: 77, Threads: 1, FirstSeen: clock.At(120), LastSeen: clock.At(120), PIDs: []PID{50, 51, 1},
		Chain: []Link{
			{Kind: "node", ID: "ed5ed647", Name: "node1", Runtime: "host", PID: ptr(PID(50)), UID: ptr(UID(101000)), GID: ptr(GID(300005)),
				PIDNS: hostPIDNS, UserNS: hostUserNS},
			{Kind: "container", ID: p.Container.Parent.ID, Name: "c40", Level: 1, PID: ptr(PID(51)), UID: ptr(UID(1000)), Unmapped: true,
				PIDNS: 10, UserNS: 20},
			{Kind: "container", ID: p.Container.ID, Name: `w\xffeb`, Runtime: "podman", ContainerID: strings.Repeat("ab", 32), Image: `img\xfe`,
				Level: 2, PID: ptr(PID(1)), UID: ptr(UID(5)), Unmapped: true, PIDNS: 11, UserNS: 22},
		},
		UserNSs: []UserLevel{
			{UserNS: hostUserNS, UID: ptr(UID(101000)), GID: ptr(GID(300005))},
			{Level: 1, UserNS: 20, UID: ptr(UID(1000)), Unmapped: true},
			{Level: 2, UserNS: 21, UID: ptr(UID(0)), Unmapped: true},
			{Level: 3, UserNS: 22, UID: ptr(UID(5)), Unmapped: true},
		},
	}
	got := Describe(p.Record(clock), node, l)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	b, err := json.Marshal(got)
	if err != nil || !utf8.Valid(b) || strings.Contains(string(b), "65534") || !strings.Contains(string(b), `"gid":null,"unmapped":true`) {
		t.Errorf("%v: %s", err, b)
	}

	// The dead, with an unset command line and an audit id.
	r := p.Record(clock)
	r.Exited, r.ExitTold, r.ExitCode, r.Argv, r.LoginUID, r.Outside = true, true, 9|0x80, []string{"", ""}, 1000, true
	got = Describe(r, node, l)
	if got.State != "exited" || got.Command != `sh\xff` || *got.LoginUID != 1000 || !got.Escaped || *got.Exit != (Exit{-1, 9, true, false}) {
		t.Errorf("%+v, exit %+v", got, got.Exit)
	}
	untold := r
	untold.ExitTold = false
	if got := Describe(untold, node, l); got.State != "exited" || got.Exit != nil {
		t.Errorf("state %s, exit %+v of a process whose end nobody told", got.State, got.Exit)
	}
	// What the history has forgotten is left out, and no id is made up.
	delete(l.containers, p.Container.Parent.ID)
	delete(l.spaces, NSKey{22, 220})
	got = Describe(r, node, l)
	if len(got.Chain) != 2 || got.Chain[1].UID != nil || !got.Chain[1].Unmapped || *got.Chain[1].PID != 1 || len(got.UserNSs) != 1 {
		t.Errorf("%+v, %+v", got.Chain, got.UserNSs)
	}
	// A container without a pid namespace has the host's pids; one without a
	// user namespace its ids.
	table = NewTable(Options{})
	apply(table, host().unshareUser(20, 200, 0).fork(60, 1, 100), host().unsharePID(12, 100).fork(61, 1, 100))
	l = recordsOf(table)
	user := Describe(table.Process(60).Record(clock), node, l).Chain[1]
	pid := Describe(table.Process(61).Record(clock), node, l).Chain[1]
	if *user.PID != 60 || !user.Unmapped || user.UID != nil || *pid.PID != 1 || pid.Unmapped || *pid.UID != 0 || *pid.GID != 0 {
		t.Errorf("%+v, %+v", user, pid)
	}
}

func TestExit(t *testing.T) {
	for code, want := range map[uint32]Exit{
		0: {}, 3 << 8: {Code: 3}, 255 << 8: {Code: 255}, 9: {Code: -1, Signal: 9}, 11 | 0x80: {Code: -1, Signal: 11, Core: true}, 15 | 7<<8: {Code: -1, Signal: 15},
	} {
		for _, oom := range []bool{false, true} {
			want.OOM = oom
			if d := cmp.Diff(&want, describeExit(ProcessRecord{ExitCode: code, OOM: oom})); d != "" {
				t.Errorf("%#x (-want +got):\n%s", code, d)
			}
		}
	}
}

// A history may hold anything: a chain ends.
func TestChainOf(t *testing.T) {
	l := records{containers: map[string]ContainerRecord{"a": {ID: "a"}, "b": {ID: "b", Parent: "a"}, "c": {ID: "c", Parent: "b"},
		"orphan": {ID: "orphan", Parent: "gone"}, "self": {ID: "self", Parent: "self"}}}
	ids := func(id string) (all []string) {
		for _, c := range ChainOf(id, l) {
			all = append(all, c.ID)
		}
		return all
	}
	got := [][]string{ids("c"), ids("a"), ids("orphan"), ids(""), ids("nobody")}
	if d := cmp.Diff([][]string{{"a", "b", "c"}, {"a"}, {"orphan"}, nil, nil}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if n := len(ChainOf("self", l)); n != maxChain {
		t.Errorf("a chain of %d", n)
	}
}

func TestDescribeID(t *testing.T) {
	table := sandbox()
	l, c := recordsOf(table), table.Process(50).Container.Record(clock)
	type ids struct {
		UID      *UID
		GID      *GID
		Unmapped bool
	}
	chain := func(id uint32, gid bool) (all []ids) {
		for _, k := range DescribeID(c, id, gid, node, l).Chain {
			all = append(all, ids{k.UID, k.GID, k.Unmapped})
		}
		return all
	}
	for _, tc := range []struct {
		id   uint32
		gid  bool
		want []ids
		owns bool
	}{
		{101000, false, []ids{{UID: ptr(UID(101000))}, {UID: ptr(UID(1000))}, {UID: ptr(UID(5))}}, true},
		{101001, false, []ids{{UID: ptr(UID(101001))}, {UID: ptr(UID(1001))}, {Unmapped: true}}, false},
		{101000, true, []ids{{GID: ptr(GID(101000))}, {GID: ptr(GID(1000))}, {Unmapped: true}}, false},
		{7, false, []ids{{UID: ptr(UID(7))}, {Unmapped: true}, {Unmapped: true}}, false},
	} {
		if d := cmp.Diff(tc.want, chain(tc.id, tc.gid)); d != "" {
			t.Errorf("%d, gid %v (-want +got):\n%s", tc.id, tc.gid, d)
		}
		if got := Owns(c, tc.id, tc.gid, l); got != tc.owns {
			t.Errorf("%d, gid %v: owns it: %v", tc.id, tc.gid, got)
		}
	}
	for _, tc := range []struct {
		in   uint32
		gid  bool
		want answered
	}{{5, false, answered{101000, true}}, {6, false, answered{}}, {5, true, answered{}}} {
		if h, ok := ToHost(c, tc.in, tc.gid, l); (answered{h, ok}) != tc.want {
			t.Errorf("%d, gid %v: %d, %v, want %v", tc.in, tc.gid, h, ok, tc.want)
		}
	}
	outer := l.containers[c.Parent]
	if h, ok := ToHost(outer, 65535, true, l); h != 165535 || !ok || !Owns(outer, 165535, true, l) || Owns(outer, 165536, true, l) {
		t.Errorf("%d, %v", h, ok)
	}
	// The initial namespace has all ids and owns none; an unknown one neither.
	if h, ok := ToHost(ContainerRecord{}, 7, false, l); h != 7 || !ok || Owns(ContainerRecord{}, 7, false, l) {
		t.Errorf("%d, %v", h, ok)
	}
	l.spaces[hostKey] = UserNSRecord{Key: hostKey, UIDs: UIDMap{{Count: NoID}}}
	if Owns(ContainerRecord{UserNS: hostKey}, 7, false, l) {
		t.Error("the initial namespace owns")
	}
	lost := ContainerRecord{UserNS: NSKey{99, 1}, UserLevel: 1}
	if _, ok := ToHost(lost, 7, false, l); ok || Owns(lost, 7, false, l) {
		t.Error("an unknown namespace has ids")
	}
	c.Gone = true
	if o := DescribeID(c, 7, false, node, l); o.State != "gone" || o.FirstSeen != clock.At(120) || o.LastSeen != clock.At(120) {
		t.Errorf("%+v", o)
	}
}
