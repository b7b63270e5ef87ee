package files

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// look finds the roots, and the stores below them: the sandbox's first process has
// one, and monitors of containers may live in another mount namespace.
func (s *sandbox) look(v *view) {
	var hints []string
	s.open(v.init)
	if v.key == "" {
		s.openPID(os.Getpid()) // which may look where pid 1 is out of reach
	}
	for _, all := range v.children {
		for i := range all {
			c := &all[i]
			if c.gone || !evidence.SameProcess(s.src.o.Proc, int(c.init.PID), c.init.Start) {
				continue
			}
			if m, err := evidence.ReadMountinfo(s.src.o.Proc, int(c.init.PID)); err == nil {
				hints = append(hints, evidence.GraphRoots(strings.NewReader(m))...)
			}
			if monitor, ok := parentOf(s.src.o.Proc, int(c.init.PID)); ok {
				hints = append(hints, evidence.MonitorRoots(s.src.o.Proc, monitor)...)
				s.openPID(monitor)
			}
		}
	}
	for _, p := range s.roots {
		p.find(hints)
	}
}

func (s *sandbox) open(k identity.ProcessKey) {
	if k.PID == 0 || k.Start != 0 && !evidence.SameProcess(s.src.o.Proc, int(k.PID), k.Start) {
		return
	}
	s.openPID(int(k.PID))
}

func (s *sandbox) openPID(pid int) {
	ns, err := os.Readlink(filepath.Join(s.src.o.Proc, strconv.Itoa(pid), "ns", "mnt"))
	if err != nil || s.roots[ns] != nil || len(s.roots) >= maxRoots {
		return
	}
	r, err := evidence.OpenRoot(s.src.o.Proc, pid)
	if err != nil {
		return
	}
	s.roots[ns] = &place{root: r}
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
