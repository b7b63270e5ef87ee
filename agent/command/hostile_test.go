package command

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/disk"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/layers"
)

// hostile makes answers in which all text from inside a sandbox is s.
func hostile(a *agent, s string) {
	s = identity.Valid(s) // as records are
	link := identity.Link{Kind: "container", ID: "33e9d68c4816", Name: s, Runtime: s, ContainerID: s, Image: s, Level: 1}
	a.id = identity.Identity{
		State: "live", Command: s, Comm: s, Exe: s, Argv: []string{s}, Cgroup: s, PIDs: []identity.PID{7, 1},
		Chain: []identity.Link{{Kind: "node", ID: "ed5ed647", Name: s, Runtime: "host"}, link}, UserNSs: []identity.UserLevel{{}, {Level: 1}},
	}
	a.owner = identity.IDAnswer{Kind: "uid", ID: ptr(uint32(7)), Note: s, Owners: []identity.IDOwner{{State: "gone", Chain: a.id.Chain}},
		Pods: []identity.IDPod{{PodUID: s, Namespace: s, Pod: s, State: "gone"}}}
	a.tree = []identity.TreeNode{{Link: link, Cgroup: s, Children: []identity.TreeNode{{Link: link, Cgroup: s}}}}
	kill := func(scope identity.OOMScope, n int) identity.OOMAnswer {
		k := identity.OOMAnswer{Group: s, Limit: identity.OOMLimitAnswer{
			OOMLimit: identity.OOMLimit{Scope: scope, Cgroup: s}, Chain: []identity.OOMLink{{ID: link.ID, Name: s, Runtime: s, Level: 1}},
		}}
		for range n {
			k.Victims = append(k.Victims, identity.OOMVictimAnswer{Comm: s, Cgroup: s, PIDs: a.id.PIDs, Chain: a.id.Chain})
		}
		return k
	}
	a.kills = []identity.OOMAnswer{kill(identity.OOMInside, 1), kill(identity.OOMCgroup, 4), kill(identity.OOMContainer, 1)}
	a.stats = []identity.StatsRow{
		{ID: "33e9d68c4816", Name: s, Runtime: s, ContainerID: s, Level: 1}, {ID: "393dc72765dc", Parent: "33e9d68c4816", Name: s, Level: 2},
	}
	a.disks = []answers.Disk{
		{Chain: a.id.Chain, Overlay: layers.Overlay{Container: link.ID, Point: s, Kind: layers.KindOverlay, Device: "0:44", FSType: s, Upper: s, Usage: &disk.Usage{
			Cut: []string{s}, CopiedUp: disk.CopiedUp{Largest: []disk.File{{Path: s}}},
		}}},
		{Chain: a.id.Chain, Overlay: layers.Overlay{Container: link.ID, Point: s, Kind: layers.KindDirectory, Note: "it lives in " + s}},
	}
	a.maps = []identity.NSAnswer{{UserNS: 7, Containers: []string{"33e9d68c4816"}}}
}

// Whatever a sandbox calls itself, a terminal shows it as text on the lines
// that are its own, and JSON is the same value.
func FuzzHostileText(f *testing.F) {
	for _, s := range []string{
		"web", "\x1b]0;owned\a", "a\nb\r\tc", "\u202egnp.exe", "\u2028\u0085", "\\n", "\xff\xfe", strings.Repeat("ä", 600), "{{.}}%s%d", "\x00", "\U000e0001\U0010ffff",
		"\u200b\u00a0\u3000", "━│ ▸", strings.Repeat("a\n", 300), "  ",
	} {
		f.Add(s)
	}
	a := &agent{}
	socket := serve(f, a)
	calls := []string{"whois pid 7 -o wide", "whois pid 7", "whois uid 7", "ps -o wide", "ps", "tree -o wide", "tree", "map -o wide", "ps -o json", "tree -o json", "oom", "oom -o wide", "oom -o json",
		"top --interval 100ms -o wide", "top -o json", "du", "du -o wide", "du -o json"}
	lines := map[string]int{}
	hostile(a, "plain")
	for _, c := range calls {
		_, out, _ := run(f, append(strings.Fields(c), "--socket", socket)...)
		lines[c] = strings.Count(out, "\n")
	}
	f.Fuzz(func(t *testing.T, s string) {
		hostile(a, s)
		a.err = nil
		for _, c := range calls {
			code, out, errs := run(t, append(strings.Fields(c), "--socket", socket)...)
			n := lines[c]
			if s == "" {
				n = strings.Count(out, "\n") // what is empty is left out
			}
			if code != 0 || errs != "" || !printable(out) || strings.Count(out, "\n") != n {
				t.Errorf("%s: exits with %d, %q, %d lines, want %d: %q", c, code, errs, strings.Count(out, "\n"), n, out)
			}
			var d string
			switch c {
			case "ps -o json":
				d = cmp.Diff([]identity.Identity{a.id}, decode[[]identity.Identity](t, out))
			case "tree -o json":
				d = cmp.Diff(a.tree, decode[[]identity.TreeNode](t, out))
			case "top -o json":
				d = cmp.Diff(a.stats, decode[[]identity.StatsRow](t, out))
			case "oom -o json":
				d = cmp.Diff(a.kills, decode[[]identity.OOMAnswer](t, out))
			case "du -o json":
				d = cmp.Diff(a.disks, decode[[]answers.Disk](t, out))
			}
			if d != "" {
				t.Errorf("%s (-want +got):\n%s", c, d)
			}
		}
		a.err = errors.New(identity.Valid(s))
		if code, out, errs := run(t, "ps", "--socket", socket); code != 1 || out != "" || !printable(errs) || strings.Count(errs, "\n") != 1 {
			t.Errorf("an error of it: %d %q %q", code, out, errs)
		}
	})
}

// Escaped text is printable, on one line, and says what it was.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a", `\`, `\n`, "\n", "\x1b[2J", "\xff", "\xc3", "ä", "\u202e", "\U000e0001", "'\"", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := Escape(s)
		if !printable(e) || strings.Contains(e, "\n") {
			t.Errorf("Escape(%q) = %q", s, e)
		}
		back, err := strconv.Unquote(`"` + strings.ReplaceAll(e, `"`, `\"`) + `"`)
		if err != nil || back != s {
			t.Errorf("Escape(%q) = %q, which means %q, %v", s, e, back, err)
		}
	})
}
