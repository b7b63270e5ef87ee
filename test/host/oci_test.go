//go:build host

package host

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// rootfs makes a root file system of busybox in the lab, for runc.
func (l *lab) rootfs(name string) string {
	l.t.Helper()
	root := filepath.Join(l.dir, name)
	for _, d := range []string{"bin", "usr", "lib", "lib64", "proc", "dev", "run", "tmp", "etc", "sys/fs/cgroup"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	l.copyHelper("busybox", filepath.Join(root, "bin"), 0)
	for _, a := range []string{"sh", "sleep", "id", "cat"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", a)); err != nil {
			l.t.Fatal(err)
		}
	}
	return root
}

// copyHelper copies a program of the machine into a folder and gives it one file
// capability, if not 0. Debian ships newuidmap setuid root, which is worth
// nothing inside a user namespace that does not map the host's root.
func (l *lab) copyHelper(name, dir string, capability uint) {
	l.t.Helper()
	from, err := exec.LookPath(name)
	if err != nil {
		l.t.Fatal(err)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	to := filepath.Join(dir, name)
	if err := os.WriteFile(to, b, 0o755); err != nil {
		l.t.Fatal(err)
	}
	if capability == 0 {
		return
	}
	// struct vfs_cap_data of linux/capability.h: revision 2, effective.
	data := []byte{1, 0, 0, 2, 1 << capability, 19: 0}
	if err := unix.Setxattr(to, "security.capability", data, 0); err != nil {
		l.t.Fatal(err)
	}
}

func chownTree(dir string, id int) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, id, id)
	})
}

// ociConfig is a bundle's config.json: a container with a user namespace of its
// own. maps has lines of uid_map; tools gives it the machine's programs.
func ociConfig(hostname string, root string, user int, maps [][3]int, args []string, tools bool) map[string]any {
	var mappings []map[string]int
	for _, m := range maps {
		mappings = append(mappings, map[string]int{"containerID": m[0], "hostID": m[1], "size": m[2]})
	}
	var namespaces []map[string]string
	for _, n := range []string{"pid", "mount", "ipc", "uts", "user", "cgroup"} {
		namespaces = append(namespaces, map[string]string{"type": n})
	}
	mounts := []map[string]any{
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"mode=755"}},
		{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
		{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": []string{"rw"}},
	}
	process := map[string]any{
		"user": map[string]int{"uid": user, "gid": user}, "args": args, "cwd": "/",
		"env": []string{"PATH=/usr/sbin:/usr/bin:/bin"},
	}
	if tools {
		for _, d := range usrDirs {
			mounts = append(mounts, map[string]any{"destination": d[1], "type": "bind", "source": d[0], "options": []string{"rbind", "ro"}})
		}
		var caps []string
		for _, c := range []string{"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "KILL", "MKNOD", "NET_ADMIN", "SETFCAP", "SETGID", "SETPCAP",
			"SETUID", "SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "SYS_RESOURCE"} {
			caps = append(caps, "CAP_"+c)
		}
		process["capabilities"] = map[string]any{"bounding": caps, "permitted": caps, "effective": caps}
	}
	return map[string]any{
		"ociVersion": "1.0.2", "root": map[string]any{"path": root}, "hostname": hostname, "process": process, "mounts": mounts,
		"linux": map[string]any{"namespaces": namespaces, "uidMappings": mappings, "gidMappings": mappings},
	}
}

// bundle writes an OCI bundle for runc and returns its folder.
func (l *lab) bundle(name string, config map[string]any) string {
	l.t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		l.t.Fatal(err)
	}
	return filepath.Dir(l.write(name+"/config.json", string(text)))
}
