package top

import (
	"strings"
	"testing"

	"github.com/clipperhouse/displaywidth"
	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
)

func titles(all []column) string {
	var out []string
	for _, c := range all {
		out = append(out, c.title)
	}
	return strings.Join(out, ", ")
}

// What matters most stays on a narrow terminal, and a line is as wide as it.
func TestChoose(t *testing.T) {
	for width, want := range map[int]string{
		1:   "NAME",
		20:  "NAME",
		40:  "NAME, PROC, PIDS, FORK/S",
		80:  "NAME, PROC, PIDS, FORK/S, DENY/S, READ/S, WRITE/S, MEM, PSI C/M/I",
		120: "NAME, PROC, PIDS, FORK/S, DENY/S, READ/S, WRITE/S, COPY/S, MEM, PSI C/M/I, THR, ZOMB, ID",
		500: titles(columns()),
	} {
		got := choose(width)
		if titles(got) != want {
			t.Errorf("%d cells: %s, want %s", width, titles(got), want)
		}
		sum := len(got) - 1
		for _, c := range got {
			sum += c.width
		}
		if sum != width {
			t.Errorf("%d cells: a line has %d", width, sum)
		}
	}
}

func TestColumnsHaveRoomForTitleAndRank(t *testing.T) {
	ranks := map[int]string{}
	for _, c := range columns() {
		if len(c.title) > c.width || ranks[c.rank] != "" || c.what == "" {
			t.Errorf("%s: %d cells, rank %d as %q", c.title, c.width, c.rank, ranks[c.rank])
		}
		ranks[c.rank] = c.title
	}
}

func columnNamed(t *testing.T, title string) column {
	t.Helper()
	for _, c := range columns() {
		if c.title == title {
			return c
		}
	}
	t.Fatalf("no column %s", title)
	return column{}
}

// The most comes first, what is not known last either way, equals by name.
func TestOrder(t *testing.T) {
	row := func(path string, processes int, forks *float64) Row {
		return Row{StatsRow: identity.StatsRow{ID: path, Processes: processes}, Path: path, Forks: forks}
	}
	all := []Row{row("b", 2, nil), row("d", 9, ptr(0.5)), row("a", 2, ptr(0.0)), row("c", 10, ptr(7.0)), row("e", 0, nil)}
	for name, tc := range map[string]struct {
		by      string
		reverse bool
		want    string
	}{
		"names": {"NAME", false, "abcde"}, "names reversed": {"NAME", true, "edcba"},
		"processes": {"PROC", false, "cdabe"}, "processes reversed": {"PROC", true, "eabdc"},
		"forks": {"FORK/S", false, "cdabe"}, "forks reversed": {"FORK/S", true, "adcbe"},
		"nobody knows": {"MEM", false, "abcde"},
	} {
		rows := append([]Row{}, all...)
		order(rows, columnNamed(t, tc.by), tc.reverse)
		got := ""
		for _, r := range rows {
			got += r.Path
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestText(t *testing.T) {
	use := func(current uint64, limit ...uint64) *identity.StatsUse {
		u := &identity.StatsUse{Current: current}
		if len(limit) > 0 {
			u.Max = &limit[0]
		}
		return u
	}
	r := func(r Row) *Row { return &r }
	for want, got := range map[string]string{
		"0": countText(0), "99999": countText(99999), "100k": countText(100000), "18E": countText(1<<64 - 1), "1.0M ": countText(999_999) + " ",
		"999": bytesText(999), "1.0K": bytesText(1000), "10K": bytesText(10189), "1.5K": bytesText(1536), "1.0M": bytesText(1023 << 10), "16E": bytesText(1<<64 - 1),
		"-": rateText(nil), "0 ": rateText(ptr(0.0)) + " ", "0.0": rateText(ptr(0.01)), "99.9": rateText(ptr(99.94)), "100": rateText(ptr(99.95)), "123k": rateText(ptr(123456.7)),
		" -": " " + byteRateText(nil), "2.0K": byteRateText(ptr(2047.6)),
		"12/100": pidsText(use(12, 100)), "12/max": pidsText(use(12)), "32760/max": pidsText(use(32760)), "33k/33k": pidsText(use(32760, 32768)), "  -": "  " + pidsText(nil),
		"18E/18E": pidsText(use(1<<64-2, 1<<64-2)), "128M/1.0G": useText(use(128<<20, 1<<30), bytesText), "128M/max": useText(use(128<<20), bytesText),
		"   -": "   " + pressureText(nil), "2/-/99": pressureText(&identity.StatsPressure{CPU: ptr(1.5), IO: ptr(100.0)}),
		"0/0/0": pressureText(&identity.StatsPressure{CPU: ptr(0.0), Memory: ptr(0.4), IO: ptr(0.0)}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for want, rows := range map[bool][]*Row{
		true: {r(Row{StatsRow: identity.StatsRow{PIDs: use(90, 100)}}), r(Row{StatsRow: identity.StatsRow{Memory: use(1, 0)}}), r(Row{Denied: ptr(0.1)}),
			r(Row{StatsRow: identity.StatsRow{Pressure: &identity.StatsPressure{IO: ptr(20.0)}}})},
		false: {r(Row{}), r(Row{StatsRow: identity.StatsRow{PIDs: use(89, 100), Memory: use(1 << 60)}, Denied: ptr(0.0)}),
			r(Row{StatsRow: identity.StatsRow{Pressure: &identity.StatsPressure{IO: ptr(19.0)}}})},
	} {
		for i, row := range rows {
			got := false
			for _, c := range columns() {
				got = got || c.alarm != nil && c.alarm(row)
			}
			if got != want {
				t.Errorf("alarm of %d is %v", i, got)
			}
		}
	}
}

// A cell is as wide as it should be, whatever is in it.
func FuzzCell(f *testing.F) {
	for _, s := range []string{"", "web ▸ db", "世界の終わり", "e\u0301\u0301\u0301\u0301", "👩‍👩‍👧‍👦 family", strings.Repeat("ä", 99), "\u0301", "ﷺﷺ", "🇩🇪🇫🇷", "\x1b[2J\u202e"} {
		f.Add(s, 7, false)
		f.Add(s, 1, false)
		f.Add(s, 9, true)
	}
	f.Fuzz(func(t *testing.T, s string, width int, right bool) {
		width = max(1, width%200)
		s = escape(s)
		if got := cell(s, width, right); displaywidth.String(got) != width {
			t.Errorf("cell(%q, %d, %v) = %q of %d cells", s, width, right, got, displaywidth.String(got))
		}
		if got := keepStart(s, width); displaywidth.String(got) > width || !strings.HasPrefix(s, got) {
			t.Errorf("keepStart(%q, %d) = %q", s, width, got)
		}
	})
}

func TestTable(t *testing.T) {
	rows := Rates(at(1, counting("a", 1)), at(2, counting("a", 2)), escape)
	header, cells := Table(rows, false)
	want := [][]string{{"a", "0", "-", "1.0", "2.0", "3", "4", "5", "-", "-"}}
	if d := cmp.Diff(want, cells); d != "" || len(header) != len(cells[0]) {
		t.Errorf("%v (-want +got):\n%s", header, d)
	}
	if wide, more := Table(rows, true); len(wide) != len(columns()) || more[0][len(wide)-1] != "a" {
		t.Errorf("%v, %v", wide, more)
	}
}
