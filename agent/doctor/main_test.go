package doctor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestMain is also what the probes' children run: they start the program anew.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ProbeArg {
		if err := Probe(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) //nolint:forbidigo // as main
		}
		os.Exit(0) //nolint:forbidigo // as main
	}
	if len(os.Args) > 2 && os.Args[1] == filterArg {
		fmt.Fprintln(os.Stderr, runFiltered(os.Args[2:]))
		os.Exit(1) //nolint:forbidigo // as main
	}
	os.Exit(m.Run()) //nolint:forbidigo // as main
}

// filterArg makes this test's program install a seccomp filter that refuses
// clone with CLONE_NEWUSER, as runtimes' default profiles do, and exec the rest.
const filterArg = "seccomp-filter"

func runFiltered(args []string) error {
	runtime.LockOSThread()
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.SYS_CLONE},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // the low half of args[0]
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: unix.CLONE_NEWUSER},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(unix.EPERM)}, // SECCOMP_RET_ERRNO
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},                      // SECCOMP_RET_ALLOW
	}
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&f))); e != 0 {
		return e
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return unix.Exec(path, args, os.Environ())
}

// files are a tree, by path: /proc and /sys as such, the rest is the node's
// root. A value "link:X" is a symbolic link.
type files map[string]string

// absent takes a file out of the good node's.
const absent = "\x00absent"

const goodMounts = `21 1 8:1 / / rw,relatime - ext4 /dev/vda1 rw
22 21 0:21 / /proc rw,nosuid - proc proc rw
23 21 0:22 / /sys rw,nosuid - sysfs sysfs rw
24 23 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
25 21 0:24 / /mnt/no\040suid rw,nosuid - tmpfs tmpfs rw
`

// goodNode is a Kubernetes node on which every check that files decide is ok.
func goodNode() files {
	return files{
		"/proc/1/mountinfo":                                    goodMounts,
		"/proc/self/ns/pid":                                    "link:" + initPIDNS,
		"/proc/filesystems":                                    "nodev\ttmpfs\nnodev\toverlay\n\text4\nnodev\tfuse\n",
		"/proc/sys/kernel/osrelease":                           "6.12.1-amd64\n",
		"/proc/sys/kernel/seccomp/actions_avail":               "kill_process errno allow\n",
		"/proc/sys/kernel/unprivileged_userns_clone":           "1\n",
		"/proc/sys/kernel/keys/maxkeys":                        "2000\n",
		"/proc/sys/kernel/keys/maxbytes":                       "2000000\n",
		"/proc/sys/kernel/pid_max":                             "4194304\n",
		"/proc/sys/kernel/threads-max":                         "127656\n",
		"/proc/sys/fs/inotify/max_user_instances":              "8192\n",
		"/proc/sys/fs/inotify/max_user_watches":                "524288\n",
		"/proc/sys/net/ipv4/ip_unprivileged_port_start":        "1024\n",
		"/proc/sys/net/ipv4/ping_group_range":                  "0\t2147483647\n",
		"/proc/sys/user/max_user_namespaces":                   "63000\n",
		"/proc/sys/user/max_cgroup_namespaces":                 "63000\n",
		"/proc/sys/user/max_ipc_namespaces":                    "63000\n",
		"/proc/sys/user/max_mnt_namespaces":                    "63000\n",
		"/proc/sys/user/max_net_namespaces":                    "63000\n",
		"/proc/sys/user/max_pid_namespaces":                    "63000\n",
		"/proc/sys/user/max_uts_namespaces":                    "63000\n",
		"/sys/kernel/btf/vmlinux":                              "BTF",
		"/sys/kernel/cgroup/delegate":                          "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\nmemory.reclaim\n",
		"/sys/kernel/security/lsm":                             "lockdown,capability,yama,apparmor,bpf",
		"/sys/fs/selinux/enforce":                              "0",
		"/sys/fs/cgroup/cgroup.controllers":                    "cpuset cpu io memory pids\n",
		"/sys/fs/cgroup/cgroup.subtree_control":                "cpuset cpu io memory pids\n",
		"/sys/fs/cgroup/kubepods.slice/cgroup.controllers":     "cpuset cpu io memory pids\n",
		"/sys/fs/cgroup/kubepods.slice/cgroup.subtree_control": "cpuset cpu io memory pids\n",
		"/etc/passwd":                  "root:x:0:0::/root:/bin/sh\nkubelet:x:998:998::/:/bin/false\ndev:x:1000:1000::/home/dev:/bin/sh\n",
		"/etc/subuid":                  "# kubelet's\nkubelet:805306368:268435456\ndev:600113152:65536\n",
		"/etc/subgid":                  "kubelet:805306368:268435456\ndev:600113152:65536\n",
		"/etc/nsswitch.conf":           "passwd: files\n# subid: sss\n",
		"/usr/bin/getsubids":           "#!\n",
		"/usr/bin/newuidmap":           "#!\n",
		"/usr/bin/newgidmap":           "#!\n",
		kubeletDir + "/config.yaml":    "kind: KubeletConfiguration\n",
		kubeletDir + "/pods/a/userns":  record(805306368, 65536),
		kubeletDir + "/pods/b/userns":  record(805306368+65536, 65536),
		kubeletDir + "/pods/c/volumes": "",
		"/usr/bin/containerd":          "#!\n",
		"/etc/containerd/config.toml":  "version = 3\n[plugins.'io.containerd.nri.v1.nri']\n  disable = false\n",
	}
}

func record(host, length uint64) string {
	m := fmt.Sprintf(`[{"hostId":%d,"containerId":0,"length":%d}]`, host, length)
	return `{"uidMappings":` + m + `,"gidMappings":` + m + `}`
}

// plant writes a tree and returns a node that reads it.
func plant(t testing.TB, changes files) *Node {
	t.Helper()
	dir := t.TempDir()
	all := goodNode()
	for name, text := range changes {
		all[name] = text
	}
	for name, text := range all {
		if text == absent {
			continue
		}
		if !strings.HasPrefix(name, "/proc/") && (!strings.HasPrefix(name, "/sys/") || strings.HasPrefix(name, "/sys/fs/cgroup/")) {
			name = "/root" + name
		}
		write(t, filepath.Join(dir, name), text)
	}
	for _, name := range []string{"newuidmap", "newgidmap"} {
		// A setuid bit stays only on what is not written to any more.
		path := filepath.Join(dir, "root/usr/bin", name)
		if err := os.Chmod(path, 0o755|os.ModeSetuid); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return NewNode(NodeOptions{
		Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys"), Root: filepath.Join(dir, "root"), StateDir: dir,
	})
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if target, link := strings.CutPrefix(text, "link:"); link {
		err = os.Symlink(target, path)
	} else {
		err = os.WriteFile(path, []byte(text), 0o755) //nolint:gosec // programs are looked for by their mode
	}
	if err != nil {
		t.Fatal(err)
	}
}

// find returns the check with an id.
func find[T any](t testing.TB, all []check[T], id string) check[T] {
	t.Helper()
	for _, c := range all {
		if c.id == id {
			return c
		}
	}
	t.Fatalf("no check %q", id)
	panic("unreachable")
}

func asRoot(t testing.TB) {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Skip("needs root: files of root are looked at")
	}
}
