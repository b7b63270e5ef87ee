package identity

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eyas-agent/eyas/bpf"
)

var equateEmpty = cmpopts.EquateEmpty()

// answered is an id, or that there is none.
type answered struct {
	ID uint32
	OK bool
}

func toHost(m UIDMap, id uint32) answered {
	h, ok := m.ToHost(UID(id))
	return answered{uint32(h), ok}
}

func fromHost(m UIDMap, id uint32) answered {
	u, ok := m.FromHost(HostUID(id))
	return answered{uint32(u), ok}
}

func TestMapBorders(t *testing.T) {
	const top = math.MaxUint32
	none := answered{}
	gap := UIDMap{{First: 0, Host: 1000, Count: 1}, {First: 1, Host: 100000, Count: 65536}, {First: 70000, Host: 5, Count: 2}}
	high := UIDMap{{First: 0, Host: top - 10, Count: 10}, {First: top - 5, Host: 0, Count: 5}}
	swapped := UIDMap{{First: 1000, Host: 0, Count: 1000}, {First: 0, Host: 1000, Count: 1000}}
	for _, tc := range []struct {
		name string
		m    UIDMap
		in   uint32
		host answered // of the inner id in
		back answered // of the host id in
	}{
		{"unwritten", nil, 0, none, none},
		{"empty extent", UIDMap{{First: 5, Host: 5}}, 5, none, none},
		{"first", gap, 0, answered{1000, true}, none},
		{"second", gap, 1, answered{100000, true}, none},
		{"last of the second", gap, 65536, answered{165535, true}, none},
		{"overflow id is an id", gap, 65534, answered{165533, true}, none},
		{"gap", gap, 65537, none, none},
		{"before the third", gap, 69999, none, none},
		{"third", gap, 70000, answered{5, true}, none},
		{"last of the third", gap, 70001, answered{6, true}, none},
		{"behind the third", gap, 70002, none, none},
		{"host before a range", gap, 4, answered{100003, true}, none},
		{"host first", gap, 5, answered{100004, true}, answered{70000, true}},
		{"host last", gap, 6, answered{100005, true}, answered{70001, true}},
		{"host behind", gap, 7, answered{100006, true}, none},
		{"host single", gap, 1000, answered{100999, true}, answered{0, true}},
		{"host of the second", gap, 100000, none, answered{1, true}},
		{"host end of the second", gap, 165535, none, answered{65536, true}},
		{"host behind the second", gap, 165536, none, none},
		{"up to the top", high, 9, answered{top - 1, true}, none},
		{"not over the top", high, 10, none, none},
		{"0 from the top", high, 0, answered{top - 10, true}, answered{top - 5, true}},
		{"below the top", high, top - 1, answered{4, true}, answered{9, true}},
		{"no id", high, top, none, none},
		{"low of the top", high, top - 5, answered{0, true}, answered{5, true}},
		{"before the top", high, top - 6, none, answered{4, true}},
		{"before all", high, top - 11, none, none},
		{"swapped low", swapped, 999, answered{1999, true}, answered{1999, true}},
		{"swapped high", swapped, 1000, answered{0, true}, answered{0, true}},
		{"no wrap to 0", UIDMap{{First: top - 5, Host: 7, Count: 100}, {First: 200, Host: top - 5, Count: 100}}, 0, none, none},
		{"initial", UIDMap{{Count: NoID}}, top - 1, answered{top - 1, true}, answered{top - 1, true}},
		{"initial has no no id", UIDMap{{Count: NoID}}, NoID, none, none},
	} {
		if got := toHost(tc.m, tc.in); got != tc.host {
			t.Errorf("%s: ToHost(%d) = %v, want %v", tc.name, tc.in, got, tc.host)
		}
		if got := fromHost(tc.m, tc.in); got != tc.back {
			t.Errorf("%s: FromHost(%d) = %v, want %v", tc.name, tc.in, got, tc.back)
		}
	}
}

