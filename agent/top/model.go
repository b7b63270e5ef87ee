package top

import (
	"slices"
	"strings"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// model is what is shown, and what answers and keys make of it. It knows no
// terminal. Not safe for concurrent use.
type model struct {
	escape   func(string) string
	where    string // the chain asked for, escaped; "" is the node
	interval time.Duration

	last    []identity.StatsRow // the answer that the next one is compared with
	rows    []Row               // all of the last answer
	answers int
	trouble string // why there is no newer answer, escaped

	inside  []string // ids of the containers gone into, from the outside in
	filter  string
	typing  bool   // keys go into the filter
	by      string // title of the column that rows are sorted by
	reverse bool
	cursor  string // id; "" is the first row, whoever that is
	place   int    // of the cursor, when its container goes
	paused  bool
	help    bool
	page    int // rows on the screen when last drawn
}

func newModel(escape func(string) string, where string, interval time.Duration) *model {
	return &model{escape: escape, where: escape(where), interval: interval, by: "PROC", page: 1}
}

// answer takes over what the agent said. What comes while paused, because it was
// asked before, is dropped: what is looked at stays.
func (m *model) answer(now []identity.StatsRow, err error) {
	if m.paused {
		return
	}
	if err != nil {
		// Whoever answers next may have counted something else.
		m.trouble, m.last = m.escape(err.Error()), nil
		return
	}
	m.trouble = ""
	m.rows = Rates(m.last, now, m.escape)
	m.last = now
	m.answers++
}

// pause stops, or goes on. Rates then begin anew: what happened while nobody
// looked would blur them.
func (m *model) pause() {
	m.paused = !m.paused
	if !m.paused {
		m.last = nil
	}
}

// visible are the rows to show, in order: those of the container gone into, and
// inside it, that have the filter in their names or ids.
func (m *model) visible() []Row {
	byID := make(map[string]*Row, len(m.rows))
	for i := range m.rows {
		byID[m.rows[i].ID] = &m.rows[i]
	}
	// Who is gone has nobody inside.
	for i, id := range m.inside {
		if byID[id] == nil {
			m.inside = m.inside[:i]
			break
		}
	}
	around := ""
	if n := len(m.inside); n > 0 {
		around = m.inside[n-1]
	}
	var out []Row
	for _, r := range m.rows {
		if below(&r, around, byID) && m.matches(&r) {
			out = append(out, r)
		}
	}
	for _, c := range columns() {
		if c.title == m.by {
			order(out, c, m.reverse)
		}
	}
	return out
}

func below(r *Row, id string, byID map[string]*Row) bool {
	if id == "" {
		return true
	}
	for n := 0; r != nil && n < maxChain; n++ {
		if r.ID == id {
			return true
		}
		r = byID[r.Parent]
	}
	return false
}

func (m *model) matches(r *Row) bool {
	want := strings.ToLower(m.filter)
	for _, s := range []string{r.Path, r.ID, m.escape(r.ContainerID), m.escape(r.Runtime)} {
		if strings.Contains(strings.ToLower(s), want) {
			return true
		}
	}
	return false
}

// point returns where the cursor is among rows, -1 without any: on its container,
// or where that was.
func (m *model) point(rows []Row) int {
	if m.cursor == "" {
		m.place = 0
		return min(0, len(rows)-1)
	}
	at := slices.IndexFunc(rows, func(r Row) bool { return r.ID == m.cursor })
	if at < 0 {
		at = min(m.place, len(rows)-1)
	}
	if at >= 0 {
		m.cursor, m.place = rows[at].ID, at
	}
	return at
}

// move puts the cursor so many rows further down.
func (m *model) move(by int) {
	rows := m.visible()
	if at := m.point(rows); at >= 0 {
		m.place = min(max(0, at+by), len(rows)-1)
		m.cursor = rows[m.place].ID
		if m.place == 0 {
			m.cursor = ""
		}
	}
}

// enter goes into the container under the cursor.
func (m *model) enter() {
	rows := m.visible()
	at := m.point(rows)
	if at < 0 || len(m.inside) > 0 && m.inside[len(m.inside)-1] == rows[at].ID {
		return
	}
	m.inside = append(m.inside, rows[at].ID)
	m.filter, m.cursor = "", ""
}

// leave goes back to where the last enter was, and reports whether there was one.
func (m *model) leave() bool {
	n := len(m.inside)
	if n == 0 {
		return false
	}
	m.cursor, m.inside = m.inside[n-1], m.inside[:n-1]
	return true
}

// sortBy chooses the column so many further right of the one that is chosen.
func (m *model) sortBy(step int) {
	all := columns()
	at := slices.IndexFunc(all, func(c column) bool { return c.title == m.by })
	m.by, m.cursor = all[(at+step+len(all))%len(all)].title, ""
}
