package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// BootID reads the kernel's boot id; short ids and history belong to one boot.
func BootID(procRoot string) (string, error) {
	b, err := os.ReadFile(filepath.Join(procRoot, "sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// ReadNode describes this host for answers.
func ReadNode(procRoot, boot string) identity.Node {
	name, err := hostname(procRoot)
	if err != nil {
		name, err = os.Hostname() // not root: there is no pod around us
	}
	if err != nil {
		name = "node"
	}
	return identity.Node{ID: strings.SplitN(boot, "-", 2)[0], Name: identity.Valid(name)}
}

// hostname is that of pid 1: a pod has one of its own, also with hostPID.
func hostname(procRoot string) (name string, err error) {
	f, err := os.Open(filepath.Join(procRoot, "1/ns/uts"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with this
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWUTS); err != nil {
			return
		}
		var u unix.Utsname
		if err = unix.Uname(&u); err == nil {
			name = unix.ByteSliceToString(u.Nodename[:])
		}
	}()
	<-done
	return name, err
}

// driveProcess makes a process that executes a program: this one, which does
// nothing when asked for a self-test.
func driveProcess() error {
	c := exec.Command("/proc/self/exe", SelfTestArg)
	c.Env = []string{}
	return c.Run()
}

// SelfTestArg makes eyas exit at once, successfully.
const SelfTestArg = "self-test-child"

// driveCgroup moves this process to the cgroup that it is in: to the kernel an
// attachment like any, to the process none.
func driveCgroup(procRoot string, h *cgroups.Hierarchy) error {
	if h == nil {
		return cgroups.ErrNoHierarchy
	}
	fs, err := procfs.NewFS(procRoot)
	if err != nil {
		return err
	}
	self, err := fs.Self()
	if err != nil {
		return err
	}
	groups, err := self.Cgroups()
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g.HierarchyID != 0 {
			continue
		}
		file := filepath.Join(h.Mount(), filepath.Clean("/"+g.Path), "cgroup.procs")
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("open own cgroup: %w", err)
		}
		defer f.Close()
		if _, err := f.WriteString("0"); err != nil { // 0: the writer
			return fmt.Errorf("attach to own cgroup: %w", err)
		}
		return nil
	}
	return cgroups.ErrNoHierarchy
}

// cgroupRoot is the part of a cgroup path that holds a whole container: up to
// the innermost component that a runtime's pattern names, or else without the
// leaf into which engines move their own processes. What names the container
// around it, whose part is around, does not name it.
func cgroupRoot(path, around string) string {
	if refs := containerRefs(path); len(refs) > 0 {
		if root := refs[len(refs)-1].Prefix; root != around {
			return root
		}
	}
	switch filepath.Base(path) {
	case "init", "init.scope", "supervisor", "payload", "leaf":
		return filepath.Dir(path)
	}
	return path
}

func containerRefs(path string) []evidence.CgroupRef {
	var out []evidence.CgroupRef
	for _, r := range evidence.ParseCgroupPath(path) {
		if !r.Pod() && !r.Conmon {
			out = append(out, r)
		}
	}
	return out
}
