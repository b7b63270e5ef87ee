package prepare

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/subid/sources"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// Target is a container to be prepared.
type Target struct {
	ID       string // of the lease: [a-z0-9-]{1,64}
	Owner    ledger.Owner
	PID      identity.HostPID // a process of the container
	Cgroup   string           // of the container, below the cgroup2 mount
	CgroupID uint64
	UID      identity.HostUID // of the container's process
	GID      identity.HostGID
	OwnIDs   bool // it has a user namespace of its own
	UIDs     identity.UIDMap
	GIDs     identity.GIDMap

	realUID identity.HostUID // UID and GID are the effective ones
	realGID identity.HostGID
}

// Describe reads from /proc what container a host process is in. It is meant
// for machines without a runtime that tells.
func Describe(proc, mount string, pid identity.HostPID) (Target, error) {
	t, err := describe(proc, mount, pid)
	if err != nil {
		return Target{}, fmt.Errorf("describe the container of pid %d: %w", pid, err)
	}
	return t, nil
}

func describe(proc, mount string, pid identity.HostPID) (Target, error) {
	t := Target{PID: pid}
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return t, err
	}
	p, err := fs.Proc(int(pid))
	if err != nil {
		return t, noProcess(err)
	}
	status, err := p.NewStatus()
	if err != nil {
		return t, noProcess(err)
	}
	if status.TGID != int(pid) {
		return t, fmt.Errorf("it is a thread: ask for its process, pid %d", status.TGID)
	}
	stat, err := p.Stat()
	if err != nil {
		return t, noProcess(err)
	}
	// Start time and pid together are nobody else's.
	t.ID = fmt.Sprintf("pid-%d-%d", pid, stat.Starttime)
	t.UID, t.GID = identity.HostUID(status.UIDs[1]), identity.HostGID(status.GIDs[1])
	t.realUID, t.realGID = identity.HostUID(status.UIDs[0]), identity.HostGID(status.GIDs[0])
	if t.OwnIDs, err = ownUserNamespace(proc, pid); err != nil {
		return t, noProcess(err)
	}
	if t.UIDs, t.GIDs, err = sources.Maps(proc, int(pid)); err != nil {
		return t, noProcess(err)
	}
	groups, err := p.Cgroups()
	if err != nil {
		return t, noProcess(err)
	}
	for _, g := range groups {
		if g.HierarchyID == 0 {
			t.Cgroup = containerCgroup(g.Path)
		}
	}
	if t.Cgroup == "" || t.Cgroup == "/" {
		return t, errors.New("it is in the root cgroup, which is no container's: start the container with a cgroup of its own")
	}
	if strings.HasPrefix(t.Cgroup, "/../") || t.Cgroup == "/.." {
		return t, fmt.Errorf("its cgroup %q is not in the cgroup namespace of eyas: run eyas in the host's", t.Cgroup)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(mount, t.Cgroup), &st); err != nil {
		return t, fmt.Errorf("look at its cgroup %q: %w", t.Cgroup, err)
	}
	t.CgroupID = st.Ino
	// All that was read is of one process if its pid still is.
	if again, err := p.Stat(); err != nil {
		return t, noProcess(err)
	} else if again.Starttime != stat.Starttime {
		return t, errors.New("no such process: its pid is another's by now")
	}
	for _, r := range evidence.ParseCgroupPath(t.Cgroup) {
		if !r.Pod() && !r.Conmon {
			t.Owner = ledger.Owner{ContainerID: identity.Valid(r.ID), Runtime: r.Runtime, PodUID: r.PodUID}
		}
	}
	return t, nil
}

// containerCgroup is the part of a process's cgroup path that is the container's:
// the innermost component that a runtime named, else all but a leaf that this
// package, or an init inside, has made. crun makes a cgroup in its systemd scope
// that is the root of what the container sees.
func containerCgroup(p string) string {
	var prefix string
	for _, r := range evidence.ParseCgroupPath(p) {
		if !r.Pod() && !r.Conmon && !r.Weak {
			prefix = r.Prefix
		}
	}
	switch {
	case strings.HasSuffix(prefix, ".scope") && strings.HasPrefix(p+"/", prefix+crunGroup+"/"):
		return prefix + crunGroup
	case prefix != "":
		return prefix
	case path.Base(p) == leaf:
		return path.Dir(p)
	}
	return p
}

// crunGroup is the default of crun's annotation run.oci.systemd.subgroup.
const crunGroup = "/container"

func noProcess(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return errors.New("no such process")
	}
	return err
}

// ownUserNamespace compares with this process, which is in the initial one.
func ownUserNamespace(proc string, pid identity.HostPID) (bool, error) {
	var own, its unix.Stat_t
	if err := unix.Stat(filepath.Join(proc, "self", "ns", "user"), &own); err != nil {
		return false, fmt.Errorf("read own user namespace: %w", err)
	}
	if err := unix.Stat(filepath.Join(proc, strconv.FormatUint(uint64(pid), 10), "ns", "user"), &its); err != nil {
		return false, fmt.Errorf("read its user namespace: %w", err)
	}
	return own.Ino != its.Ino, nil
}
