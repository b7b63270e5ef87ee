package sources

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/eyas-agent/eyas/agent/subid"
)

// subidLine is a line of /etc/subuid or /etc/subgid.
type subidLine struct {
	login string // name or uid
	r     subid.Range
	line  int
}

// parseSubid reads login:start:count (subuid(5)). A range that runs past the
// last id is cut there: its owner may use what there is.
func parseSubid(text []byte) ([]subidLine, badLines, error) {
	var out []subidLine
	var bad badLines
	err := eachLine(text, func(n int, line []byte) error {
		if line[0] == '#' {
			return nil
		}
		f := bytes.Split(line, []byte(":"))
		if len(f) != 3 || len(f[0]) == 0 {
			bad.add(n, errors.New("want login:start:count"))
			return nil
		}
		start, err1 := number(f[1])
		count, err2 := number(f[2])
		if err := errors.Join(err1, err2); err != nil {
			bad.add(n, err)
			return nil
		}
		r := subid.Range{Start: start, Count: count}
		if r.Validate() != nil {
			bad.add(n, fmt.Errorf("%s is no range of ids", r))
			r.Count = uint32(min(uint64(count), 1<<32-uint64(start)))
		}
		out = append(out, subidLine{string(f[0]), r, n})
		return nil
	})
	return out, bad, err
}

func subidClaims(lines []subidLine, path, own string) []subid.Claim {
	var out []subid.Claim
	for _, l := range lines {
		if own != "" && l.login == own {
			continue
		}
		out = append(out, subid.Claim{Range: l.r, Source: fmt.Sprintf("%s (%s line %d)", quote(l.login), path, l.line)})
	}
	return out
}

// parseNsswitch looks for a source of ranges other than the files. There can be
// one only, and with it the files are not read (subid in nsswitch.conf(5)); it
// answers for one user at a time, so who holds what is not to be had from it.
func parseNsswitch(path string, text []byte) (Warning, bool) {
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		services, ok := strings.CutPrefix(strings.TrimSpace(line), "subid:")
		if !ok {
			continue
		}
		for _, s := range strings.Fields(services) {
			if s == "files" || s[0] == '[' {
				continue
			}
			return Warning{SubidExclusive,
				fmt.Sprintf("%s: subid is answered by %s alone: its ranges are exclusive and cannot be enumerated", path, quote(s)),
				"keep the agent's range out of what that service gives, or say subid: files"}, true
		}
	}
	return Warning{}, false
}

// kubelet's user, and what it takes without one.
const kubeletUser = "kubelet"

// kubeletRange tells which range kubelet uses, which it asks of getsubids: that
// needs the user, exactly one line, and the same for uids and gids. The checks
// are those of kubelet at start-up; Lint has those of the plan.
func kubeletRange(users []user, uids, gids []subidLine) (subid.Range, []Warning) {
	const fix = "as in kubelet:805306368:268435456, before the node's first pod: a change on a node with pods stops kubelet"
	uid, known := "", false
	for _, u := range users {
		if u.name == kubeletUser {
			uid, known = fmt.Sprint(u.uid), true
			break
		}
	}
	of := func(lines []subidLine) (out []subid.Range) {
		for _, l := range lines {
			if l.login == kubeletUser || known && l.login == uid {
				out = append(out, l.r)
			}
		}
		return out
	}
	u, g := of(uids), of(gids)
	refused := func(format string, args ...any) (subid.Range, []Warning) {
		return subid.Range{}, []Warning{{KubeletRange, "kubelet does not start: " + fmt.Sprintf(format, args...), "one line in subuid and the same in subgid, " + fix}}
	}
	switch {
	case !known && len(u) == 0 && len(g) == 0:
		return subid.Range{}, []Warning{{KubeletRandom, "kubelet has no range: it takes blocks at random from 65536 to 4294967295, whoever has them",
			"make a user kubelet and give it a line in subuid and subgid, " + fix}}
	case !known:
		return subid.Range{}, []Warning{{KubeletRandom, "kubelet ignores its lines in subuid and subgid, because there is no user kubelet", "make a user kubelet"}}
	case len(u) != 1 || len(g) != 1:
		return refused("it has %d lines in subuid and %d in subgid", len(u), len(g))
	case u[0] != g[0]:
		return refused("its range is %s in subuid and %s in subgid", u[0], g[0])
	case u[0].Start < subid.BlockSize || u[0].Start%subid.BlockSize != 0 || u[0].Count == 0 || u[0].Count%subid.BlockSize != 0:
		return refused("its range %s does not start at 65536 or above and in multiples of it", u[0])
	}
	return u[0], nil
}
