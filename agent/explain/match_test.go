package explain

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// mutations change a text as people, terminals and logs do.
var mutations = map[string]func(string) string{
	"as it is":   func(s string) string { return s },
	"upper":      strings.ToUpper,
	"lower":      strings.ToLower,
	"numbers":    func(s string) string { return regexp.MustCompile(`[0-9]+`).ReplaceAllString(s, "7012") },
	"no numbers": func(s string) string { return regexp.MustCompile(`[0-9]+`).ReplaceAllString(s, "") },
	"quotes": func(s string) string {
		return strings.NewReplacer("`", "'", `"`, "“", "'", "’", "‘", "`").Replace(s)
	},
	"unquoted": func(s string) string { return strings.NewReplacer("`", "", `"`, "").Replace(s) },
	"hex ids": func(s string) string {
		return regexp.MustCompile(`[0-9a-f]{12,}`).ReplaceAllString(s, strings.Repeat("deadbeef", 8))
	},
	"paths": func(s string) string {
		return regexp.MustCompile(`/(home|var/lib|etc|tmp|data|opt)/[^\s:'"\x60)\]]*`).ReplaceAllString(s, "/srv/other place/a.b-c_d/3")
	},
	"usr bin":     func(s string) string { return strings.ReplaceAll(s, "/usr/bin/", "/opt/tools/4/bin/") },
	"json":        func(s string) string { return fmt.Sprintf(`{"level":"error","msg":%q}`, s) },
	"json twice":  func(s string) string { return fmt.Sprintf("%q", fmt.Sprintf("%q", s)) },
	"prefix":      func(s string) string { return "E0131 03:00:00.123456    4242 pod_workers.go:1301] " + s },
	"suffix":      func(s string) string { return s + ": unknown\n\nRun with --debug to see more" },
	"journal":     func(s string) string { return "Jan 31 03:00:00 node1 podman[4242]: " + s },
	"crlf":        func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") + "\r\n" },
	"colour":      func(s string) string { return "\x1b[31;1m" + s + "\x1b[0m" },
	"lost colour": func(s string) string { return `\u001b[31m` + s + `\u001b[0m#033[0m` },
	"wide wraps":  func(s string) string { return fold(s, 72) },
	"wraps":       func(s string) string { return fold(s, 40) },
	"tight wraps": func(s string) string { return fold(s, 23) },
	"blanks":      func(s string) string { return strings.ReplaceAll(s, " ", " \t ") },
	"in a log": func(s string) string {
		return strings.Repeat("time=now level=info msg=\"nothing to see\"\n", 200) + s + "\n" + strings.Repeat("GET /healthz 200\n", 300)
	},
}

