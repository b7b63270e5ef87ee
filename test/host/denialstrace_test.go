//go:build host

package host

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// straceErrors are what a refusal of a call ends with, beside EPERM and EACCES.
var straceErrors = map[string][]string{
	"fork": {"EAGAIN", "ENOSPC", "EUSERS"}, "unshare": {"ENOSPC", "EUSERS"}, "chown": {"EINVAL", "EOVERFLOW"}, "setuid": {"EINVAL"},
	"setgid": {"EINVAL"}, "setgroups": {"EINVAL"}, "mknod": {"EOVERFLOW"}, "key": {"EDQUOT"}, "inotify": {"EMFILE", "ENOSPC"},
}

// straceOps are the calls that eyas has a program at the end of, and what they are
// for it.
var straceOps = map[string]string{
	"clone": "fork", "clone3": "fork", "fork": "fork", "vfork": "fork", "unshare": "unshare", "setns": "setns",
	"mount": "mount", "fsmount": "mount", "fsconfig": "mount", "fsopen": "mount", "move_mount": "mount", "open_tree": "mount",
	"mount_setattr": "mount", "pivot_root": "mount", "umount2": "umount",
	"chown": "chown", "lchown": "chown", "fchown": "chown", "fchownat": "chown", "chmod": "chmod", "fchmod": "chmod", "fchmodat": "chmod",
	"setuid": "setuid", "setreuid": "setuid", "setresuid": "setuid", "setgid": "setgid", "setregid": "setgid", "setresgid": "setgid",
	"setgroups": "setgroups", "mknod": "mknod", "mknodat": "mknod", "sethostname": "sethostname", "setdomainname": "sethostname",
	"chroot": "chroot", "ptrace": "ptrace", "bpf": "bpf", "perf_event_open": "perf_event_open", "add_key": "key", "keyctl": "key",
	"inotify_init": "inotify", "inotify_init1": "inotify", "inotify_add_watch": "inotify", "prlimit64": "setrlimit",
	"setpriority": "scheduling", "sched_setscheduler": "scheduling", "sched_setattr": "scheduling", "init_module": "module",
	"finit_module": "module", "clock_settime": "clock_settime", "setxattr": "setxattr", "lsetxattr": "setxattr",
}

// straceHooks are the programs that some kernels refuse, by call.
var straceHooks = map[string]string{
	"add_key": "denials_add_key", "bpf": "denials_bpf", "finit_module": "denials_finit_module", "init_module": "denials_init_module",
	"inotify_init1": "denials_inotify_init1", "inotify_add_watch": "denials_inotify_watch", "keyctl": "denials_keyctl", "setgroups": "denials_setgroups",
}

// straceTraced are the calls to trace: those, and all that take a path.
func straceTraced() []string {
	return append(slices.Sorted(maps.Keys(straceOps)), "%file")
}

// straceRefusal is what one process was refused.
type straceRefusal struct {
	pid  int    // of the process, not the thread
	what string // as eyas tells it: operation and error
	call string
}

var (
	straceFailed = regexp.MustCompile(`^(\w+)\((.*)\) += -1 (E\w+)`)
	straceThread = regexp.MustCompile(`^clone3?\(.*CLONE_THREAD.*\) += (\d+)`)
)

// straceRefused reads the logs of strace -ff, one for each thread, of processes that
// have every capability in their user namespace: they may not open a file only if
// its owner is not mapped.
func straceRefused(dir string) (map[straceRefusal]uint64, error) {
	files, err := filepath.Glob(filepath.Join(dir, "s.*"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no logs of strace in %s: %w", dir, err)
	}
	lines, by := map[int][]string{}, map[int]int{} // of a thread; who made it
	for _, path := range files {
		tid, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(path), "."))
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		lines[tid] = strings.Split(string(text), "\n")
		for _, line := range lines[tid] {
			if m := straceThread.FindStringSubmatch(line); m != nil {
				if by[int(num(m[1]))] = tid; int(num(m[1])) == tid {
					return nil, fmt.Errorf("thread %d made itself", tid)
				}
			}
		}
	}
	refused := map[straceRefusal]uint64{}
	for tid, all := range lines {
		pid := tid
		for by[pid] != 0 {
			pid = by[pid]
		}
		for _, line := range all {
			m := straceFailed.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			if what := straceWhat(m[1], m[2], m[3]); what != "" {
				refused[straceRefusal{pid, what + " " + m[3], m[1]}]++
			}
		}
	}
	return refused, nil
}

// straceWhat is what a failed call is for eyas; "": no refusal that it tells.
func straceWhat(call, args, errno string) string {
	op := straceOps[call]
	switch {
	case strings.HasPrefix(call, "access"), strings.HasPrefix(call, "faccessat"):
		return "" // they ask
	case op == "inotify" || op == "bpf" && errno == "EACCES":
		if !slices.Contains(straceErrors[op], errno) {
			return ""
		}
		return op
	case op != "" && (errno == "EPERM" || errno == "EACCES" || slices.Contains(straceErrors[op], errno)):
		return op
	case op == "" && errno == "EACCES" && !strings.Contains(args, `"/proc/`):
		return "access"
	case strings.HasPrefix(call, "mkdir") && errno == "EAGAIN":
		return "cgroup"
	}
	return ""
}