// As many extents as the kernel takes, each of one id, in no order.
func TestMapOfMostExtents(t *testing.T) {
	var from []bpf.Extent
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(bpf.MaxExtents) {
		from = append(from, bpf.Extent{First: uint32(2 * i), Host: uint32(1e6 - 3*i), Count: 1})
	}
	m := newMap[UID, HostUID](from)
	if m.Size() != bpf.MaxExtents || len(m) != bpf.MaxExtents {
		t.Errorf("%d ids in %d extents", m.Size(), len(m))
	}
	for i := range uint32(bpf.MaxExtents) {
		if a, b := toHost(m, 2*i), fromHost(m, 1e6-3*i); a != (answered{1e6 - 3*i, true}) || b != (answered{2 * i, true}) {
			t.Errorf("%d: %v, %v", i, a, b)
		}
		if a, b := toHost(m, 2*i+1), fromHost(m, 1e6-3*i-1); a.OK || b.OK {
			t.Errorf("between: %d: %v, %v", i, a, b)
		}
	}
	if newMap[UID, HostUID](nil) != nil {
		t.Error("an unwritten map is not nil")
	}
	if all := (UIDMap{{Count: math.MaxUint32}, {First: math.MaxUint32, Count: 1}}); all.Size() != 1<<32 {
		t.Errorf("size %d", all.Size())
	}
}

