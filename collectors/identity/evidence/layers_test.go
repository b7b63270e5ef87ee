package evidence

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"
)

// Options of overlays are read back to the paths that were mounted.
func TestLayers(t *testing.T) {
	const text = `36 35 0:44 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/l/a\134:b:/l/c::/data,upperdir=/u/x\054\040y,workdir=/w,userxattr
37 36 254:0 /vol\040ume /mnt/a\012b rw - ext4 /dev/vda rw
38 36 0:45 /etc/hosts /etc/hosts rw - overlay o rw,lowerdir+=/a:b,lowerdir+=/c,datadir+=/d
x 36 0:46 / /nowhere rw - overlay o rw
39 36
`
	want := []Mount{
		{ID: 36, Device: "0:44", Root: "/", Point: "/", FSType: "overlay", Upper: "/u/x, y", Lowers: []string{"/l/a:b", "/l/c"}, UserXattr: true},
		{ID: 37, Device: "254:0", Root: "/vol ume", Point: "/mnt/a\nb", FSType: "ext4"},
		{ID: 38, Device: "0:45", Root: "/etc/hosts", Point: "/etc/hosts", FSType: "overlay", Lowers: []string{"/a:b", "/c"}},
	}
	if d := cmp.Diff(want, Mounts(strings.NewReader(text))); d != "" {
		t.Errorf("mounts (-want +got):\n%s", d)
	}
}

// A pid alone is not a process.
func TestSameProcess(t *testing.T) {
	p, err := procfs.Self()
	if err != nil {
		t.Fatal(err)
	}
	stat, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	start := stat.Starttime * 1e7
	if !SameProcess("/proc", os.Getpid(), start+9e6) || SameProcess("/proc", os.Getpid(), start+1e7) || SameProcess(t.TempDir(), os.Getpid(), start) {
		t.Error("not told apart")
	}
}
