package delegation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// initCgroupNS is the inode of the initial cgroup namespace: PROC_CGROUP_INIT_INO.
const initCgroupNS = 0xEFFFFFFB

// primeEvery is shorter than an RCU grace period on an idle machine.
const primeEvery = 4 * time.Millisecond

// Prime keeps the kernel ready to move processes, until ctx ends.
//
// Who moves a process takes cgroup_threadgroup_rwsem for writing. When nobody has
// done so lately that waits for an RCU grace period, some 10 ms; the next one
// does not, for as long as another grace period (kernel/rcu/sync.c). So this
// process is moved, every few milliseconds, to where it is already, which takes the
// lock and does nothing. Meanwhile forks take a slower path, which is a lock of
// their own processor. The mount option favordynmods has the same effect for ever.
//
// Only in the initial cgroup namespace does eyas see where it is; elsewhere the
// error wraps ErrRefused.
func (h *Hierarchy) Prime(ctx context.Context, procRoot string) error {
	procs, err := h.ownProcs(procRoot)
	if err != nil {
		return fmt.Errorf("prime the kernel to move processes: %w", err)
	}
	defer procs.Close()
	tick := time.NewTicker(primeEvery)
	defer tick.Stop()
	self := []byte(strconv.Itoa(os.Getpid()))
	for {
		if _, err := procs.Write(self); err != nil {
			return fmt.Errorf("prime the kernel to move processes: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// ownProcs opens cgroup.procs of the cgroup that this process is in.
func (h *Hierarchy) ownProcs(procRoot string) (*os.File, error) {
	var ns unix.Stat_t
	if err := unix.Stat(filepath.Join(procRoot, "self/ns/cgroup"), &ns); err != nil {
		return nil, fmt.Errorf("read own cgroup namespace: %w", err)
	}
	if ns.Ino != initCgroupNS {
		return nil, fmt.Errorf("%w: eyas is in a cgroup namespace of its own: run it in the host's", ErrRefused)
	}
	fs, err := procfs.NewFS(procRoot)
	if err != nil {
		return nil, err
	}
	self, err := fs.Self()
	if err != nil {
		return nil, err
	}
	groups, err := self.Cgroups()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if g.HierarchyID == 0 {
			return os.OpenFile(filepath.Join(h.mount, g.Path, "cgroup.procs"), os.O_WRONLY, 0)
		}
	}
	return nil, errors.New("this process is in no cgroup of cgroup2")
}
