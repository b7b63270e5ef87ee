//go:build host

package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// engineWork is for the shell of an image of busybox: all it does between the two lines
// that it reads it does itself.
const engineWork = `echo ready; read x </gate/go
i=0; while [ $i -lt 1000 ]; do echo 0123456789; i=$((i+1)); done >/out
while read l; do :; done </out
echo more >>/etc/group
echo done; read x </gate/go`

// engineDid is what that is on an overlay. The shell reads a line byte by byte, and the
// image's /etc/group has 10 bytes.
var engineDid = map[string]float64{
	"write_bytes_total write 1": 11000 + 5, "operations_total write 1": 1001, "write_seconds 1": 1001,
	"read_bytes_total read 1": 11000, "operations_total read 1": 11001, "read_seconds 1": 11001,
	"operations_total open 1": 3, "operations_total create 1": 1,
	"copy_ups_total data 1": 1, "copy_up_bytes_total 1": 10,
}

// onFuse is the same on fuse-overlayfs, which engines take on older kernels: what it
// copies up is not seen, and a file that is made is not opened besides.
func onFuse() map[string]float64 {
	did := map[string]float64{"operations_total open 0": 2}
	for k, n := range engineDid {
		if strings.HasPrefix(k, "operations_total write") || strings.HasPrefix(k, "operations_total read") ||
			strings.HasPrefix(k, "write_") || strings.HasPrefix(k, "read_") {
			did[strings.TrimSuffix(k, "1")+"0"] = n
		}
	}
	return did
}

// TestOverlayOfEngines holds what is counted of containers of a rootless podman and a
// rootless buildah, on overlays that they mounted, against what was done in them.
func TestOverlayOfEngines(t *testing.T) {
	a := startAgent(t, "", "--reconcile-interval", "1s")
	needTrampolines(t, a)
	l := newLab(t)
	t.Cleanup(l.sweep)
	engine := func(name string) []string {
		args := l.engine(name, tenant)
		args[slices.Index(args, "vfs")] = "overlay"
		args[2] += "-overlay" // a store of its own
		return append(args, "--runtime", runtime())
	}
	podman := engine("podman")
	l.run(tenant, append(slices.Clip(podman), "load", "--quiet", "--input", l.image)...)
	l.run(tenant, append(slices.Clip(podman), "system", "migrate")...)
	buildah := engine("buildah")[:7]
	gate := filepath.Join(l.dir, "home/gate")
	start := filepath.Join(gate, "go")
	if err := errors.Join(os.Mkdir(gate, 0o755), unix.Mkfifo(start, 0o666), chownTree(gate, tenant)); err != nil {
		t.Fatal(err)
	}
	working := l.run(tenant, append(slices.Clip(buildah), "from", "--pull-never", imageName)...)
	for name, args := range map[string][]string{
		"podman":  append(slices.Clip(podman), "run", "--rm", "--network", "none", "--volume", gate+":/gate", imageName),
		"buildah": append(slices.Clip(buildah), "run", "--isolation", "rootless", "--runtime", runtime(), "--volume", gate+":/gate", working),
	} {
		t.Run(name, func(t *testing.T) {
			l.t, a.t = t, t
			lines, wait := l.start(tenant, append(args, "sh", "-c", engineWork)...)
			for lines() != "ready\n" {
			}
			pid := engineShell(t)
			id := a.container(pid)
			before := overlayNumbers(a.families(), id)
			l.release(start)
			for lines() != "done\n" {
			}
			got := grown(before, overlayNumbers(a.families(), id))
			// Directories are copied up if nobody has yet; with what they take.
			delete(got, "copy_ups_total other 1")
			delete(got, "copy_up_seconds 1")
			want, fuse := engineDid, false
			if got["operations_total write 0"] != 0 {
				want, fuse = onFuse(), true
			}
			t.Logf("on fuse-overlayfs: %v", fuse)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
			if fuse {
				l.release(start) // nobody else may look into it
				wait()
				return
			}
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/etc/group", pid)); err != nil || string(text) != "root:x:0:\nmore\n" {
				t.Errorf("/etc/group: %q, %v", text, err)
			}
			l.release(start)
			wait()
		})
	}
	l.t, a.t = t, t
	checkNoneSkipped(t, a)
}

// engineShell returns who does engineWork: the mounts of such a container have no mark
// of the lab's, since engines give short paths to overlay.
func engineShell(t *testing.T) int {
	t.Helper()
	all, err := procfs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		args, err := p.CmdLine()
		if err == nil && len(args) == 3 && filepath.Base(args[0]) == "sh" && args[2] == engineWork {
			return p.PID
		}
	}
	t.Fatal("the container's shell is not there")
	return 0
}
