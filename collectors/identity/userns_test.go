package identity

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
)

// told is what the kernel tells of a user namespace.
func told(s space, at, sum uint64, uids, gids []bpf.Extent) *bpf.UserNS {
	top := len(s.user) - 1
	l := s.user[top]
	return &bpf.UserNS{
		Time: at, ID: l.UserNSID, MapSum: sum, Inum: l.UserNS, Parent: s.user[top-1].UserNS, Level: top,
		OwnerUID: l.OwnerUID, OwnerGID: l.OwnerGID, UID: uids, GID: gids,
	}
}

// nsState is what matters of a user namespace.
type nsState struct {
	Key    NSKey
	Parent NSKey
	UIDs   UIDMap
	GIDs   GIDMap
	Mapped bool
}

func nsStates(table *Table) (all []nsState) {
	for _, u := range table.UserNamespaces() {
		s := nsState{Key: u.Key, UIDs: u.UIDs, GIDs: u.GIDs, Mapped: u.Mapped}
		if u.Parent != nil {
			s.Parent = u.Parent.Key
		}
		all = append(all, s)
	}
	return all
}

var (
	hostKey = NSKey{Inum: hostUserNS}
	ext     = []bpf.Extent{{First: 0, Host: 1000, Count: 1}}
	wide    = []bpf.Extent{{First: 0, Host: 100000, Count: 65536}}
	uids    = UIDMap{{0, 1000, 1}}
	gids    = GIDMap{{0, 1000, 1}}
)

// The inum of a dead user namespace goes to another one at once.
func TestRecycledUserNS(t *testing.T) {
	for _, tc := range []struct {
		name     string
		old, new space
		told     *bpf.UserNS // between the two
		want     NSKey
	}{
		{"by ns_id", host().unshareUser(20, 200, 1000), host().unshareUser(20, 201, 1000), nil, NSKey{20, 201}},
		{"by owner", host().unshareUser(20, 0, 1000), host().unshareUser(20, 0, 1001), nil, NSKey{20, 300}},
		{"by level", host().unshareUser(20, 0, 1000), host().unshareUser(19, 0, 1000).unshareUser(20, 0, 1000), nil, NSKey{20, 300}},
		{"by maps", host().unshareUser(20, 0, 1000), host().unshareUser(20, 0, 1000),
			told(host().unshareUser(20, 0, 1000), 250, 8, wide, wide), NSKey{20, 250}},
		{"by one map", host().unshareUser(20, 0, 1000), host().unshareUser(20, 0, 1000),
			told(host().unshareUser(20, 0, 1000), 250, 8, ext, wide), NSKey{20, 250}},
		{"by an unwritten map", host().unshareUser(20, 0, 1000), host().unshareUser(20, 0, 1000),
			told(host().unshareUser(20, 0, 1000), 250, 8, nil, nil), NSKey{20, 250}},
	} {
		table := NewTable(Options{})
		apply(table, tc.old.fork(50, 1, 100), told(tc.old, 110, 7, ext, ext))
		old := table.Process(50).Container
		if tc.told != nil {
			apply(table, tc.told)
		}
		apply(table, tc.new.fork(51, 1, 300))
		audit(t, table)
		c := table.Process(51).Container
		if c == old || c.UserNS.Key != tc.want || table.UserNS(tc.want) != c.UserNS || old.Gone() || table.Stats().Recycled != 1 {
			t.Errorf("%s: %+v, %+v, %+v", tc.name, boxOf(c), c.UserNS, table.Stats())
		}
		if table.UserNS(old.UserNS.Key) != nil || !old.UserNS.gone || cmp.Equal(uids, c.UserNS.UIDs) && tc.name != "by one map" {
			t.Errorf("%s: the old one is there: %+v", tc.name, old.UserNS)
		}
		// The exit that was late ends the old container, and not the new one.
		apply(table, exit(50, 100, 400))
		audit(t, table)
		if !old.Gone() || c.Gone() || table.UserNS(tc.want) == nil {
			t.Errorf("%s: %+v, %+v", tc.name, boxOf(old), boxOf(c))
		}
		apply(table, exit(51, 300, 500))
		empty(t, table)
	}
}

