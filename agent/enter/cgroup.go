package enter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/procfs"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// ErrFrozen means that what enters the cgroup stops at once.
var ErrFrozen = errors.New("its cgroup is frozen")

// cgroups finds the cgroups of the process: that of v2, and those of v1
// hierarchies, which may hold the limits of memory and tasks.
func (t *Target) cgroups(pfs procfs.FS, p procfs.Proc) error {
	groups, err := p.Cgroups()
	if err != nil {
		return fmt.Errorf("look at its cgroups: %w", err)
	}
	mounts, err := nodeMounts(pfs)
	if err != nil {
		return fmt.Errorf("look for the mounts of cgroups: %w", err)
	}
	for _, g := range groups {
		v2 := g.HierarchyID == 0
		switch {
		case g.Path == "/.." || strings.HasPrefix(g.Path, "/../"):
			return fmt.Errorf("its cgroup %q is not in the cgroup namespace of eyas: run eyas in the host's", identity.Valid(g.Path))
		case g.Path == "/" && v2:
			t.Plan.Notes = append(t.Plan.Notes, "it is in the root cgroup: what you start there has no limit, as it has none itself")
			continue
		case g.Path == "/":
			continue // has no limits
		}
		dir, ok := hierarchy(mounts, g)
		if !ok && v2 {
			return fmt.Errorf("its cgroup %q is below no mounted cgroup2 file system", identity.Valid(g.Path))
		}
		if !ok {
			t.Plan.Notes = append(t.Plan.Notes, fmt.Sprintf("its cgroup of %s is not joined: that hierarchy is not mounted", strings.Join(g.Controllers, ",")))
			continue
		}
		if v2 {
			if events, err := os.ReadFile(t.onNode(filepath.Join(dir, "cgroup.events"))); err == nil && slices.Contains(strings.Split(string(events), "\n"), "frozen 1") {
				return fmt.Errorf("%w: what you start there stops at once: unpause the container, or enter with --no-cgroup", ErrFrozen)
			}
		}
		if slices.Contains(g.Controllers, "freezer") {
			if state, err := os.ReadFile(t.onNode(filepath.Join(dir, "freezer.state"))); err == nil && strings.TrimSpace(string(state)) != "THAWED" {
				return fmt.Errorf("%w: what you start there stops at once: unpause the container, or enter with --no-cgroup", ErrFrozen)
			}
		}
		t.Plan.Cgroups = append(t.Plan.Cgroups, dir)
	}
	return nil
}

// nodeMounts are those of the node's pid 1, or our own.
func nodeMounts(pfs procfs.FS) ([]*procfs.MountInfo, error) {
	if init, err := pfs.Proc(1); err == nil {
		if mounts, err := init.MountInfo(); err == nil {
			return mounts, nil
		}
	}
	self, err := pfs.Self()
	if err != nil {
		return nil, err
	}
	return self.MountInfo()
}

// hierarchy returns the directory of a cgroup, as the node sees it.
func hierarchy(mounts []*procfs.MountInfo, g procfs.Cgroup) (string, bool) {
	for _, m := range mounts {
		switch {
		case g.HierarchyID == 0 && m.FSType == "cgroup2":
		case g.HierarchyID != 0 && m.FSType == "cgroup" && holds(m, g.Controllers):
		default:
			continue
		}
		// A mount may show a part of the hierarchy alone.
		rel, err := filepath.Rel(m.Root, g.Path)
		if err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return filepath.Join(m.MountPoint, rel), true
		}
	}
	return "", false
}

func holds(m *procfs.MountInfo, controllers []string) bool {
	for _, c := range controllers {
		key, value, named := strings.Cut(c, "=")
		if v, ok := m.SuperOptions[key]; !ok || named && v != value {
			return false
		}
	}
	return len(controllers) > 0
}

// onNode is where a path of the node is here: in a pod with hostPID below the
// root of the node's pid 1.
func (t *Target) onNode(path string) string {
	if its := filepath.Join(t.proc, "1", "root", path); exists(its) {
		return its
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
