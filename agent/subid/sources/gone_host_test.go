//go:build host

package sources

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that ends between the look for its map and the opening of it has
// ended, no more.
func TestGoneAtOpen(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open("/proc/"+strconv.Itoa(cmd.Process.Pid)+"/uid_map", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	proc := t.TempDir()
	if err := os.Mkdir(filepath.Join(proc, "70"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", fd), filepath.Join(proc, "70", "uid_map")); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := readMaps(proc, 70); !gone(err) {
		t.Errorf("got %v", err)
	}
	if claims, err := (Host{Proc: proc}).userNamespaces(); err != nil || len(claims) != 0 {
		t.Errorf("%v, %v", claims, err)
	}
}
