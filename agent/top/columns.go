package top

import (
	"cmp"
	"slices"
	"strings"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// column is one of the table.
type column struct {
	title string
	what  string // for the help
	width int    // cells; of the name, the least
	rank  int    // who stays on a narrow terminal: the lowest
	wide  bool   // in a table only when much is asked for
	text  func(*Row) string
	value func(*Row) (float64, bool) // to sort by, false: not known; nil: by the path
	alarm func(*Row) bool            // worth a look; may be nil
}

// columns are all, from left to right.
func columns() []column {
	return []column{
		{title: "NAME", what: "containers from the outside in", width: 15, rank: 0, text: func(r *Row) string { return r.Path }},
		{title: "PROC", what: "processes right in it", width: 5, rank: 1, text: func(r *Row) string { return countText(uint64(r.Processes)) },
			value: func(r *Row) (float64, bool) { return float64(r.Processes), true }},
		{title: "PIDS", what: "tasks of its cgroup / their limit", width: 9, rank: 2, text: func(r *Row) string { return pidsText(r.PIDs) },
			value: current(func(r *Row) *identity.StatsUse { return r.PIDs }), alarm: func(r *Row) bool { return full(r.PIDs) }},
		{title: "FORK/S", what: "processes born right in it", width: 6, rank: 3, text: func(r *Row) string { return rateText(r.Forks) },
			value: known(func(r *Row) *float64 { return r.Forks })},
		{title: "DENY/S", what: "what the kernel refused it", width: 6, rank: 5, text: func(r *Row) string { return rateText(r.Denied) },
			value: known(func(r *Row) *float64 { return r.Denied }), alarm: func(r *Row) bool { return r.Denied != nil && *r.Denied > 0 }},
		{title: "READ/S", what: "bytes read through overlays", width: 6, rank: 6, text: func(r *Row) string { return byteRateText(r.Read) },
			value: known(func(r *Row) *float64 { return r.Read })},
		{title: "WRITE/S", what: "bytes written through overlays", width: 7, rank: 7, text: func(r *Row) string { return byteRateText(r.Written) },
			value: known(func(r *Row) *float64 { return r.Written })},
		{title: "COPY/S", what: "bytes copied up to the upper layer", width: 6, rank: 9, text: func(r *Row) string { return byteRateText(r.CopiedUp) },
			value: known(func(r *Row) *float64 { return r.CopiedUp })},
		{title: "MEM", what: "memory of its cgroup / its limit", width: 9, rank: 4, text: func(r *Row) string { return useText(r.Memory, bytesText) },
			value: current(func(r *Row) *identity.StatsUse { return r.Memory }), alarm: func(r *Row) bool { return full(r.Memory) }},
		{title: "PSI C/M/I", what: "% of 10 s some task lacked cpu/memory/io", width: 9, rank: 8, text: func(r *Row) string { return pressureText(r.Pressure) },
			value: worst, alarm: func(r *Row) bool { v, _ := worst(r); return v >= 20 }},
		{title: "THR", what: "threads right in it", width: 5, rank: 10, wide: true, text: func(r *Row) string { return countText(uint64(r.Threads)) },
			value: func(r *Row) (float64, bool) { return float64(r.Threads), true }},
		{title: "ZOMB", what: "dead, and nobody reaps them", width: 5, rank: 11, wide: true, text: func(r *Row) string { return countText(uint64(r.Zombies)) },
			value: func(r *Row) (float64, bool) { return float64(r.Zombies), true }},
		{title: "ID", what: "short id", width: 12, rank: 12, wide: true, text: func(r *Row) string { return r.ID }},
	}
}

func known(f func(*Row) *float64) func(*Row) (float64, bool) {
	return func(r *Row) (float64, bool) {
		if v := f(r); v != nil {
			return *v, true
		}
		return 0, false
	}
}

func current(f func(*Row) *identity.StatsUse) func(*Row) (float64, bool) {
	return func(r *Row) (float64, bool) {
		if u := f(r); u != nil {
			return float64(u.Current), true
		}
		return 0, false
	}
}

// full reports that at most a tenth of a limit is left.
func full(u *identity.StatsUse) bool {
	return u != nil && u.Max != nil && float64(u.Current) >= 0.9*float64(*u.Max)
}

// worst is the greatest of the pressures.
func worst(r *Row) (v float64, ok bool) {
	if r.Pressure == nil {
		return 0, false
	}
	for _, p := range []*float64{r.Pressure.CPU, r.Pressure.Memory, r.Pressure.IO} {
		if p != nil {
			v, ok = max(v, *p), true
		}
	}
	return v, ok
}

// choose returns the columns for so many cells, by rank as long as they fit, with
// a blank between two. The name, which is always there, gets what is left.
func choose(width int) []column {
	all := columns()
	byRank := slices.Clone(all)
	slices.SortFunc(byRank, func(a, b column) int { return cmp.Compare(a.rank, b.rank) })
	chosen, used := map[string]bool{}, -1
	for _, c := range byRank {
		if c.rank > 0 && used+1+c.width > width {
			break // what matters less does not take its place
		}
		used += 1 + c.width
		chosen[c.title] = true
	}
	all = slices.DeleteFunc(all, func(c column) bool { return !chosen[c.title] })
	all[0].width = max(1, all[0].width+width-used)
	return all
}

// order sorts rows by a column, the most first, names from A to Z; reversed the
// other way round. What is not known comes last, and equals are in order of names.
func order(rows []Row, by column, reverse bool) {
	slices.SortStableFunc(rows, func(a, b Row) int {
		d := 0
		if by.value == nil {
			d = strings.Compare(by.text(&a), by.text(&b))
		} else {
			x, okX := by.value(&a)
			y, okY := by.value(&b)
			if okX != okY {
				if okX {
					return -1
				}
				return 1
			}
			d = cmp.Compare(y, x)
		}
		if reverse {
			d = -d
		}
		return cmp.Or(d, strings.Compare(a.Path, b.Path), strings.Compare(a.ID, b.ID))
	})
}

// Table is the header and the cells of a plain table, in the order of the rows;
// wide has all columns. The cells are escaped.
func Table(rows []Row, wide bool) (header []string, cells [][]string) {
	all := columns()
	if !wide {
		all = slices.DeleteFunc(all, func(c column) bool { return c.wide })
	}
	for _, c := range all {
		header = append(header, c.title)
	}
	for i := range rows {
		var line []string
		for _, c := range all {
			line = append(line, c.text(&rows[i]))
		}
		cells = append(cells, line)
	}
	return header, cells
}
