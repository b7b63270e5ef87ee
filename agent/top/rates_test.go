package top

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
)

var start = time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)

// escape stands for the commands'.
func escape(s string) string {
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

func ptr[T any](v T) *T { return &v }

// at is an answer so many seconds after the start; f may change a row.
func at(seconds float64, rows ...identity.StatsRow) []identity.StatsRow {
	for i := range rows {
		rows[i].Time = start.Add(time.Duration(seconds * float64(time.Second)))
		if rows[i].Since.IsZero() {
			rows[i].Since = start
		}
	}
	return rows
}

func counting(id string, n uint64) identity.StatsRow {
	return identity.StatsRow{
		ID: id, Name: id, Forks: n, Denials: ptr(2 * n), Overlay: &identity.StatsOverlay{Read: 3 * n, Written: 4 * n, CopiedUp: 5 * n},
	}
}

// rates are those of a row, "-" where they are not known.
func rates(r Row) string {
	var out []string
	for _, v := range []*float64{r.Forks, r.Denied, r.Read, r.Written, r.CopiedUp} {
		if v == nil {
			out = append(out, "-")
		} else {
			out = append(out, fmt.Sprint(*v))
		}
	}
	return strings.Join(out, " ")
}

func TestRates(t *testing.T) {
	began := func(r identity.StatsRow, seconds float64) identity.StatsRow {
		r.Since = start.Add(time.Duration(seconds * float64(time.Second)))
		return r
	}
	bare := identity.StatsRow{ID: "a", Forks: 3}
	for name, tc := range map[string]struct {
		before, now []identity.StatsRow
		want        map[string]string
	}{
		"nothing before":    {nil, at(1, counting("a", 7)), map[string]string{"a": "- - - - -"}},
		"two seconds":       {at(1, counting("a", 10)), at(3, counting("a", 20)), map[string]string{"a": "5 10 15 20 25"}},
		"half a second":     {at(1, counting("a", 10)), at(1.5, counting("a", 11)), map[string]string{"a": "2 4 6 8 10"}},
		"rest":              {at(1, counting("a", 10)), at(3, counting("a", 10)), map[string]string{"a": "0 0 0 0 0"}},
		"great numbers":     {at(1, counting("a", 1<<60)), at(2, counting("a", 1<<60+1)), map[string]string{"a": "1 2 3 4 5"}},
		"one new, one gone": {at(1, counting("a", 1), counting("b", 1)), at(2, counting("b", 2), counting("c", 9)), map[string]string{"b": "1 2 3 4 5", "c": "- - - - -"}},
		"a counter restarts": {at(1, counting("a", 10), counting("b", 1)), at(2, counting("a", 9), counting("b", 2)),
			map[string]string{"a": "- - - - -", "b": "1 2 3 4 5"}},
		"the agent restarts, and counts more than before": {at(1, counting("a", 10)), at(5, began(counting("a", 99), 4)), map[string]string{"a": "- - - - -"}},
		"no time has passed":                              {at(1, counting("a", 1)), at(1, counting("a", 2)), map[string]string{"a": "- - - - -"}},
		"answers the wrong way round":                     {at(2, counting("a", 1)), at(1, counting("a", 2)), map[string]string{"a": "- - - - -"}},
		"counted no more":                                 {at(1, counting("a", 1)), at(2, bare), map[string]string{"a": "2 - - - -"}},
		"counted from now on":                             {at(1, bare), at(2, counting("a", 4)), map[string]string{"a": "1 - - - -"}},
		"the other order of the containers":               {at(1, counting("a", 1), counting("b", 5)), at(2, counting("b", 7), counting("a", 2)), map[string]string{"a": "1 2 3 4 5", "b": "2 4 6 8 10"}},
	} {
		got := map[string]string{}
		for _, r := range Rates(tc.before, tc.now, escape) {
			got[r.ID] = rates(r)
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// Names are escaped and bounded, each by itself, and a circle is no trap.
func TestPath(t *testing.T) {
	long := strings.Repeat("ä", 600)
	rows := []identity.StatsRow{
		{ID: "a", Name: "we\x1b[2Jb"}, {ID: "b", Parent: "a", Name: "d\nb\u202e"}, {ID: "c", Parent: "gone", Name: long}, {ID: "x", Parent: "y", Name: "x"}, {ID: "y", Parent: "x", Name: "y"},
	}
	got := map[string]string{}
	for _, r := range Rates(nil, rows, escape) {
		got[r.ID] = r.Path
	}
	if n := strings.Count(got["x"], "▸"); n != maxChain-1 {
		t.Errorf("a circle has %d steps", n)
	}
	delete(got, "x")
	delete(got, "y")
	want := map[string]string{"a": `we\x1b[2Jb`, "b": `we\x1b[2Jb ▸ d\nb\u202e`, "c": strings.Repeat("ä", maxName) + "…"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
