package identity

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(sec int64) time.Time { return time.Unix(sec, 0) }

var (
	runtimeID = strings.Repeat("beef", 16)
	forest    = []ContainerRecord{
		{ID: "aaaa00000001", Display: "web", Name: Name{Name: "web", ID: runtimeID}, Last: at(9)},
		{ID: "aaaa00000002", Parent: "aaaa00000001", Display: "buildkit", Last: at(9)},
		{ID: "bbbb00000003", Parent: "aaaa00000002", Display: "db", Last: at(9)},
		{ID: "cccc00000004", Display: "other", Last: at(9)},
		{ID: "dddd00000005", Parent: "cccc00000004", Display: "db", Last: at(9)},
		{ID: "dddd00000006", Parent: "cccc00000004", Display: "a/b", Name: Name{Name: "dead"}, Last: at(9)},
		{ID: "eeee00000007", Display: "job", Gone: true, Last: at(1)},
		{ID: "eeee00000008", Display: "job", Gone: true, Last: at(3)},
		{ID: "eeee00000009", Display: "job", Gone: true, Last: at(2)},
		{ID: "ffff0000000a", Display: "db", Gone: true, Last: at(99)},
		{ID: "deadbeef000b", Parent: "cccc00000004", Display: "cccc00000004", Last: at(9)}, // poses as the one around it
		{ID: "ffff0000000c", Display: "\x1b[31m\n", Last: at(9)},
	}
)

func TestSelect(t *testing.T) {
	for expr, want := range map[string]string{
		"aaaa00000001":    "aaaa00000001",
		"aaaa00000002":    "aaaa00000002",
		"bbbb":            "bbbb00000003",
		"bbbb0":           "bbbb00000003",
		runtimeID:         "aaaa00000001",
		"beef":            "aaaa00000001",
		runtimeID[:12]:    "aaaa00000001",
		"web":             "aaaa00000001",
		"  web\n":         "aaaa00000001",
		"web/db":          "bbbb00000003", // not right below
		"web/buildkit/db": "bbbb00000003",
		"aaaa00000001/db": "bbbb00000003",
		"beef/bbbb":       "bbbb00000003",
		"other/db":        "dddd00000005",
		"node/other/db":   "dddd00000005",
		"node ▸ web ▸ db": "bbbb00000003",
		"/web//db/":       "bbbb00000003",
		"a/b":             "dddd00000006", // a name with a slash
		"job":             "eeee00000008", // the newest of the gone
		"eeee00000007":    "eeee00000007",
		"cccc00000004":    "cccc00000004",
		"deadbeef":        "deadbeef000b",
		"\x1b[31m":        "",
		"eb":              "",
		"aaa":             "", // fewer than four digits
		"BBBB":            "",
		"bbbb00000003x":   "",
		"db/web":          "",
		"web/web":         "",
		"other/web":       "",
		"web/nobody/db":   "",
		"":                "",
		" ":               "",
		"/":               "",
		"▸":               "",
		"node":            "",
		"../web/..":       "",
	} {
		got, err := Select(expr, forest)
		if got.ID != want || (want == "") != errors.Is(err, ErrNoContainer) || errors.Is(err, ErrAmbiguous) {
			t.Errorf("%q: %q, %v, want %q", expr, got.ID, err, want)
		}
	}
	for expr, want := range map[string][]string{
		"db":   {"bbbb00000003", "dddd00000005"}, // not the gone one, though newer
		"aaaa": {"aaaa00000001", "aaaa00000002"},
		"dead": {"dddd00000006", "deadbeef000b"},
		"dddd": {"dddd00000005", "dddd00000006"},
	} {
		got, err := Select(expr, forest)
		if !errors.Is(err, ErrAmbiguous) || !strings.HasSuffix(err.Error(), "one of "+strings.Join(want, ", ")) || got.ID != "" {
			t.Errorf("%q: %q, %v, want %q", expr, got.ID, err, want)
		}
	}
}

// Errors can be printed, whatever was asked for and whoever answers.
func TestSelectHostile(t *testing.T) {
	var many []ContainerRecord
	for i := range 20 {
		many = append(many, ContainerRecord{ID: fmt.Sprintf("abcd0000%04d", i), Display: "\x1b]0;x\a\n\xff", Name: Name{Name: "\u202e"}})
	}
	for _, expr := range []string{"\x1b]0;x\a\n\xff", "\u202e", "\xff\x00", "\x1b[2J/▸/\n", strings.Repeat("/", 1<<16), strings.Repeat("x/", 1<<12)} {
		_, err := Select(expr, many)
		if err == nil || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e || r == 0xfffd }) {
			t.Errorf("%.40q: %.200q", expr, err)
		}
	}
	_, err := Select("\u202e", many)
	if !errors.Is(err, ErrAmbiguous) || strings.Count(err.Error(), "abcd") != 8 {
		t.Errorf("%q", err)
	}
	if _, err := Select("x", nil); !errors.Is(err, ErrNoContainer) {
		t.Errorf("%v", err)
	}
}