// fold breaks lines as fold(1) does, also within words.
func fold(s string, width int) string {
	var b strings.Builder
	for line := range strings.SplitSeq(s, "\n") {
		for len(line) > width {
			b.WriteString(line[:width] + "\n")
			line = line[width:]
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func found(all []Match) (ids []string) {
	for _, m := range all {
		ids = append(ids, m.Entry.ID)
	}
	return ids
}

// Every real text is known, whatever was done to it, and its own entry is first.
func TestRealTexts(t *testing.T) {
	m := newMatcher(Catalogue())
	for id, texts := range realTexts {
		for _, text := range texts {
			for name, mutate := range mutations {
				got := found(m.find(mutate(text)))
				if len(got) == 0 || got[0] != id {
					t.Errorf("%s, %s: found %q in %.300q", id, name, got, mutate(text))
				}
			}
		}
	}
}

// What an entry shows as its error is known as its own, too.
func TestErrorsAreTheirOwn(t *testing.T) {
	for _, e := range Catalogue() {
		if got := found(Find(e.Error)); len(got) == 0 || got[0] != e.ID {
			t.Errorf("%s: found %q in %q", e.ID, got, e.Error)
		}
	}
}

func TestUnrelated(t *testing.T) {
	if len(unrelated) < 60 {
		t.Fatalf("only %d texts", len(unrelated))
	}
	m := newMatcher(Catalogue())
	for _, text := range unrelated {
		for name, mutate := range mutations {
			if got := found(m.find(mutate(text))); len(got) > 0 {
				t.Errorf("%s: found %q in %.300q", name, got, mutate(text))
			}
		}
	}
	// As one log, too.
	if got := found(m.find(strings.Join(unrelated, "\n"))); len(got) > 0 {
		t.Errorf("found %q in all of them", got)
	}
}

func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	kebab := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	known := map[string][]string{OnNode: doctor.NodeChecks(), OnContainer: doctor.ContainerChecks()}
	for _, e := range Catalogue() {
		if seen[e.ID] || !kebab.MatchString(e.ID) {
			t.Errorf("%q: taken, or not in kebab-case", e.ID)
		}
		seen[e.ID] = true
		if e.Error == "" || e.Cause == "" || e.Fix == "" || len(e.Seen) == 0 || len(e.Match) == 0 {
			t.Errorf("%s: incomplete", e.ID)
		}
		if (len(e.Checks) == 0) == (e.Blind == "") {
			t.Errorf("%s: want checks, or why there are none", e.ID)
		}
		for _, c := range e.Checks {
			if !slices.Contains(known[c.On], c.ID) || c.Confirms != doctor.Warn && c.Confirms != doctor.Fail {
				t.Errorf("%s: check %+v", e.ID, c)
			}
		}
		for _, s := range e.Match {
			if p := compile(s); slices.Contains(p.phrases, "") || p.letters < 15 {
				t.Errorf("%s: pattern %q says too little", e.ID, s)
			}
		}
		if len(realTexts[e.ID]) == 0 {
			t.Errorf("%s: no real text", e.ID)
		}
	}
	for id := range maps.Keys(realTexts) {
		if !seen[id] {
			t.Errorf("texts of %s, which is no entry", id)
		}
	}
	if len(seen) < 44 {
		t.Errorf("only %d entries", len(seen))
	}
}

// The line is told, as it was given.
func TestLine(t *testing.T) {
	got := Find("one\ntwo\n\x1b[1mnewuidmap: Could not set caps\x1b[0m\nfour\n")
	if len(got) != 1 || got[0].Line != 3 || got[0].Text != "\x1b[1mnewuidmap: Could not set caps\x1b[0m" {
		t.Errorf("%+v", got)
	}
	got = Find("one\nnewuidmap: Could\nnot set caps\n")
	if len(got) != 1 || got[0].Line != 2 || got[0].Text != "newuidmap: Could" {
		t.Errorf("%+v", got)
	}
}

// What is shown of a line is bounded, and does not end within a rune.
func TestLongLine(t *testing.T) {
	got := Find("x" + strings.Repeat("ä", maxLine) + " newuidmap: Could not set caps")
	if len(got) != 1 || len(got[0].Text) != maxLine-1 || !utf8.ValidString(got[0].Text) {
		t.Errorf("%d matches", len(got))
	}
}

// Parts far from each other, or in the wrong order, are not one error.
func TestGap(t *testing.T) {
	far := strings.Repeat("x ", gapInLine+1)
	for _, text := range []string{
		"create keyring " + far + "disk quota exceeded", "disk quota exceeded: create keyring", "recreate keyring x: disk quota exceeded",
		"create keyring x: disk quota exceededness", "create keyring a\n" + strings.Repeat("y\n", gapWrapped+1) + "disk quota exceeded",
	} {
		if got := found(Find(text)); len(got) > 0 {
			t.Errorf("found %q in %.60q", got, text)
		}
	}
	// The first occurrence is too far away, the second is not.
	if got := found(Find("create keyring " + far + "create keyring y: disk quota exceeded")); len(got) != 1 {
		t.Errorf("found %q", got)
	}
}

// Hostile text of any length is looked at up to the bound.
func TestBound(t *testing.T) {
	m := newMatcher(Catalogue())
	for _, part := range []string{"cgroup ", "\n", "a\n", "create keyring ", "mount proc operation ", "\\", "\x1b[", "[1", "\xff", "fork exec "} {
		s := strings.Repeat(part, MaxText/len(part)+1)
		if got := found(m.find(s + "\nnewuidmap: Could not set caps")); len(got) > 0 {
			t.Errorf("%q: found %q beyond the bound", part, got)
		}
	}
}

func FuzzFind(f *testing.F) {
	for _, texts := range realTexts {
		for _, s := range texts {
			f.Add(s)
		}
	}
	for _, s := range unrelated {
		f.Add(s)
	}
	m := newMatcher(Catalogue())
	f.Fuzz(func(t *testing.T, s string) {
		n := normalize(s)
		if len(n.starts) != len(n.letters)+1 || len(n.lines) != len(n.raw) {
			t.Fatalf("%d letters, %d starts, %d lines, %d raw", len(n.letters), len(n.starts), len(n.lines), len(n.raw))
		}
		for _, match := range m.find(s) {
			if match.Line < 1 || match.Line > 1+strings.Count(s, "\n") || !strings.Contains(s, match.Text) {
				t.Fatalf("line %d, %q", match.Line, match.Text)
			}
		}
	})
}

func BenchmarkFindFull(b *testing.B) {
	m := newMatcher(Catalogue())
	s := strings.Repeat("time=now level=error msg=\"create keyring failed: operation not permitted in cgroup\"\n", MaxText/80)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		m.find(s)
	}
}
