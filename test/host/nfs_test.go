//go:build host

package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Flags of an export (include/uapi/linux/nfsd/export.h): from any port, root_squash, async,
// no_subtree_check, fsid=0.
const exportFlags = 0x2 | 0x4 | 0x10 | 0x400 | 0x2000

// serveNFS mounts what the kernel's own NFS server exports with root_squash: a directory
// d of root's alone, and a file f of whom it names. The server asks user space who may
// mount what by caches, which are filled here beforehand: it takes no mountd.
func serveNFS(t *testing.T, owner int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nfs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	export, at := filepath.Join(dir, "export"), filepath.Join(dir, "at")
	for _, d := range []string{export, filepath.Join(export, "d"), at} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	try := func(what string, err error) {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	f := filepath.Join(export, "f")
	try("the server's file", os.WriteFile(f, []byte("x"), 0o644))
	try("the server's file", os.Chown(f, owner, owner))
	try("the server's directory", os.Chmod(filepath.Join(export, "d"), 0o700))
	try("the way to the mount", os.Chmod(dir, 0o755))
	for _, module := range []string{"nfsd", "nfsv4"} {
		out, err := exec.Command("modprobe", module).CombinedOutput()
		try(string(out), err)
	}
	const control = "/proc/fs/nfsd"
	try("mount nfsd", unix.Mount("nfsd", control, "nfsd", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(control, 0) })
	out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput()
	try(string(out), err)
	const never = 1<<31 - 1
	for _, w := range [][2]string{
		{"/proc/net/rpc/auth.unix.ip/channel", fmt.Sprintf("nfsd 127.0.0.1 %d client\n", never)},
		{"/proc/net/rpc/nfsd.export/channel", fmt.Sprintf("client %s %d %d 65534 65534 0\n", export, never, exportFlags)},
		{"/proc/net/rpc/nfsd.fh/channel", fmt.Sprintf("client 1 \\x00000000 %d %s\n", never, export)},
		{control + "/versions", "-3 +4 +4.1 +4.2\n"}, // what takes no rpcbind
		{control + "/portlist", "tcp 2049\n"},
		{control + "/threads", "2\n"},
	} {
		try(w[0], os.WriteFile(w[0], []byte(w[1]), 0))
	}
	t.Cleanup(func() { _ = os.WriteFile(control+"/threads", []byte("0\n"), 0) })
	try("mount NFS", unix.Mount("127.0.0.1:/", at, "nfs4", 0, "vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1,sec=sys"))
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	return at
}
