package files

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// look finds the roots, and the stores below them: the sandbox's first process has
// one, and monitors of containers may live in another mount namespace.
//
// Who is in a sandbox can mount what it likes, and that is believed for that sandbox's
// own files alone. On the node, where everybody's are, a hint is a monitor's, and only
// of that monitor's mount namespace.
func (s *sandbox) look(v *view, now time.Time) {
	s.drop(now)
	s.stores = now
	var hints []string
	own := map[string][]string{} // by mount namespace
	s.open(v.init)
	if v.key == "" {
		s.openPID(os.Getpid()) // which may look where pid 1 is out of reach
	}
	seen := map[identity.ProcessKey]bool{} // by another name
	for _, all := range v.children {
		for i := range all {
			c := &all[i]
			if c.gone || seen[c.init] || !evidence.SameProcess(s.src.o.Proc, int(c.init.PID), c.init.Start) {
				continue
			}
			seen[c.init] = true
			if m, err := evidence.ReadMountinfo(s.src.o.Proc, int(c.init.PID)); err == nil && v.key != "" {
				hints = append(hints, evidence.GraphRoots(strings.NewReader(m))...)
			}
			if monitor, ok := s.monitor(v, c); ok {
				ns := s.openPID(monitor)
				own[ns] = append(own[ns], evidence.MonitorRoots(s.src.o.Proc, monitor)...)
			}
		}
	}
	if v.key != "" {
		for _, h := range own {
			hints = append(hints, h...)
		}
		clear(own)
	}
	for ns, p := range s.roots {
		all := slices.Sorted(slices.Values(append(own[ns], hints...)))
		p.find(slices.Compact(all)) // no more than some are looked at
	}
}

// monitor returns the process that started a container, if it lives in the sandbox: with
// CLONE_PARENT whoever was started there from outside makes one whose parent is outside.
func (s *sandbox) monitor(v *view, c *child) (pid int, ok bool) {
	if pid, ok = parentOf(s.src.o.Proc, int(c.init.PID)); !ok || v.key == "" {
		return pid, ok
	}
	ns, err := s.link(pid, "pid")
	return pid, err == nil && ns == fmt.Sprintf("pid:[%d]", v.pidns.Inum)
}

func (s *sandbox) link(pid int, ns string) (string, error) {
	return os.Readlink(filepath.Join(s.src.o.Proc, strconv.Itoa(pid), "ns", ns))
}

func (s *sandbox) open(k identity.ProcessKey) {
	if k.PID == 0 || k.Start != 0 && !evidence.SameProcess(s.src.o.Proc, int(k.PID), k.Start) {
		return
	}
	s.openPID(int(k.PID))
}

// openPID opens a process's root, and returns its mount namespace, "" if that cannot be
// told.
func (s *sandbox) openPID(pid int) string {
	ns, err := s.link(pid, "mnt")
	if err != nil {
		return ""
	}
	if p := s.roots[ns]; p != nil {
		p.had = s.stores
		return ns
	}
	if len(s.roots) >= maxRoots {
		if !s.full {
			s.full = true
			s.src.o.Log.Warn().Str("container", s.key).Int("most", maxRoots).Msg("containers inside are started in too many mount namespaces: logs that are only in the others are not told")
		}
		return ns
	}
	r, err := evidence.OpenRoot(s.src.o.Proc, pid)
	if err != nil {
		return ns
	}
	s.roots[ns] = &place{root: r, had: s.stores}
	return ns
}

// drop closes roots that no process has any more, since the last look and for a while,
// so that they hold up no mount, nor other roots. One with an open file below stays.
func (s *sandbox) drop(now time.Time) {
	keep := keepRoot
	if len(s.roots) >= maxRoots {
		keep = lastTurns
	}
	for ns, p := range s.roots {
		if !p.had.Before(s.stores) || now.Sub(p.had) <= keep || s.reads(p) {
			continue
		}
		for _, f := range s.files {
			if f.root == root(p.root) {
				f.root = nowhere{}
			}
		}
		_ = p.root.Close() // nothing was written
		delete(s.roots, ns)
	}
}

func (s *sandbox) reads(p *place) bool {
	for _, f := range s.files {
		if f.file != nil && f.root == root(p.root) {
			return true
		}
	}
	return false
}

func parentOf(proc string, pid int) (int, bool) {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return 0, false
	}
	p, err := fs.Proc(pid)
	if err != nil {
		return 0, false
	}
	stat, err := p.Stat()
	return stat.PPID, err == nil && stat.PPID > 0
}

// find adds the stores that are new. Those that there were stay: of one that is gone
// nothing is listed.
func (p *place) find(hints []string) {
	known := map[string]bool{}
	for _, s := range p.stores {
		known[s.Dir] = true
	}
	for _, s := range p.root.LogStores(hints) {
		if !known[s.Dir] && len(p.stores) < maxRoots*maxRoots {
			p.stores = append(p.stores, &store{LogStore: s})
		}
	}
}

// nowhere is the root of files whose root was let go: until they are found again there
// is none.
type nowhere struct{}

func (nowhere) OpenFile(string) (*os.File, error) { return nil, fs.ErrNotExist }
func (nowhere) Stat(string) (os.FileInfo, error)  { return nil, fs.ErrNotExist }
