package subid

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseRange(t *testing.T) {
	for in, want := range map[string]Range{
		"0:1": {0, 1}, "1073741824:268435456": {1073741824, 268435456}, "4294967295:1": {4294967295, 1},
		"65536:4294901760": {65536, 4294901760}, "0:4294967295": {0, 4294967295},
	} {
		if got, err := ParseRange(in); err != nil || got != want || got.String() != in {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"": "no colon", "5": "no colon", ":": `start ""`, "5:": `count ""`, "-1:5": `start "-1"`, "1:+5": `count "+5"`,
		" 1:2": `start " 1"`, "1:2\n": `count "2\n"`, "1:2:3": `count "2:3"`, "0x10:1": `start "0x10"`, "1_0:1": `start "1_0"`,
		"4294967296:1": "no number from", "1:0": "has no ids", "4294967295:2": "lower the count to 1 or less",
		"\x1b[31m:1": `\x1b`, strings.Repeat("9", 1<<20) + ":1": `…`,
	} {
		_, err := ParseRange(in)
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%.20q: %.300v, want %q", in, err, want)
		}
	}
}

func TestRangeRelations(t *testing.T) {
	top := Range{4294967295, 1}
	for _, tc := range []struct {
		a, b               Range
		overlaps, contains bool
	}{
		{Range{0, 10}, Range{9, 1}, true, true},
		{Range{0, 10}, Range{10, 1}, false, false},
		{Range{0, 10}, Range{5, 10}, true, false},
		{Range{4294901760, 65536}, top, true, true},
		{Range{0, 4294967295}, top, false, false},
		{top, Range{0, 1}, false, false}, // 32-bit sums would wrap to 0
		{Range{5, 0}, Range{5, 0}, false, false},
		{Range{0, 10}, Range{5, 0}, false, false},
	} {
		if tc.a.Overlaps(tc.b) != tc.overlaps || tc.b.Overlaps(tc.a) != tc.overlaps || tc.a.Contains(tc.b) != tc.contains {
			t.Errorf("%v and %v: overlaps %v, contains %v", tc.a, tc.b, tc.a.Overlaps(tc.b), tc.a.Contains(tc.b))
		}
	}
	if !top.Has(4294967295) || top.Has(0) || top.End() != 1<<32 {
		t.Errorf("%v ends at %d", top, top.End())
	}
}

func TestRangeJSON(t *testing.T) {
	want := Range{1073741824, 65536}
	b, err := json.Marshal(want)
	if err != nil || string(b) != `{"start":1073741824,"count":65536}` {
		t.Fatalf("%s, %v", b, err)
	}
	var got Range
	if err := json.Unmarshal(b, &got); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	for _, in := range []string{`{}`, `{"start":1}`, `{"start":4294967295,"count":2}`, `{"start":-1,"count":2}`, `{"start":1.5,"count":2}`, `"1:2"`} {
		got = want
		if err := json.Unmarshal([]byte(in), &got); err == nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"1:2", "0:4294967295", "4294967295:1", ":", "1:2:3", "-1:2", "007:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRange(s)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			return
		}
		if again, err := ParseRange(r.String()); err != nil || again != r {
			t.Errorf("%q is %v, which reads as %v, %v", s, r, again, err)
		}
		var back Range
		if b, err := json.Marshal(r); err != nil || json.Unmarshal(b, &back) != nil || back != r {
			t.Errorf("%q: JSON gives %v", s, back)
		}
		if r.Count == 0 || r.End() > 1<<32 || !r.Contains(r) || !r.Overlaps(r) || !r.Has(r.Start) {
			t.Errorf("%q is %v", s, r)
		}
	})
}
