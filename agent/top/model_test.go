package top

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gdamore/tcell/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// nest is web with db and db's job inside, and dev beside it.
func nest(seconds float64, forks uint64) []identity.StatsRow {
	row := func(id, parent, name string, n uint64, processes int) identity.StatsRow {
		r := counting(id, n)
		r.Parent, r.Name, r.Processes = parent, name, processes
		return r
	}
	return at(seconds, row("1a", "", "web", forks, 4), row("2b", "", "dev", 2*forks, 3), row("3c", "1a", "db", 3*forks, 2), row("4d", "3c", "job", 4*forks, 1))
}

func watching(answers ...[]identity.StatsRow) *model {
	m := newModel(escape, "", 2*time.Second)
	for _, a := range answers {
		m.answer(a, nil)
	}
	return m
}

// press sends keys: names of some, letters of all others.
func press(t *testing.T, m *model, keys ...string) (quit bool) {
	t.Helper()
	named := map[string]tcell.Key{
		"enter": tcell.KeyEnter, "esc": tcell.KeyEscape, "back": tcell.KeyBackspace, "up": tcell.KeyUp, "down": tcell.KeyDown, "left": tcell.KeyLeft,
		"right": tcell.KeyRight, "home": tcell.KeyHome, "end": tcell.KeyEnd, "pgdn": tcell.KeyPgDn, "pgup": tcell.KeyPgUp, "ctrl-c": tcell.KeyCtrlC, "f1": tcell.KeyF1,
	}
	for _, k := range keys {
		e := tcell.NewEventKey(tcell.KeyRune, k, tcell.ModNone)
		if n, ok := named[k]; ok {
			e = tcell.NewEventKey(n, "", tcell.ModNone)
		}
		quit = m.key(e.Key(), e.Str())
	}
	return quit
}

// text is the screen as a terminal shows it, without blanks at ends of lines.
func text(m *model, width, height int) string {
	var out []string
	for _, l := range m.lines(width, height) {
		s := ""
		for _, p := range l {
			s += p.text
		}
		out = append(out, strings.TrimRight(s, " "))
	}
	return strings.Join(out, "\n")
}

