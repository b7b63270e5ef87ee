package top

import (
	"unicode/utf8"

	"github.com/gdamore/tcell/v3"
)

// keys are for the help.
var keys = [][2]string{
	{"↑ ↓ PgUp PgDn", "choose a container"},
	{"Enter", "show only it and those inside"},
	{"Esc Backspace", "and back"},
	{"← →", "sort by the column further left or right"},
	{"r", "the other way round"},
	{"/", "filter by name or id; Enter keeps it, Esc drops it"},
	{"Space", "pause, go on"},
	{"?", "this help"},
	{"q", "quit"},
}

// maxFilter bounds what is typed, in runes.
const maxFilter = 64

// key does what a key means, and reports whether it is to end.
func (m *model) key(k tcell.Key, text string) (quit bool) {
	switch {
	case k == tcell.KeyCtrlC:
		return true
	case m.help:
		m.help = false
		return text == "q"
	case m.typing:
		m.edit(k, text)
		return false
	}
	switch k {
	case tcell.KeyUp:
		m.move(-1)
	case tcell.KeyDown:
		m.move(1)
	case tcell.KeyPgUp:
		m.move(-m.page)
	case tcell.KeyPgDn:
		m.move(m.page)
	case tcell.KeyHome:
		m.move(-len(m.rows))
	case tcell.KeyEnd:
		m.move(len(m.rows))
	case tcell.KeyLeft:
		m.sortBy(-1)
	case tcell.KeyRight:
		m.sortBy(1)
	case tcell.KeyEnter:
		m.enter()
	case tcell.KeyEscape, tcell.KeyBackspace, tcell.KeyBackspace2:
		if m.filter != "" {
			m.filter = ""
		} else {
			m.leave()
		}
	case tcell.KeyRune:
		return m.letter(text)
	}
	return false
}

func (m *model) letter(text string) (quit bool) {
	switch text {
	case "q":
		return true
	case "?":
		m.help = true
	case " ":
		m.pause()
	case "/":
		m.typing, m.filter, m.cursor = true, "", ""
	case "r":
		m.reverse, m.cursor = !m.reverse, ""
	case "k":
		m.move(-1)
	case "j":
		m.move(1)
	case "<":
		m.sortBy(-1)
	case ">":
		m.sortBy(1)
	}
	return false
}

// edit changes the filter.
func (m *model) edit(k tcell.Key, text string) {
	switch k {
	case tcell.KeyEnter:
		m.typing = false
	case tcell.KeyEscape:
		m.typing, m.filter = false, ""
	case tcell.KeyBackspace, tcell.KeyBackspace2:
		_, n := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-n]
	case tcell.KeyRune:
		if utf8.RuneCountInString(m.filter+text) <= maxFilter {
			m.filter += text
		}
	}
}