func TestBelow(t *testing.T) {
	ids := func(id string) (all []string) {
		for _, c := range Below(forest, id) {
			all = append(all, c.ID)
		}
		slices.Sort(all)
		return all
	}
	got := [][]string{ids("aaaa00000001"), ids("cccc00000004"), ids("bbbb00000003"), ids("nobody"), ids("")}
	want := [][]string{
		{"aaaa00000001", "aaaa00000002", "bbbb00000003"},
		{"cccc00000004", "dddd00000005", "dddd00000006", "deadbeef000b"},
		{"bbbb00000003"}, nil, nil,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// A container of a pod is known by the pod, and by its runtime's id, whatever those
// inside call themselves, and whatever runtime ids they claim.
func TestSelectPod(t *testing.T) {
	pod := func(ns, name, container string) *Pod { return &Pod{Namespace: ns, Name: name, Container: container} }
	whole := strings.Repeat("feed", 16)
	all := []ContainerRecord{
		{ID: "aaaa00000000", Display: "1", Pod: pod("team", "web-0", ""), Last: at(9)}, // holds its namespaces
		{ID: "aaaa00000001", Display: "2", Pod: pod("team", "web-0", "app"), Name: Name{ID: whole}, Last: at(9)},
		{ID: "bbbb00000001", Parent: "aaaa00000001", Display: "db", Name: Name{Name: "db"}, Last: at(9)},
		{ID: "bbbb00000002", Parent: "aaaa00000001", Display: "web-0", Last: at(9)},
		{ID: "bbbb00000003", Parent: "bbbb00000002", Display: "cache", Last: at(9)},
		{ID: "cccc00000001", Display: "3", Pod: pod("team", "web-1", "app"), Last: at(9)},
		{ID: "cccc00000002", Display: "4", Pod: pod("team", "web-1", "side"), Last: at(9)},
		{ID: "cccc00000003", Parent: "cccc00000001", Display: "db", Name: Name{Name: "db"}, Last: at(9)},
		{ID: "dddd00000001", Display: "5", Pod: pod("team", "old", "app"), Gone: true, Last: at(5)},
		// Somebody else's, posing as all of these.
		{ID: "eeee00000001", Display: "6", Pod: pod("evil", "x", "app"), Last: at(9)},
		{ID: "eeee00000002", Parent: "eeee00000001", Display: "team", Name: Name{Name: "team"}, Last: at(9)},
		{ID: "eeee00000003", Parent: "eeee00000002", Display: "web-0", Name: Name{Name: "web-0"}, Last: at(9)},
		{ID: "eeee00000004", Parent: "eeee00000003", Display: "app", Name: Name{Name: "app"}, Last: at(9)},
		{ID: "eeee00000005", Parent: "eeee00000004", Display: "db", Name: Name{ID: "db"}, Last: at(9)},
		{ID: "eeee00000006", Parent: "eeee00000004", Display: "other", Last: at(9)},
		{ID: "eeee00000007", Parent: "eeee00000001", Display: "team/web-0/app", Name: Name{Name: "team/web-0"}, Last: at(9)},
		{ID: "eeee00000008", Parent: "eeee00000001", Display: "team/old/app", Last: at(9)},
		{ID: "eeee00000009", Parent: "eeee00000001", Display: "7", Name: Name{ID: whole}, Last: at(9)},
		{ID: "eeee0000000a", Parent: "eeee00000009", Display: "db", Name: Name{ID: "db"}, Last: at(9)},
		{ID: "eeee0000000b", Parent: "eeee00000001", Display: "8", Name: Name{Name: whole + "/db"}, Last: at(9)},
	}
	for expr, want := range map[string]string{
		"team/web-0/app":     "aaaa00000001",
		"team/web-0":         "aaaa00000001",
		"team/web-0/app/db":  "bbbb00000001",
		"team/web-0/db":      "bbbb00000001",
		"team/web-0/cache":   "bbbb00000003",
		"team/web-0/other":   "",
		"team/web-1":         "", // two containers
		"team/web-1/side":    "cccc00000002",
		"team/web-1/db":      "cccc00000003",
		"team/web-1/side/db": "",
		"team/old/app":       "dddd00000001",
		"team/old":           "dddd00000001",
		whole:                "aaaa00000001",
		whole + "/db":        "bbbb00000001",
		whole + "/nobody":    "",
		"evil/x/app/team":    "eeee00000002",
	} {
		c, err := Select(expr, all)
		if c.ID != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", expr, c.ID, err, want)
		}
	}
}

func TestDisplayName(t *testing.T) {
	outer := &Container{Nodename: "host1"}
	for name, c := range map[string]Container{
		"web":                     {Name: Name{Name: "web", ID: runtimeID}, Nodename: "n", InitComm: "sh", ID: "id"},
		runtimeID[:12]:            {Name: Name{ID: runtimeID}, Nodename: "n", Parent: outer, InitComm: "sh", ID: "id"},
		"beef":                    {Name: Name{ID: "beef"}, ID: "id"},
		"payments-worker-7":       {Name: Name{ID: "payments-worker-7"}, ID: "id"},
		"n":                       {Nodename: "n", Parent: outer, InitComm: "sh", ID: "id"},
		"its parent's is not its": {Nodename: "host1", Parent: outer, InitComm: "its parent's is not its", ID: "id"},
		"m":                       {Nodename: "m", around: "n", InitComm: "sh", ID: "id"},
		"the node's is not its":   {Nodename: "n", around: "n", InitComm: "the node's is not its", ID: "id"},
		"id":                      {ID: "id"},
	} {
		if got := c.DisplayName(); got != name {
			t.Errorf("%q, want %q", got, name)
		}
	}
}

// Host ranges shared with unrelated namespaces, found in all pairs by hand.
func TestOverlaps(t *testing.T) {
	all := []NSAnswer{
		{UserNS: 1, HostUIDMap: UIDMap{{0, 1000, 100}, {100, 5000, 10}}, HostGIDMap: GIDMap{{0, 7, 1}}},
		{UserNS: 2, HostUIDMap: UIDMap{{0, 1050, 10}}},                                  // in 1
		{UserNS: 3, HostUIDMap: UIDMap{{0, 1055, 100}}, HostGIDMap: GIDMap{{0, 7, 1}}},  // beside 1
		{UserNS: 4, HostUIDMap: UIDMap{{0, 1155, 1}, {1, 5009, 9}}},                     // adjacent to 3
		{UserNS: 5, HostUIDMap: UIDMap{{0, 1060, 1}}, HostGIDMap: GIDMap{{0, 1000, 1}}}, // in 2
	}
	Overlaps(all, []int{-1, 0, -1, -1, 1})
	got := map[uint32][]Shared{}
	for _, n := range all {
		slices.SortFunc(n.Overlaps, func(a, b Shared) int {
			return strings.Compare(fmt.Sprint(a.Kind, a.With), fmt.Sprint(b.Kind, b.With))
		})
		got[n.UserNS] = n.Overlaps
	}
	want := map[uint32][]Shared{
		1: {{3, "gid", 7, 1}, {3, "uid", 1055, 45}, {4, "uid", 5009, 1}},
		2: {{3, "uid", 1055, 5}},
		3: {{1, "gid", 7, 1}, {1, "uid", 1055, 45}, {2, "uid", 1055, 5}, {5, "uid", 1060, 1}},
		4: {{1, "uid", 5009, 1}},
		5: {{3, "uid", 1060, 1}},
	}
	if d := cmp.Diff(want, got, equateEmpty); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	many := make([]NSAnswer, 100)
	for i := range many {
		many[i] = NSAnswer{UserNS: uint32(i), HostUIDMap: UIDMap{{0, 4294967290, 5}}}
	}
	Overlaps(many, slices.Repeat([]int{-1}, 100))
	for _, n := range many {
		if len(n.Overlaps) != maxOverlaps || n.Overlaps[0].Host != 4294967290 || n.Overlaps[0].Count != 5 {
			t.Fatalf("%d: %d overlaps, %+v", n.UserNS, len(n.Overlaps), n.Overlaps[0])
		}
	}
}

// TestCircle: parents that lead round in a circle, as only a damaged history
// can hold, end a search all the same.
func TestCircle(t *testing.T) {
	all := []ContainerRecord{
		{ID: "aaaa00000001", Parent: "aaaa00000002", Display: "a"},
		{ID: "aaaa00000002", Parent: "aaaa00000001", Display: "b"},
	}
	if c, err := Select("no/a", all); err == nil {
		t.Errorf("found %v", c)
	}
	if got := Below(all, "aaaa00000001"); len(got) < 2 || len(got) > 3 {
		t.Errorf("%d containers below one of two", len(got))
	}
}

// TestStrongerClaim: whom a runtime calls so is meant rather than who only shows
// the name, as a helper in the same host name space does.
func TestStrongerClaim(t *testing.T) {
	all := []ContainerRecord{
		{ID: "aaaa00000001", Display: "outer"},
		{ID: "aaaa00000002", Display: "outer", Name: Name{Name: "outer"}},
		{ID: "aaaa00000003", Display: "outer"},
		{ID: "aaaa00000004", Display: "in", Parent: "aaaa00000002", Name: Name{Name: "in"}},
		{ID: "aaaa00000005", Display: "in", Parent: "aaaa00000002"},
		{ID: "aaaa00000006", Display: "beef"},
		{ID: "beef00000007", Display: "x"},
	}
	for expr, want := range map[string]string{"outer": "aaaa00000002", "outer/in": "aaaa00000004", "beef": "beef00000007"} {
		if c, err := Select(expr, all); err != nil || c.ID != want {
			t.Errorf("%s is %s, %v; want %s", expr, c.ID, err, want)
		}
	}
	if c, err := Select("outer", []ContainerRecord{all[0], all[2]}); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("of two equal claims: %v, %v", c, err)
	}
}