// names are the last names of the rows on the screen, the one under the cursor in brackets.
func names(m *model) string {
	var out []string
	rows := m.visible()
	at := m.point(rows)
	for i, r := range rows {
		s := r.Name
		if i == at {
			s = "[" + s + "]"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestKeys(t *testing.T) {
	for _, tc := range []struct{ name, keys, want string }{
		{"most processes first", "", "[web] dev db job"},
		{"down", "down down", "web dev [db] job"},
		{"j and k", "j j k", "web [dev] db job"},
		{"no further than the ends", "end down", "web dev db [job]"},
		{"home", "end home up", "[web] dev db job"},
		{"reverse", "r", "[job] db dev web"},
		{"the cursor goes to the first", "down r", "[job] db dev web"},
		{"what is not known, by name", "right", "[dev] web db job"},
		{"by forks", "right right", "[job] db dev web"},
		{"the least forks", "right right r", "[web] dev db job"},
		{"left is the name", "left", "[dev] web db job"},
		{"round the end", "left left", "[web] dev db job"},
		{"< and >", "< > <", "[dev] web db job"},
		{"into the first", "enter", "[web] db job"},
		{"further in", "enter down enter", "[db] job"},
		{"the same again changes nothing", "enter enter", "[web] db job"},
		{"and back to where it was", "enter down enter esc", "web [db] job"},
		{"all the way", "enter down enter back back back esc", "[web] dev db job"},
		{"filter", "/ d", "[dev] db job"},
		{"of the path", "/ w e b space ▸", "[db] job"},
		{"of an id", "/ 4 D", "[job]"},
		{"of nobody", "/ z", ""},
		{"letters are text while typing", "/ q ? r", ""},
		{"correct it", "/ z back 4", "[job]"},
		{"nothing to take back", "/ back back d", "[dev] db job"},
		{"Enter keeps it", "/ d enter down", "dev [db] job"},
		{"Esc drops it", "/ d esc", "[web] dev db job"},
		{"Esc drops it first", "enter / j enter esc", "[web] db job"},
		{"going in drops it", "/ j enter enter", "[job]"},
		{"in nothing", "/ z enter enter down esc", "[web] dev db job"},
		{"help takes one key", "? down down", "web [dev] db job"},
		{"others do nothing", "f1 x", "[web] dev db job"},
	} {
		m := watching(nest(1, 0), nest(3, 10))
		keys := strings.Fields(tc.keys)
		for i, k := range keys {
			keys[i] = strings.ReplaceAll(k, "space", " ")
		}
		if quit := press(t, m, keys...); quit {
			t.Errorf("%s: quits", tc.name)
		}
		if got := names(m); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	for _, keys := range []string{"q", "ctrl-c", "? q", "? ctrl-c", "/ x ctrl-c", "/ x enter q", "space q"} {
		m := watching(nest(1, 0))
		if !press(t, m, strings.Fields(strings.ReplaceAll(keys, "space", "p"))...) {
			t.Errorf("%s does not quit", keys)
		}
	}
}

// Once it was moved, the cursor goes with its container; the first row is whoever
// is there.
func TestFollow(t *testing.T) {
	busy := nest(3, 10)
	busy[1].Processes = 9 // dev
	m := watching(nest(1, 0))
	m.answer(busy, nil)
	if got := names(m); got != "[dev] web db job" {
		t.Errorf("the first: %s", got)
	}
	press(t, m, "down")
	m.answer(nest(5, 20), nil)
	if got := names(m); got != "[web] dev db job" {
		t.Errorf("web: %s", got)
	}
	m.answer(busy, nil)
	if got := names(m); got != "dev [web] db job" {
		t.Errorf("web still: %s", got)
	}
}

// The cursor stays on its container, and where it was when that goes; who is gone
// is left.
func TestGone(t *testing.T) {
	all := nest(1, 0)
	m := watching(all)
	press(t, m, "down", "down", "enter") // into db
	m.answer(nest(3, 1)[:3], nil)
	if got := names(m); got != "[db]" {
		t.Errorf("job is gone: %s", got)
	}
	m.answer(nest(5, 2)[:2], nil)
	if got := names(m); got != "[web] dev" || len(m.inside) != 0 {
		t.Errorf("db is gone: %s, in %v", got, m.inside)
	}
	press(t, m, "end")
	m.answer(nest(7, 3)[:1], nil)
	if got := names(m); got != "[web]" {
		t.Errorf("who had the cursor is gone: %s", got)
	}
	m.answer(nil, nil)
	if got := text(m, 80, 5); !strings.Contains(got, "no containers") || press(t, m, "down", "enter", "end", "esc") {
		t.Errorf("nobody is left:\n%s", got)
	}
}

// Nothing changes while it is paused, and rates begin anew after it.
func TestPause(t *testing.T) {
	m := watching(nest(1, 0), nest(3, 10))
	fork := func() string { return rates(m.visible()[0])[:1] }
	if fork() != "5" {
		t.Fatalf("%s forks a second", fork())
	}
	press(t, m, " ")
	frozen := text(m, 80, 24)
	if !strings.HasPrefix(frozen, "PAUSED") {
		t.Error(frozen)
	}
	m.answer(nest(5, 1000), nil)
	m.answer(nil, errors.New("boom"))
	if d := cmp.Diff(frozen, text(m, 80, 24)); d != "" {
		t.Errorf("while paused (-before +after):\n%s", d)
	}
	press(t, m, " ")
	m.answer(nest(105, 2000), nil)
	if fork() != "-" {
		t.Errorf("%s forks a second over the pause", fork())
	}
	m.answer(nest(107, 2002), nil)
	if fork() != "1" {
		t.Errorf("%s forks a second after it", fork())
	}
}

// What goes wrong is said, escaped, what was known stays, and rates begin anew.
func TestTrouble(t *testing.T) {
	m := watching(nest(1, 0), nest(3, 10))
	m.answer(nil, errors.New("agent \x1b[2J gone"))
	if got := text(m, 80, 10); !strings.Contains(got, `agent \x1b[2J gone`) || names(m) != "[web] dev db job" {
		t.Error(got)
	}
	m.answer(nest(5, 1000), nil)
	if got := text(m, 80, 10); strings.Contains(got, "gone") || rates(m.visible()[0]) != "- - - - -" {
		t.Error(got)
	}
}
