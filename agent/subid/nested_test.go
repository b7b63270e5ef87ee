package subid

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
)

func TestNestedRanges(t *testing.T) {
	pod := []identity.Extent{{First: 0, Host: 833617920, Count: 65536}}
	for name, tc := range map[string]struct {
		m    []identity.Extent
		own  uint32
		want []Range
	}{
		"user":            {pod, 1000, []Range{{1, 999}, {1001, 64535}}},
		"root":            {pod, 0, []Range{{1, 65535}}},
		"first":           {pod, 1, []Range{{2, 65534}}},
		"last":            {pod, 65535, []Range{{1, 65534}}},
		"wide":            {[]identity.Extent{{First: 0, Host: 1 << 30, Count: 196608}}, 1000, []Range{{1, 999}, {1001, 195607}}},
		"whole":           {[]identity.Extent{{First: 0, Host: 0, Count: 4294967295}}, 1000, []Range{{1, 999}, {1001, 4294966294}}},
		"gap, unsorted":   {[]identity.Extent{{First: 100000, Host: 7, Count: 65536}, {First: 0, Host: 99999, Count: 1001}}, 1000, []Range{{1, 999}, {100000, 65536}}},
		"neighbours":      {[]identity.Extent{{First: 0, Host: 1 << 30, Count: 10}, {First: 10, Host: 1 << 20, Count: 10}}, 0, []Range{{1, 9}, {10, 10}}},
		"own extent":      {[]identity.Extent{{First: 0, Host: 5, Count: 1}, {First: 1, Host: 100, Count: 10}}, 0, []Range{{1, 10}}},
		"without 0":       {[]identity.Extent{{First: 5, Host: 5, Count: 10}}, 5, []Range{{6, 9}}},
		"root not caller": {[]identity.Extent{{First: 0, Host: 5, Count: 1}, {First: 7, Host: 100, Count: 2}}, 7, []Range{{8, 1}}},
	} {
		n, err := NestedRanges(tc.m, pod, Caller{UID: identity.UID(tc.own)})
		if d := cmp.Diff(tc.want, n.UIDs); d != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, d)
		}
		if tc.own == 0 {
			continue
		}
		g, err := NestedRanges(pod, tc.m, Caller{GID: identity.GID(tc.own)})
		if d := cmp.Diff(tc.want, g.GIDs); d != "" || err != nil {
			t.Errorf("%s, gids: %v %s", name, err, d)
		}
	}
	for name, tc := range map[string]struct {
		m    []identity.Extent
		own  uint32
		want string
	}{
		"unwritten":    {nil, 0, "not mapped"},
		"not mapped":   {pod, 65536, "not mapped"},
		"alone":        {[]identity.Extent{{First: 1000, Host: 5, Count: 1}}, 1000, "no id but"},
		"overlap":      {[]identity.Extent{{First: 0, Host: 5, Count: 10}, {First: 9, Host: 50, Count: 10}}, 0, "overlaps"},
		"past the end": {[]identity.Extent{{First: 4294967295, Host: 5, Count: 1}}, 0, "no range"},
		"wraps":        {[]identity.Extent{{First: 10, Host: 5, Count: 4294967295}}, 0, "no range"},
		"empty":        {[]identity.Extent{{First: 10, Host: 5}}, 0, "no range"},
		"too many":     {make([]identity.Extent, 341), 0, "341 extents"},
	} {
		if _, err := NestedRanges(tc.m, pod, Caller{UID: identity.UID(tc.own)}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if _, err := NestedRanges(tc.m, pod, Caller{UID: identity.UID(tc.own)}); (name == "alone") != errors.Is(err, ErrNoNestedIDs) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLines(t *testing.T) {
	n := Nested{UIDs: []Range{{1, 999}, {1001, 64535}}, GIDs: []Range{{1, 65535}}}
	if got := n.Subuid(ByUID(1000)); got != "1000:1:999\n1000:1001:64535\n" {
		t.Errorf("%q", got)
	}
	l, err := ByName("build_er-1.x$")
	if got := n.Subgid(l); err != nil || got != "build_er-1.x$:1:65535\n" {
		t.Errorf("%q, %v", got, err)
	}
	if got := n.Subuid(Login{}); got != "" {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"", "0", "1000", "a:0", "a\n0:0:4294967295", "#x", "a b", "-a", ".", "a$b", "$", "é", "\x1b[2J", strings.Repeat("a", 33)} {
		if _, err := ByName(name); err == nil || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Whatever the map: what is handed out is mapped within one extent, and is
// neither 0 nor the caller's; all else that is mapped is handed out.
func FuzzNestedRanges(f *testing.F) {
	f.Add(uint32(0), uint32(65536), uint32(100000), uint32(65536), uint32(1000))
	f.Add(uint32(0), uint32(1), uint32(1), uint32(1), uint32(0))
	f.Add(uint32(0), uint32(4294967295), uint32(0), uint32(0), uint32(5))
	f.Fuzz(func(t *testing.T, first1, count1, first2, count2, own uint32) {
		m := []identity.Extent{{First: first1, Count: count1}, {First: first2, Count: count2}}
		n, err := NestedRanges(m, m, Caller{identity.UID(own), identity.GID(own)})
		if err != nil {
			return
		}
		got, all := uint64(0), uint64(count1)+uint64(count2)
		for i, r := range n.UIDs {
			in1, in2 := Range{first1, count1}.Contains(r), Range{first2, count2}.Contains(r)
			if r.Has(0) || r.Has(own) || in1 == in2 || i > 0 && uint64(r.Start) < n.UIDs[i-1].End() {
				t.Errorf("%v of %v", r, m)
			}
			got += uint64(r.Count)
		}
		out := uint64(1) // the caller's
		if own != 0 && (first1 == 0 || first2 == 0) {
			out = 2
		}
		if got != all-out {
			t.Errorf("%d ids of %d: %v of %v, caller %d", got, all, n.UIDs, m, own)
		}
		if len(n.UIDs) != len(n.GIDs) {
			t.Errorf("%v, %v", n.UIDs, n.GIDs)
		}
	})
}
