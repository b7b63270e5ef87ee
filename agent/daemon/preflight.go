package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// initPIDNS is the inode number of the initial pid namespace: PROC_PID_INIT_INO
// of include/linux/proc_ns.h.
const initPIDNS = "pid:[4026531836]"

// Preflight checks what eyas cannot work without, and says which is missing
// and how to get it. It only reads.
func Preflight(procRoot string) error {
	if err := checkCapabilities(); err != nil {
		return err
	}
	fs, err := procfs.NewFS(procRoot)
	if err != nil {
		return fmt.Errorf("open proc-root %s: %w: mount procfs there or set proc-root", procRoot, err)
	}
	ns, err := os.Readlink(filepath.Join(procRoot, "self", "ns", "pid"))
	if err != nil {
		return fmt.Errorf("read own pid namespace below proc-root %s: %w", procRoot, err)
	}
	if ns != initPIDNS {
		return fmt.Errorf("eyas runs in pid namespace %s, not in the host's: it would see only a part: run it with hostPID: true (or --pid=host)", ns)
	}
	return checkHidePID(fs, procRoot)
}

// checkCapabilities asks for what the least privileged working set needs.
func checkCapabilities() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	effective := uint64(data[0].Effective) | uint64(data[1].Effective)<<32
	var missing []string
	for _, c := range []struct {
		name  string
		anyOf []int // since 5.8 CAP_SYS_ADMIN is not needed for BPF, but still enough
	}{
		{"CAP_BPF", []int{unix.CAP_BPF, unix.CAP_SYS_ADMIN}},
		{"CAP_PERFMON", []int{unix.CAP_PERFMON, unix.CAP_SYS_ADMIN}},
		{"CAP_SYS_PTRACE", []int{unix.CAP_SYS_PTRACE}},
		{"CAP_DAC_READ_SEARCH", []int{unix.CAP_DAC_READ_SEARCH}},
	} {
		if !slices.ContainsFunc(c.anyOf, func(bit int) bool { return effective&(1<<bit) != 0 }) {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("eyas lacks %s: run it as root, or give it these capabilities", strings.Join(missing, ", "))
	}
	return nil
}

// checkHidePID refuses a procfs that hides processes from us: names and maps
// would be missing without a sign.
func checkHidePID(fs procfs.FS, procRoot string) error {
	self, err := fs.Self()
	if err != nil {
		return fmt.Errorf("read own process below proc-root %s: %w", procRoot, err)
	}
	mounts, err := self.MountInfo()
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	for _, m := range mounts {
		if m.FSType != "proc" || m.MountPoint != procRoot {
			continue
		}
		if _, ok := m.SuperOptions["subset"]; ok {
			return fmt.Errorf("procfs on %s is mounted with subset=pid: eyas needs all of it: remount it without, or set proc-root to another procfs", procRoot)
		}
		hide, ok := m.SuperOptions["hidepid"]
		if !ok || hide == "0" || hide == "off" {
			continue
		}
		if _, err := os.ReadFile(filepath.Join(procRoot, "1", "status")); err != nil {
			return fmt.Errorf("procfs on %s is mounted with hidepid=%s and hides processes from eyas: give it CAP_SYS_PTRACE, or remount with hidepid=0 (%w)", procRoot, hide, errors.Unwrap(err))
		}
	}
	return nil
}