func TestRelative(t *testing.T) {
	outer := UIDMap{{First: 0, Host: 1000, Count: 1}, {First: 1, Host: 100000, Count: 65536}}
	for name, tc := range map[string]struct {
		inner, outer UIDMap
		want         []Extent
	}{
		"root of a sandbox":     {UIDMap{{0, 1000, 1}}, outer, []Extent{{0, 0, 1}}},
		"over a border":         {UIDMap{{0, 100000, 10}, {10, 1000, 1}}, outer, []Extent{{0, 1, 10}, {10, 0, 1}}},
		"partly outside":        {UIDMap{{0, 99990, 20}}, outer, []Extent{{10, 1, 10}}},
		"beyond the end":        {UIDMap{{7, 165535, 9}}, outer, []Extent{{7, 65536, 1}}},
		"nothing in common":     {UIDMap{{0, 5, 5}}, outer, nil},
		"adjacent is not in it": {UIDMap{{0, 1001, 5}}, outer, nil},
		"seen from the host":    {outer, UIDMap{{Count: NoID}}, outer},
		"outer unwritten":       {outer, nil, nil},
		"near the top": {UIDMap{{0, math.MaxUint32 - 5, 5}}, UIDMap{{First: 7, Host: math.MaxUint32 - 3, Count: 3}},
			[]Extent{{2, 7, 3}}},
		"sorted": {UIDMap{{5, 50, 1}, {1, 10, 1}, {3, 30, 1}}, UIDMap{{Count: 100}}, []Extent{{1, 10, 1}, {3, 30, 1}, {5, 50, 1}}},
	} {
		if d := cmp.Diff(tc.want, tc.inner.Relative(tc.outer), equateEmpty); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestOverlap(t *testing.T) {
	a := UIDMap{{First: 0, Host: 1000, Count: 10}, {First: 50, Host: math.MaxUint32 - 4, Count: 4}}
	for name, tc := range map[string]struct {
		b    UIDMap
		want []Extent
	}{
		"itself":        {a, []Extent{{0, 1000, 10}, {50, math.MaxUint32 - 4, 4}}},
		"inside":        {UIDMap{{0, 1003, 2}}, []Extent{{3, 1003, 2}}},
		"left":          {UIDMap{{0, 990, 11}}, []Extent{{0, 1000, 1}}},
		"right":         {UIDMap{{0, 1009, 11}}, []Extent{{9, 1009, 1}}},
		"adjacent":      {UIDMap{{0, 990, 10}, {10, 1010, 10}}, nil},
		"the top":       {UIDMap{{0, math.MaxUint32 - 1, 1}}, []Extent{{53, math.MaxUint32 - 1, 1}}},
		"unwritten map": {nil, nil},
	} {
		if d := cmp.Diff(tc.want, Overlap(a, tc.b), equateEmpty); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// smallMaps reads two maps within 256 ids from b, disjoint within themselves
// as the kernel demands, moved up by base.
func smallMaps(b []byte, base uint32) (maps [2]UIDMap) {
	var inner, host [2][256]bool
	for k := 0; len(b) >= 3; k, b = k+1, b[3:] {
		first, to, n := int(b[0]), int(b[1]), 1+int(b[2]%40)
		w := k % 2
		fits := first+n <= 255 && to+n <= 255
		for i := 0; fits && i < n; i++ {
			fits = !inner[w][first+i] && !host[w][to+i]
		}
		if !fits {
			continue
		}
		for i := range n {
			inner[w][first+i], host[w][to+i] = true, true
		}
		maps[w] = append(maps[w], Extent{First: base + uint32(first), Host: base + uint32(to), Count: uint32(n)})
	}
	return maps
}

// Against maps written out id by id.
func FuzzMap(f *testing.F) {
	f.Add([]byte{0, 100, 1, 0, 100, 39, 1, 140, 39, 10, 90, 20}, false)
	f.Add([]byte{240, 0, 14, 0, 240, 14, 0, 240, 14, 240, 0, 14}, true)
	f.Fuzz(func(t *testing.T, b []byte, top bool) {
		var base uint32
		if top {
			base = math.MaxUint32 - 255 // the last of them is no id
		}
		maps := smallMaps(b[:min(len(b), 300)], base)
		var to, from [2]map[uint32]uint32
		for w, m := range maps {
			to[w], from[w] = map[uint32]uint32{}, map[uint32]uint32{}
			for _, e := range m {
				for i := range e.Count {
					to[w][e.First+i], from[w][e.Host+i] = e.Host+i, e.First+i
				}
			}
			if m.Size() != uint64(len(to[w])) {
				t.Fatalf("size %d, want %d: %v", m.Size(), len(to[w]), m)
			}
		}
		m, outer := maps[0], maps[1]
		relative, overlap := UIDMap(m.Relative(outer)), UIDMap(Overlap(m, outer))
		var shared uint64
		for i := range uint32(256) {
			id := base + i
			h, ok := to[0][id]
			if got := toHost(m, id); got != (answered{h, ok}) {
				t.Fatalf("ToHost(%d) = %v, want %d, %v: %v", id, got, h, ok, m)
			}
			u, known := from[0][id]
			if got := fromHost(m, id); got != (answered{u, known}) {
				t.Fatalf("FromHost(%d) = %v, want %d, %v: %v", id, got, u, known, m)
			}
			var seen uint32
			if ok {
				seen, ok = from[1][h]
			}
			if got := toHost(relative, id); got != (answered{seen, ok}) {
				t.Fatalf("relative: %d shows as %v, want %d, %v: %v in %v", id, got, seen, ok, m, outer)
			}
			_, both := from[1][id]
			if both = both && known; both {
				shared++
			}
			want := answered{}
			if both {
				want = answered{u, true}
			}
			if got := fromHost(overlap, id); got != want {
				t.Fatalf("overlap: %d is %v, want %v: %v and %v", id, got, want, m, outer)
			}
		}
		if relative.Size() != shared || overlap.Size() != shared || UIDMap(Overlap(outer, m)).Size() != shared {
			t.Fatalf("%d ids shared, relative has %d, overlap %d: %v and %v", shared, relative.Size(), overlap.Size(), m, outer)
		}
		for i := 1; i < len(relative); i++ {
			if relative[i-1].First >= relative[i].First {
				t.Fatalf("not sorted: %v", relative)
			}
		}
	})
}

// The two id spaces at random, wide: there and back is where one was.
func TestMapRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		var m GIDMap
		inner, host := uint64(0), uint64(0)
		for len(m) < 20 {
			n := uint64(1 + r.Uint32N(1<<27))
			inner, host = inner+uint64(r.Uint32N(1<<20)), host+uint64(r.Uint32N(1<<20))
			if inner+n > NoID || host+n > NoID {
				break
			}
			m = append(m, Extent{First: uint32(inner), Host: uint32(host), Count: uint32(n)})
			inner, host = inner+n, host+n
		}
		for _, e := range m {
			for _, off := range []uint32{0, e.Count / 2, e.Count - 1} {
				h, ok := m.ToHost(GID(e.First + off))
				g, back := m.FromHost(h)
				if !ok || !back || uint32(h) != e.Host+off || uint32(g) != e.First+off {
					t.Fatalf("%d: %d, %v: back %d, %v: %v", e.First+off, h, ok, g, back, m)
				}
			}
		}
	}
}
