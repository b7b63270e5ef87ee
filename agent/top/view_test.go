package top

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clipperhouse/displaywidth"
	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Whatever a container calls itself, the screen has its lines of its width, with
// printable text alone.
func FuzzScreen(f *testing.F) {
	for _, s := range []string{"web", "\x1b]0;owned\a", "a\nb\r\tc", "世界世界世界世界世界世界", "e\u0301\u0302\u0303", "\u202egnp", "👩‍👩‍👧‍👦", "\xff", strings.Repeat("ä", 600)} {
		f.Add(s, 80, 24)
		f.Add(s, 40, 5)
		f.Add(s, 1, 1)
	}
	f.Fuzz(func(t *testing.T, s string, width, height int) {
		width, height = max(0, width%300), max(0, height%100)
		r := identity.StatsRow{ID: "1a", Name: s, Runtime: s, ContainerID: s}
		inner := identity.StatsRow{ID: "2b", Parent: "1a", Name: s}
		m := newModel(escape, s, time.Second)
		for _, keys := range []string{"", "enter", "?", "esc / x", "enter"} {
			m.answer(at(1, r, inner), nil)
			if keys == "?" {
				m.answer(nil, errors.New(s))
			}
			press(t, m, strings.Fields(keys)...)
			lines := m.lines(width, height)
			if len(lines) != height {
				t.Fatalf("%d lines, want %d", len(lines), height)
			}
			for _, l := range lines {
				n := 0
				for _, p := range l {
					n += displaywidth.String(p.text)
					if escape(p.text) != strings.ReplaceAll(p.text, `\`, `\\`) {
						t.Errorf("%q", p.text)
					}
				}
				if n > max(width, 0) && width > 0 {
					t.Errorf("%d cells of %d: %+v", n, width, l)
				}
			}
		}
	})
}

func TestScreen(t *testing.T) {
	m := watching(nest(1, 0), nest(3, 10))
	clock := start.Add(3 * time.Second).Local().Format("15:04:05")
	want := fmt.Sprintf(`eyas top  node  4 of 4 containers  %s  every 2s
NAME             PROC      PIDS FORK/S DENY/S READ/S WRITE/S       MEM PSI C/M/I
web                 4         -    5.0   10.0     15      20         -         -
dev                 3         -   10.0   20.0     30      40         -         -
web ▸ db            2         -   15.0   30.0     45      60         -         -
web ▸ db ▸ job      1         -   20.0   40.0     60      80         -         -

Enter in  Esc out  ←→ sort  r reverse  / filter  Space pause  ? help  q quit`, clock)
	if d := cmp.Diff(want, text(m, 80, 8)); d != "" {
		t.Errorf("80 cells (-want +got):\n%s", d)
	}
	press(t, m, "enter", "end", "/", "b")
	want = `eyas top  in web  3 of 4 containers
NAME               PROC      PIDS FORK/S
web                   4         -    5.0
web ▸ db              2         -   15.0
/b▏`
	if d := cmp.Diff(want, text(m, 40, 5)); d != "" {
		t.Errorf("40 cells (-want +got):\n%s", d)
	}
	press(t, m, "esc", "?")
	if got := text(m, 80, 40); !strings.Contains(got, "Space          pause, go on") || !strings.Contains(got, "FORK/S         processes born right in it") {
		t.Errorf("help:\n%s", got)
	}
	fresh := newModel(escape, "web/db", time.Second)
	if got := text(fresh, 80, 5); !strings.Contains(got, "in web/db  0 of 0") || !strings.Contains(got, "waiting for the agent") {
		t.Errorf("before the first answer:\n%s", got)
	}
}

// Of more rows than there is room for, those around the cursor are shown.
func TestScroll(t *testing.T) {
	var rows []identity.StatsRow
	for i := range 100 {
		rows = append(rows, identity.StatsRow{ID: fmt.Sprint(i), Name: fmt.Sprintf("c%02d", i), Processes: 100 - i})
	}
	m := watching(at(1, rows...))
	m.lines(80, 13) // ten rows
	for keys, want := range map[string]string{"home": "c00 c09", "end": "c90 c99", "home pgdn pgdn": "c15 c24", "home end pgup": "c84 c93"} {
		press(t, m, strings.Fields(keys)...)
		shown := strings.Split(text(m, 80, 13), "\n")
		got := strings.Fields(shown[2])[0] + " " + strings.Fields(shown[11])[0]
		if got != want {
			t.Errorf("%s: %s, want %s", keys, got, want)
		}
	}
}
