package sources

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/hostfs"
)

// Host is where this node's files are.
type Host struct {
	Node    hostfs.Root // its root directory
	Etc     string      // /etc, there
	Kubelet string      // /var/lib/kubelet, there; "": its pods are not asked for
	Proc    string      // /proc, of this process
	// Own is the login whose lines in /etc/subuid and /etc/subgid keep others
	// off the agent's range: they are no claim against it. "": none.
	Own string
}

// Snapshot is what others hold at one time.
type Snapshot struct {
	Claims   []subid.Claim
	Warnings []Warning
	// KubeletRange is where kubelet takes ranges for pods from; zero: from
	// anywhere, or it cannot be told, and a warning says why.
	KubeletRange subid.Range
}

// WarningKind tells warnings apart.
type WarningKind string

const (
	// SubidExclusive: nsswitch.conf names a source of ranges other than the
	// files, which is asked instead of them and cannot be enumerated.
	SubidExclusive WarningKind = "subid-exclusive"
	// KubeletRandom: kubelet has no range of its own, and takes blocks anywhere.
	KubeletRandom WarningKind = "kubelet-random"
	// KubeletRange: kubelet's range is one that kubelet refuses.
	KubeletRange WarningKind = "kubelet-range"
	// Malformed: lines that their readers skip, as we do.
	Malformed WarningKind = "malformed"
)

// Warning is something that makes the claims incomplete or that will make
// containers fail.
type Warning struct {
	Kind WarningKind
	Text string
	Fix  string
}

// Snapshot reads all sources. With an error, the claims are those of the
// sources that could be read: enough to report, not to lease by. A file or
// directory that does not exist holds nothing; one that a link leads to, which leads
// nowhere, cannot be read.
func (h Host) Snapshot() (Snapshot, error) {
	var s Snapshot
	var errs []error
	read := func(name string, limit int64, parse func(path string, text []byte) error) {
		path := filepath.Join(h.Etc, name)
		text, err := h.Node.Read(path, limit)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err == nil {
			err = parse(path, text)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read who holds ids: %w: mend the file, or nothing is leased", err))
		}
	}
	add := func(claims []subid.Claim, bad badLines, path string) {
		s.Claims = append(s.Claims, claims...)
		if w, any := bad.warning(path); any {
			s.Warnings = append(s.Warnings, w)
		}
	}
	var users []user
	read("passwd", maxFile, func(path string, text []byte) (err error) {
		var bad badLines
		users, bad, err = parsePasswd(text)
		add(userClaims(users, path), bad, path)
		return wrap(path, err)
	})
	read("group", maxFile, func(path string, text []byte) error {
		groups, bad, err := parseGroup(text)
		add(groupClaims(groups, path), bad, path)
		return wrap(path, err)
	})
	var lines [2][]subidLine
	for i, name := range []string{"subuid", "subgid"} {
		read(name, maxFile, func(path string, text []byte) error {
			parsed, bad, err := parseSubid(text)
			lines[i] = parsed
			add(subidClaims(parsed, path, h.Own), bad, path)
			return wrap(path, err)
		})
	}
	read("nsswitch.conf", maxRecord, func(path string, text []byte) error {
		if w, exclusive := parseNsswitch(path, text); exclusive {
			s.Warnings = append(s.Warnings, w)
		}
		return nil
	})
	var w []Warning
	s.KubeletRange, w = kubeletRange(users, lines[0], lines[1])
	s.Warnings = append(s.Warnings, w...)
	pods, err := h.kubeletPods()
	s.Claims, errs = append(s.Claims, pods...), append(errs, err)
	live, err := h.userNamespaces()
	s.Claims, errs = append(s.Claims, live...), append(errs, err)
	s.Claims = append(s.Claims, subid.SystemdRanges()...)
	return s, errors.Join(errs...)
}

func wrap(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("parse %s: %w", path, err)
}

// badLines are lines that were skipped.
type badLines struct {
	n     int
	first error
}

func (b *badLines) add(n int, err error) {
	if b.n++; b.n == 1 {
		b.first = fmt.Errorf("line %d: %w", n, err)
	}
}

func (b badLines) warning(path string) (Warning, bool) {
	if b.n == 0 {
		return Warning{}, false
	}
	return Warning{Malformed, fmt.Sprintf("%s: %d lines skipped, the first: %v", path, b.n, b.first), "mend or delete the lines"}, true
}
