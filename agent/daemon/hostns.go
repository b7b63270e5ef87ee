package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// initCgroupNS is the inode number of the initial cgroup namespace:
// PROC_CGROUP_INIT_INO of include/linux/proc_ns.h.
const initCgroupNS = "cgroup:[4026531835]"

// EnterHostCgroups puts a process of a pod with hostPID into the host's cgroup
// namespace. Runtimes give every container that is not privileged one of its own, in
// which the kernel tells paths relative to that container's cgroup. A namespace is a
// thread's, so the program is executed anew and this does not return; it returns nil
// where there is nothing to do: the process is there already, or sees a part of the
// machine's processes only.
func EnterHostCgroups(procRoot string) error {
	if foreign, err := foreignCgroups(procRoot); err != nil || !foreign {
		return err
	}
	f, err := os.Open(filepath.Join(procRoot, "1/ns/cgroup"))
	if err != nil {
		return fmt.Errorf("open the host's cgroup namespace: %w: it takes CAP_SYS_PTRACE", err)
	}
	defer f.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("enter the host's cgroup namespace: %w: it takes CAP_SYS_ADMIN", err)
	}
	if foreign, err := foreignCgroups(procRoot); err != nil || foreign {
		return errors.Join(err, errors.New("pid 1 is not in the host's cgroup namespace"))
	}
	if err := unix.Exec("/proc/self/exe", os.Args, os.Environ()); err != nil {
		return fmt.Errorf("execute eyas in the host's cgroup namespace: %w", err)
	}
	return nil
}

// foreignCgroups reports whether this thread is in the host's pid namespace but not
// in its cgroup namespace.
func foreignCgroups(procRoot string) (bool, error) {
	pid, err := os.Readlink(filepath.Join(procRoot, "self/ns/pid"))
	if err != nil || pid != initPIDNS {
		return false, err
	}
	// Of the thread: setns(2) is one's.
	cgroup, err := os.Readlink(filepath.Join(procRoot, "thread-self/ns/cgroup"))
	return err == nil && cgroup != initCgroupNS, err
}

// inPod reports whether Kubernetes runs this process: kubelet tells each container where
// the API server is.
func inPod() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }

// HostRoot is the root directory of the node: in a pod with hostPID, that of its
// pid 1, which takes CAP_SYS_PTRACE. With an error, what is below it cannot be read,
// and says so.
func HostRoot(procRoot string) (string, error) {
	its := filepath.Join(procRoot, "1", "root")
	host, err := os.Stat(its + "/")
	if err != nil && !inPod() {
		return "/", nil // not quite root: there, what we see ourselves is the node's
	}
	if err != nil {
		return its, fmt.Errorf("look at the node's root directory: %w: it takes CAP_SYS_PTRACE", err)
	}
	if own, err := os.Stat("/"); err == nil && os.SameFile(own, host) {
		return "/", nil
	}
	return its, nil
}

// openHost returns the root directory of the node, puts there what is asked for, and
// warns of what an agent in a pod cannot do.
func openHost(c Config, log zerolog.Logger) string {
	root, err := HostRoot(c.ProcRoot)
	if err != nil {
		log.Error().Err(err).Msg("nobody is lent ids of the node, and pods' ranges of ids are not remembered")
	}
	if foreign, err := foreignCgroups(c.ProcRoot); err == nil && foreign {
		log.Warn().Msg("eyas is in a cgroup namespace of its own: cgroup paths will be wrong, and no container can be prepared: give it CAP_SYS_ADMIN and CAP_SYS_PTRACE, and no AppArmor profile")
	}
	if c.InstallProfiles == "" {
		return root
	}
	switch written, err := installProfiles(root, c.InstallProfiles); {
	case err != nil:
		log.Error().Err(err).Msg("sandboxes that name the seccomp profile of eyas may not start here, or have an old one")
	case len(written) > 0:
		log.Info().Strs("written", written).Str("directory", c.InstallProfiles).Msg("seccomp profiles installed")
	}
	return root
}
