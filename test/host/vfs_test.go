//go:build host

package host

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// TestVFS: of a container whose root is a plain directory the kernel's own accounting
// is told.
func TestVFS(t *testing.T) {
	a := startAgent(t, "")
	l := newLab(t)
	t.Cleanup(l.sweep)
	name := l.tag + "-plain"
	bundle := l.bundle("plain", ociConfig(name, "rootfs", 0, [][3]int{{0, 300000, 65536}}, []string{
		"sh", "-c", "read x </go; i=0; while [ $i -lt 1000 ]; do echo 0123456789; i=$((i+1)); done >/out; echo written; read x </go; true",
	}, false))
	l.rootfs("plain/rootfs")
	start := filepath.Join(l.dir, "plain/rootfs/go")
	if err := unix.Mkfifo(start, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := chownTree(filepath.Join(l.dir, "plain"), 300000); err != nil {
		t.Fatal(err)
	}
	lines, wait := l.start(0, "runc", "--root", "/run/runc", "run", "--bundle", bundle, name)
	l.release(start)
	if got := strings.TrimSpace(lines()); got != "written" {
		t.Fatalf("it says %q", got)
	}
	var state struct{ PID int }
	if err := json.Unmarshal([]byte(l.run(0, "runc", "--root", "/run/runc", "state", name)), &state); err != nil {
		t.Fatal(err)
	}
	p, err := procfs.NewProc(state.PID)
	if err != nil {
		t.Fatal(err)
	}
	io, err := p.IO()
	if err != nil {
		t.Fatal(err)
	}
	if io.WChar < 11000 {
		t.Fatalf("the kernel says it wrote %d bytes", io.WChar)
	}
	id := a.container(state.PID)
	l.eventually("count what it wrote", func() error {
		f := a.families()
		for way, want := range map[string]uint64{"read": io.RChar, "write": io.WChar, "disk_write": io.WriteBytes} {
			if got := vfsBytes(f, id, way); got != float64(want) {
				return fmt.Errorf("%s: %v bytes, want %d", way, got, want)
			}
		}
		return nil
	})
	l.release(start)
	wait()
	l.eventually("forget it", func() error {
		if got := vfsBytes(a.families(), id, "write"); got != 0 {
			return fmt.Errorf("still %v bytes", got)
		}
		return nil
	})
}

func vfsBytes(f map[string]*dto.MetricFamily, container, way string) (sum float64) {
	for _, m := range f["eyas_vfs_bytes_total"].GetMetric() {
		if label(m, "container") == container && label(m, "way") == way {
			sum += value(m)
		}
	}
	return sum
}
