package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
)

func subidChecks() []check[*Node] {
	const (
		why = "newuidmap gives a user the ranges of this file; a line it cannot read counts for nothing, and a range of two users lets each touch the other's files"
		fix = "write each line as user:first:count, 64K-aligned and above 600100000; change a range only while nobody uses it"
	)
	return []check[*Node]{
		{id: "subuid", what: "/etc/subuid is well-formed, its ranges are disjoint", why: why, fix: fix, look: (*Node).subuid},
		{id: "subgid", what: "/etc/subgid is well-formed, its ranges are disjoint", why: why, fix: fix, look: (*Node).subgid},
		{
			id: "subid-symmetry", what: "users have the same sub-uids and sub-gids", look: (*Node).subidSymmetry,
			why: "kubelet refuses ranges that differ, and an engine uses only what both have",
			fix: "make /etc/subgid equal to /etc/subuid",
		},
		{
			id: "subid-nsswitch", what: "sub-ids come from files", look: (*Node).subidNSS,
			why: "another source than files replaces /etc/subuid as a whole: what is written there counts for nothing",
			fix: "remove the subid line of /etc/nsswitch.conf, or look at that source with getsubids",
		},
	}
}

// subRange is a line of /etc/subuid or /etc/subgid.
type subRange struct {
	owner        string // name, or uid in decimal
	first, count uint64
	line         int
}

func (r subRange) end() uint64 { return r.first + r.count }
func (r subRange) String() string {
	return fmt.Sprintf("%s:%d:%d", clip(r.owner, 32), r.first, r.count)
}
func (r subRange) sameIDs(o subRange) bool { return r.first == o.first && r.count == o.count }

// maxRanges bounds what is compared; nodes with 10,000 users exist.
const maxRanges = 100_000

// parseSubIDs reads subuid(5). What is wrong is told with its line, and is left
// out as shadow leaves it out.
func parseSubIDs(text string) (all []subRange, wrong []string) {
	for i, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if len(all) == maxRanges {
			return all, append(wrong, fmt.Sprintf("more than %d lines", maxRanges))
		}
		r, err := parseSubID(line)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("line %d: %v", i+1, err))
			continue
		}
		r.line = i + 1
		all = append(all, r)
	}
	return all, wrong
}

func parseSubID(line string) (subRange, error) {
	fields := strings.Split(line, ":")
	if len(fields) != 3 || fields[0] == "" {
		return subRange{}, fmt.Errorf("want user:first:count, got %q", clip(line, 64))
	}
	first, err1 := strconv.ParseUint(fields[1], 10, 32)
	count, err2 := strconv.ParseUint(fields[2], 10, 32)
	switch {
	case err1 != nil || err2 != nil:
		return subRange{}, fmt.Errorf("want numbers, got %q", clip(line, 64))
	case count == 0:
		return subRange{}, fmt.Errorf("a range of 0 ids: %q", clip(line, 64))
	case first+count > 1<<32:
		return subRange{}, fmt.Errorf("ends beyond 4294967295: %q", clip(line, 64))
	}
	return subRange{owner: fields[0], first: first, count: count}, nil
}

// overlaps tells which ranges of different owners meet. same reports whether
// two owners are one user.
func overlaps(all []subRange, same func(a, b string) bool) []string {
	sorted := slices.Clone(all)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].first < sorted[j].first })
	var out []string
	var open []subRange
	for _, r := range sorted {
		kept := open[:0]
		for _, o := range open {
			if o.end() <= r.first {
				continue
			}
			kept = append(kept, o)
			if !same(o.owner, r.owner) {
				out = append(out, fmt.Sprintf("%s and %s", o, r))
			}
		}
		if len(out) > 1000 { // all users on one range
			return out
		}
		open = append(kept, r)
	}
	return out
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// users maps names to uids; without /etc/passwd it knows nobody.
func (n *Node) users() map[string]string {
	out := map[string]string{}
	b, err := n.root.read("etc/passwd", maxFile)
	if err != nil {
		return out
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if f := strings.Split(line, ":"); len(f) >= 3 {
			out[f[0]] = f[2]
		}
	}
	return out
}

// sameUser returns a comparison of owners, which may be names or uids.
func (n *Node) sameUser() func(a, b string) bool {
	users := n.users()
	uid := func(s string) string {
		if u, known := users[s]; known {
			return u
		}
		return s
	}
	return func(a, b string) bool { return a == b || uid(a) == uid(b) }
}

func (n *Node) subIDs(name string) ([]subRange, []string, error) {
	b, err := n.root.read("etc/"+name, maxFile)
	if err != nil {
		return nil, nil, err
	}
	all, wrong := parseSubIDs(string(b))
	return all, wrong, nil
}

func (n *Node) subuid(context.Context) finding { return n.subidFile("subuid") }
func (n *Node) subgid(context.Context) finding { return n.subidFile("subgid") }

func (n *Node) subidFile(name string) finding {
	all, wrong, err := n.subIDs(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return warnf("no /etc/%s: rootless engines on the node itself have no ranges", name)
	case err != nil:
		return unreadable(err)
	}
	if shared := overlaps(all, n.sameUser()); len(shared) > 0 {
		return failf("shared: %s", named(shared))
	}
	if len(wrong) > 0 {
		return failf("%s", named(wrong))
	}
	for _, r := range all {
		if r.end() == 1<<32 {
			return warnf("%s holds 4294967295, which means \"no id\": the kernel refuses to map it", r)
		}
	}
	return okf("%d ranges", len(all))
}

func (n *Node) subidSymmetry(context.Context) finding {
	uids, _, err := n.subIDs("subuid")
	if err != nil {
		return unreadable(err)
	}
	gids, _, err := n.subIDs("subgid")
	if err != nil {
		return unreadable(err)
	}
	var differ []string
	for _, pair := range []struct {
		file       string
		have, lack []subRange
	}{{"subuid", uids, gids}, {"subgid", gids, uids}} {
		known := map[string]bool{}
		for _, r := range pair.lack {
			known[r.String()] = true
		}
		for _, r := range pair.have {
			if !known[r.String()] {
				differ = append(differ, fmt.Sprintf("%s only in %s", r, pair.file))
			}
		}
	}
	if len(differ) > 0 {
		return warnf("%s", named(differ))
	}
	return okf("%d ranges in both", len(uids))
}

func (n *Node) subidNSS(context.Context) finding {
	source, err := n.subidSource()
	switch {
	case err != nil:
		return unreadable(err)
	case source != "files":
		return warnf("subid: %s", source)
	}
	return okf("files")
}

// subidSource returns what nsswitch.conf says of subid; files when nothing.
func (n *Node) subidSource() (string, error) {
	s, err := n.root.text("etc/nsswitch.conf")
	if errors.Is(err, os.ErrNotExist) {
		return "files", nil
	}
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(s, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if rest, found := strings.CutPrefix(strings.TrimSpace(line), "subid:"); found {
			return strings.TrimSpace(rest), nil
		}
	}
	return "files", nil
}
