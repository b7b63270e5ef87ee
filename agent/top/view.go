package top

import (
	"fmt"

	"github.com/clipperhouse/displaywidth"
)

// look is how a piece of a line stands out.
type look int

const (
	plain  look = iota
	title       // of a column
	chosen      // under the cursor
	alarm
	alarmChosen
	dim
)

// span is a piece of a line. Its text is safe to print.
type span struct {
	text string
	look look
}

// lines are at most height lines of at most width cells: where we are, the
// header, the rows around the cursor, and what the keys do or what is wrong.
func (m *model) lines(width, height int) [][]span {
	rows := m.visible()
	at := m.point(rows)
	m.page = max(1, height-3)
	out := [][]span{m.status(width, rows)}
	if m.help {
		out = append(out, m.helpLines(width)...)
	} else {
		shown := choose(width)
		out = append(out, m.header(shown))
		first := max(0, min(at-m.page/2, len(rows)-m.page))
		for i := first; i < min(len(rows), first+m.page); i++ {
			out = append(out, rowLine(&rows[i], shown, i == at))
		}
		if len(rows) == 0 {
			out = append(out, []span{{keepStart(m.emptyText(), width), dim}})
		}
	}
	out = out[:min(len(out), max(0, height-1))]
	for len(out) < height-1 {
		out = append(out, nil)
	}
	return append(out, m.footer(width))[:max(0, height)]
}

func (m *model) emptyText() string {
	switch {
	case m.answers == 0:
		return "waiting for the agent"
	case m.filter != "":
		return "no container matches"
	}
	return "no containers"
}

// status says what is shown.
func (m *model) status(width int, rows []Row) []span {
	var parts []string
	if m.paused {
		parts = append(parts, "PAUSED")
	}
	parts = append(parts, "eyas top", m.whereText(), fmt.Sprintf("%d of %d containers", len(rows), len(m.rows)))
	if len(m.rows) > 0 {
		parts = append(parts, m.rows[0].Time.Local().Format("15:04:05"))
	}
	parts = append(parts, "every "+m.interval.String())
	if m.filter != "" && !m.typing {
		parts = append(parts, "filter "+m.escape(m.filter))
	}
	// What does not fit as a whole is left out.
	text := parts[0]
	for _, p := range parts[1:] {
		if displaywidth.String(text)+2+displaywidth.String(p) <= width {
			text += "  " + p
		}
	}
	return []span{{keepStart(text, width), plain}}
}

// whereText is the container gone into, or what was asked for.
func (m *model) whereText() string {
	if n := len(m.inside); n > 0 {
		for _, r := range m.rows {
			if r.ID == m.inside[n-1] {
				s, _ := keepEnd(r.Path, 40)
				return "in " + s
			}
		}
	}
	if m.where != "" {
		return "in " + keepStart(m.where, 40)
	}
	return "node"
}

func (m *model) header(shown []column) (out []span) {
	for i, c := range shown {
		name, l := c.title, title
		if c.title == m.by {
			l = chosen
		}
		out = append(out, span{cell(name, c.width, i > 0), l})
		if i < len(shown)-1 {
			out = append(out, span{" ", title})
		}
	}
	return out
}

func rowLine(r *Row, shown []column, here bool) (out []span) {
	for i, c := range shown {
		l := plain
		hot := c.alarm != nil && c.alarm(r)
		switch {
		case hot && here:
			l = alarmChosen
		case hot:
			l = alarm
		case here:
			l = chosen
		}
		out = append(out, span{cell(c.text(r), c.width, i > 0), l})
		if i < len(shown)-1 {
			gap := plain
			if here {
				gap = chosen
			}
			out = append(out, span{" ", gap})
		}
	}
	return out
}

func (m *model) footer(width int) []span {
	switch {
	case m.typing:
		return []span{{keepStart("/"+m.escape(m.filter)+"▏", width), plain}}
	case m.trouble != "":
		return []span{{keepStart(m.trouble, width), alarm}}
	case width < 80:
		return []span{{keepStart("? help  q quit", width), dim}}
	}
	return []span{{"Enter in  Esc out  ←→ sort  r reverse  / filter  Space pause  ? help  q quit", dim}}
}

func (m *model) helpLines(width int) (out [][]span) {
	line := func(key, text string) {
		out = append(out, []span{{keepStart(fmt.Sprintf("  %s%s", cell(key, 15, false), text), width), plain}})
	}
	for _, k := range keys {
		line(k[0], k[1])
	}
	for _, c := range columns() {
		line(c.title, c.what)
	}
	return out
}