// The last child of a user namespace is replaced by another one.
func TestRecycledUnderParent(t *testing.T) {
	parent := host().unshareUser(20, 200, 1000)
	table := NewTable(Options{})
	apply(table, told(parent, 100, 1, ext, ext), told(parent.unshareUser(21, 210, 0), 101, 1, ext, ext))
	again := parent.unshareUser(21, 211, 0)
	apply(table, again.fork(50, 1, 200))
	audit(t, table)
	want := []nsState{{NSKey{20, 200}, hostKey, uids, gids, true}, {NSKey{21, 211}, NSKey{20, 200}, nil, nil, false}}
	if d := cmp.Diff(want, nsStates(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	apply(table, exit(50, 200, 300))
	empty(t, table)
}

// What the ring held of a namespace that a newer one has replaced in the
// snapshot leaves the newer one alone.
func TestOldUserNS(t *testing.T) {
	s := host().unshareUser(20, 201, 1000).unsharePID(10, 100)
	old := host().unshareUser(20, 200, 1000).unsharePID(11, 50)
	table := NewTable(Options{})
	apply(table, s.task(bpf.KindTask, 60, 1, 100, 150), told(s, 151, 7, ext, ext))
	want := nsStates(table)
	table.TakeChanges()
	apply(table, told(old, 49, 6, wide, wide))
	if n := len(table.TakeChanges().Namespaces); n != 0 {
		t.Errorf("%d user namespaces of old maps", n)
	}
	apply(table, old.fork(50, 1, 50), old.task(bpf.KindExec, 50, 1, 50, 60), old.fork(51, 50, 70))
	audit(t, table)
	if d := cmp.Diff(want, nsStates(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[HostPID]string{50: "p11", 51: "p11", 60: "p10"}, where(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	apply(table, exit(50, 50, 80), exit(51, 70, 81))
	audit(t, table)
	if d := cmp.Diff(want, nsStates(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if c := table.TakeChanges(); len(c.GoneNS) != 1 || c.GoneNS[0].Key != (NSKey{20, 200}) || len(c.Exited) != 2 {
		t.Errorf("%+v", c)
	}
	apply(table, exit(60, 100, 200))
	empty(t, table)

	// Without ns_id, the owner tells.
	s, old = host().unshareUser(20, 0, 1000), host().unshareUser(20, 0, 1001)
	apply(table, s.task(bpf.KindTask, 60, 1, 100, 150))
	table.TakeChanges()
	apply(table, told(old, 49, 6, wide, wide))
	if n := len(table.TakeChanges().Namespaces); n != 0 {
		t.Errorf("%d user namespaces of old maps", n)
	}
	if d := cmp.Diff([]nsState{{NSKey{20, 150}, hostKey, nil, nil, false}}, nsStates(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	apply(table, exit(60, 100, 200))
	empty(t, table)
}

// Maps are written one after the other, and told of more than once.
func TestApplyUserNS(t *testing.T) {
	for _, id := range []uint64{0, 200} {
		s := host().unshareUser(20, id, 1000)
		gen := max(id, 100)
		for _, tc := range []struct {
			name    string
			records []any
			want    nsState
		}{
			{"unwritten", []any{told(s, 110, 5, nil, nil)}, nsState{UIDs: nil}},
			{"both", []any{told(s, 110, 7, ext, ext)}, nsState{UIDs: uids, GIDs: gids, Mapped: true}},
			{"unwritten, then both", []any{told(s, 110, 5, nil, nil), told(s, 120, 7, ext, ext)}, nsState{UIDs: uids, GIDs: gids, Mapped: true}},
			{"uids, then gids", []any{told(s, 110, 6, ext, nil), told(s, 120, 7, ext, ext)}, nsState{UIDs: uids, GIDs: gids, Mapped: true}},
			{"gids, then uids", []any{told(s, 110, 6, nil, ext), told(s, 120, 7, ext, ext)}, nsState{UIDs: uids, GIDs: gids, Mapped: true}},
			{"unwritten, late", []any{told(s, 120, 7, ext, ext), told(s, 110, 5, nil, nil)}, nsState{UIDs: uids, GIDs: gids, Mapped: true}},
			{"half, late", []any{told(s, 120, 7, ext, ext), told(s, 110, 6, ext, nil)}, nsState{UIDs: uids, GIDs: gids, Mapped: true}},
			{"half, late, twice", []any{told(s, 110, 6, ext, nil), told(s, 130, 7, ext, ext), told(s, 130, 7, ext, ext), told(s, 120, 6, ext, nil)},
				nsState{UIDs: uids, GIDs: gids, Mapped: true}},
		} {
			table := NewTable(Options{})
			apply(table, s.fork(50, 1, 100))
			apply(table, tc.records...)
			tc.want.Key, tc.want.Parent = NSKey{20, gen}, hostKey
			if d := cmp.Diff([]nsState{tc.want}, nsStates(table)); d != "" || table.Stats().Recycled != 0 {
				t.Errorf("%s, id %d: %+v (-want +got):\n%s", tc.name, id, table.Stats(), d)
			}
			// With the maps known, a member needs none.
			table.TakeChanges()
			r := s.task(bpf.KindTask, 50, 1, 100, 200)
			r.MapSum = 7
			apply(table, r)
			if need := table.TakeChanges().NeedMaps; (len(need) == 0) != (len(tc.want.GIDs) > 0) {
				t.Errorf("%s, id %d: maps needed by %v", tc.name, id, need)
			}
			apply(table, exit(50, 100, 300))
			empty(t, table)
		}
	}
}

// A map that could not be read whole is replaced by one that could.
func TestPartialMap(t *testing.T) {
	s := host().unshareUser(20, 200, 1000)
	table := NewTable(Options{})
	part := told(s, 110, 7, nil, nil)
	part.Partial = true
	apply(table, s.fork(50, 1, 100), part)
	if u := table.UserNamespaces()[0]; !u.Mapped || !u.Partial || u.UIDs.Size() != 0 {
		t.Errorf("%+v", u)
	}
	apply(table, told(s, 120, 7, ext, ext))
	if u := table.UserNamespaces()[0]; !u.Mapped || u.Partial || !cmp.Equal(uids, u.UIDs) {
		t.Errorf("%+v", u)
	}
}

// Told from the inside out, before any process: parents are found later.
func TestUserNSFromInside(t *testing.T) {
	outer := host().unshareUser(20, 200, 1000)
	inner := outer.unshareUser(21, 210, 0)
	table := NewTable(Options{})
	apply(table, told(inner, 100, 7, ext, ext), told(outer, 100, 7, ext, ext))
	audit(t, table)
	apply(table, inner.fork(50, 1, 110))
	audit(t, table)
	want := []nsState{{NSKey{20, 200}, hostKey, uids, gids, true}, {NSKey{21, 210}, NSKey{20, 200}, uids, gids, true}}
	if d := cmp.Diff(want, nsStates(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	apply(table, exit(50, 110, 120))
	empty(t, table)
}

// A generation from before a restart is taken up by what is the same, and by
// nothing else.
func TestGeneration(t *testing.T) {
	var asked int
	o := Options{Generation: func(inum uint32, level int, owner HostUID, sum uint64) (uint64, bool) {
		asked++
		return 42, inum == 20 && level == 1 && owner == 1000 && sum == 7
	}}
	s := host().unshareUser(20, 0, 1000)
	known := func(s space, kind bpf.Kind, sum uint64) *bpf.Process {
		r := s.task(kind, 50, 1, 90, 100)
		r.MapSum = sum
		return r
	}
	for name, tc := range map[string]struct {
		records []any
		gen     uint64
	}{
		"snapshot":          {[]any{known(s, bpf.KindTask, 7), told(s, 110, 7, ext, ext)}, 42},
		"its record first":  {[]any{told(s, 99, 7, ext, ext), known(s, bpf.KindExec, 7)}, 42},
		"other maps":        {[]any{known(s, bpf.KindTask, 8), told(s, 110, 8, wide, wide)}, 100},
		"another's":         {[]any{known(host().unshareUser(20, 0, 1001), bpf.KindTask, 7)}, 100},
		"of a newer kernel": {[]any{known(host().unshareUser(20, 200, 1000), bpf.KindTask, 7)}, 200},
	} {
		table := NewTable(o)
		apply(table, tc.records...)
		audit(t, table)
		if got := table.Process(50).Container.UserNS.Key; got != (NSKey{20, tc.gen}) || table.UserNamespaces()[0].Key != got {
			t.Errorf("%s: %v, want generation %d", name, got, tc.gen)
		}
		apply(table, exit(50, 90, 200))
		empty(t, table)
	}
	if asked == 0 {
		t.Error("nobody asked")
	}
}
