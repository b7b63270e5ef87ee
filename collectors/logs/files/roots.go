package files

import (
	"fmt"
	"io/fs"
	"maps"
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
// of that monitor's mount namespace. It reports whether there are new stores.
func (s *sandbox) look(v *view, now time.Time) (found bool) {
	s.drop(now)
	s.stores = now
	s.outside = s.rootsAround(v)
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
		found = p.find(slices.Compact(all)) || found // no more than some are looked at
	}
	return found
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
	if p := s.roots[ns]; p != nil && s.still(p, pid) {
		p.had = s.stores
		p.own = !s.outside[p.id]
		return ns
	}
	if len(s.roots) >= maxRoots {
		if !s.crowded {
			s.crowded = true
			s.src.o.Log.Warn().Str("container", s.key).Int("most", maxRoots).Msg("containers inside are started in too many mount namespaces: logs that are only in the others are not told")
		}
		return ns
	}
	r, err := evidence.OpenRoot(s.src.o.Proc, pid)
	if err != nil {
		return ns
	}
	id := rootID(r)
	s.roots[ns] = &place{root: r, id: id, by: pid, own: !s.outside[id], had: s.stores}
	return ns
}

// rootID names a root for as long as it is open.
func rootID(r *evidence.Root) fileID {
	i, err := r.Stat("/")
	if err != nil {
		return fileID{}
	}
	return idOf(i)
}

func (s *sandbox) rootOf(pid int) (id fileID, ok bool) {
	r, err := evidence.OpenRoot(s.src.o.Proc, pid)
	if err != nil {
		return id, false
	}
	id = rootID(r)
	return id, r.Close() == nil
}

// rootsAround are the roots of what is around a sandbox: of its first process until
// its runtime has moved it, and for ever if it shares them. What is below is found
// by whose it is alone: of a container that nobody knows it does not tell the sandbox.
func (s *sandbox) rootsAround(v *view) map[fileID]bool {
	all := map[fileID]bool{}
	if v.key == "" {
		return all
	}
	pids := []int{int(v.around.PID)}
	if v.around.PID == 1 {
		pids = append(pids, os.Getpid())
	}
	if parent, ok := parentOf(s.src.o.Proc, int(v.init.PID)); ok {
		pids = append(pids, parent)
	}
	for _, pid := range pids {
		if id, ok := s.rootOf(pid); ok {
			all[id] = true
		}
	}
	return all
}

// still reports whether a root is what its process has by now. If not it is let go.
func (s *sandbox) still(p *place, pid int) bool {
	if id, ok := s.rootOf(p.by); ok && id == p.id {
		return true
	}
	if id, ok := s.rootOf(pid); ok && id == p.id {
		p.by = pid
		return true
	}
	s.leave(p)
	return false
}

// leave lets go of a root. What is open below stays so.
func (s *sandbox) leave(p *place) {
	for _, f := range s.files {
		if f.root == root(p.root) {
			f.root = nowhere{}
		}
	}
	_ = p.root.Close() // nothing was written
	maps.DeleteFunc(s.roots, func(_ string, x *place) bool { return x == p })
}

// drop closes roots that no process has any more, since the last look and for a while,
// so that they hold up no mount, nor other roots. One with an open file below stays.
func (s *sandbox) drop(now time.Time) {
	keep := keepRoot
	if len(s.roots) >= maxRoots {
		keep = lastTurns
	}
	for _, p := range s.roots {
		if !p.had.Before(s.stores) || now.Sub(p.had) <= keep || s.reads(p) {
			continue
		}
		s.leave(p)
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
func (p *place) find(hints []string) (found bool) {
	known := map[string]bool{}
	for _, s := range p.stores {
		known[s.Dir] = true
	}
	for _, s := range p.root.LogStores(hints) {
		if !known[s.Dir] && len(p.stores) < maxRoots*maxRoots {
			p.stores = append(p.stores, &store{LogStore: s})
			found = true
		}
	}
	return found
}

// nowhere is the root of files whose root was let go: until they are found again there
// is none.
type nowhere struct{}

func (nowhere) OpenFile(string) (*os.File, error) { return nil, fs.ErrNotExist }
func (nowhere) Stat(string) (os.FileInfo, error)  { return nil, fs.ErrNotExist }
