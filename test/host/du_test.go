//go:build host

package host

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/disk"
	"github.com/eyas-agent/eyas/collectors/layers"
)

// duSandbox makes a container on an overlay in $1, with a volume of the node;
// duNested, in it, a container on an overlay upon that one, whose upper
// directory is on the volume. Both write what TestDU expects.
const (
	duSandbox = `set -e
mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" overlay "$1/merged"
mount --bind "$1/vol" "$1/merged/vol"
exec chroot "$1/merged" /busybox sh -c "$2"
`
	duNested = `set -e
echo x >> /big
echo x >> /dir/small
/busybox rm /gone
echo new > /new
/busybox mount -t overlay -o lowerdir=/img,upperdir=/vol/upper,workdir=/vol/work overlay /vol/merged
exec /busybox unshare -m -p -f /busybox chroot /vol/merged /busybox sh -c 'set -e
echo x >> /data
/busybox ln /data /again
/busybox mkfifo /fifo
echo ready
exec /busybox cat'
`
)

// startNestedOverlays runs both until the test ends.
func startNestedOverlays(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"upper", "work", "merged", "lower/vol", "lower/img", "lower/dir", "vol/upper", "vol/work", "vol/merged"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range map[string][]byte{
		"lower/busybox": program, "lower/img/busybox": program, "lower/img/data": make([]byte, 100_000),
		"lower/big": make([]byte, 300_000), "lower/dir/small": make([]byte, 20_000), "lower/gone": nil,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", duSandbox, "sh", dir, duNested)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("sandbox: %v", err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the nested container says %q, %v", line, err)
	}
	return dir
}

// onDisk adds up a directory as du(1) does, and shares no code with the agent.
func onDisk(t *testing.T, dir string) (bytes uint64) {
	t.Helper()
	seen := map[uint64]bool{}
	if err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if st := info.Sys().(*syscall.Stat_t); !seen[st.Ino] {
			bytes += uint64(st.Blocks) * 512
			seen[st.Ino] = true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return bytes
}

// TestDU holds what the agent says of two overlays, one upon the other, against
// what was written to them; and what is said without an agent.
func TestDU(t *testing.T) {
	a := startAgent(t, "")
	dir := startNestedOverlays(t)
	unix.Sync()
	copied := func(upper, name string, size uint64) disk.File {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, upper, name), &st); err != nil {
			t.Fatal(err)
		}
		return disk.File{Path: name, Size: size, Bytes: uint64(st.Blocks) * 512}
	}
	big, small, data := copied("upper", "big", 300_002), copied("upper", "dir/small", 20_002), copied("vol/upper", "data", 100_002)
	want := map[string]disk.Usage{
		filepath.Join(dir, "upper"): {
			Bytes: onDisk(t, filepath.Join(dir, "upper")), Files: 3, Directories: 1, Whiteouts: 1,
			CopiedUp: disk.CopiedUp{By: disk.ByOrigin, Files: 2, Bytes: big.Bytes + small.Bytes, Largest: []disk.File{big, small}},
		},
		filepath.Join(dir, "vol/upper"): {
			Bytes: onDisk(t, filepath.Join(dir, "vol/upper")), Files: 1, Others: 1,
			CopiedUp: disk.CopiedUp{By: disk.ByOrigin, Files: 1, Bytes: data.Bytes, Largest: []disk.File{data}},
		},
	}
	depths := map[string]int{filepath.Join(dir, "upper"): 1, filepath.Join(dir, "vol/upper"): 2}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	check := func(what, out string) (nested answers.Disk) {
		t.Helper()
		var all []answers.Disk
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			t.Fatalf("%s: %v: %s", what, err, out)
		}
		got := map[string]disk.Usage{}
		for _, d := range all {
			if !strings.HasPrefix(d.Upper, dir) {
				continue // the machine's own
			}
			if d.Point != "/" || d.Kind != layers.KindOverlay || d.Usage == nil || d.Note != "" || d.Shared != "" || d.FSType == "" {
				t.Fatalf("%s: %+v", what, d)
			}
			if d.Depth == nil || *d.Depth != depths[d.Upper] || len(d.Chain) != *d.Depth || d.Layers != 1 {
				t.Errorf("%s: %s: depth %v, chain %v", what, d.Upper, d.Depth, d.Chain)
			}
			if size := fs.Blocks * uint64(fs.Frsize); d.Size == nil || *d.Size != size || d.Available == nil || *d.Available > size {
				t.Errorf("%s: %s: %v of %v bytes are free", what, d.Upper, d.Available, d.Size)
			}
			if l := d.Usage.CopiedUp.Largest; len(l) == 1 && l[0].Path == "again" {
				l[0].Path = data.Path // one file of two names
			}
			got[d.Upper] = *d.Usage
			if len(d.Chain) == 2 {
				nested = d
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
		return nested
	}
	out, errs, code := a.eyas("du", "-o", "json")
	if code != 0 || errs != "" {
		t.Fatalf("exits with %d: %s", code, errs)
	}
	nested := check("the agent", out)

	out, _, code = a.eyas("du", nested.Container, "-o", "json", "--files", "0")
	var one []answers.Disk
	if err := json.Unmarshal([]byte(out), &one); err != nil || code != 0 || len(one) != 1 || one[0].Upper != nested.Upper || len(one[0].Usage.CopiedUp.Largest) != 0 {
		t.Errorf("of the nested one alone: %d, %v: %s", code, err, out)
	}
	out, _, code = a.eyas("du")
	if code != 0 || !strings.Contains(out, nested.Upper) || !strings.Contains(out, "dir/small") {
		t.Errorf("as a table: %d: %s", code, out)
	}
	if _, _, code = a.eyas("du", "nobody"); code != 3 {
		t.Errorf("of nobody: exits with %d", code)
	}
	out, errs, code = runEyas(t, "du", "-o", "json", "--socket", filepath.Join(t.TempDir(), "none"), "--state-dir", t.TempDir())
	if code != 0 || !strings.Contains(errs, "this is a snapshot") {
		t.Fatalf("without an agent: %d: %s", code, errs)
	}
	check("without an agent", out)

	// The upper directory is gone from where it was mounted: nothing is claimed
	// of what is there instead.
	if err := errors.Join(os.Rename(filepath.Join(dir, "upper"), filepath.Join(dir, "elsewhere")), os.Mkdir(filepath.Join(dir, "upper"), 0o755),
		os.WriteFile(filepath.Join(dir, "upper/secret"), make([]byte, 1<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	out, _, _ = a.eyas("du", nested.Chain[0].ID, "-o", "json")
	one = nil
	if err := json.Unmarshal([]byte(out), &one); err != nil || len(one) != 2 || one[0].Usage != nil || one[0].Upper != "" || !strings.Contains(one[0].Note, "was not found") {
		t.Errorf("with another directory in its place: %v: %s", err, out)
	}
}
