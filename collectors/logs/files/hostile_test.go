package files

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// tenant is a sandbox's root with podman's store, and something outside of it.
type tenant struct {
	*rig
	top, root, store string
}

const someID = "aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899"

func newTenant(t *testing.T) *tenant {
	x := &tenant{rig: newRig(t), top: t.TempDir()}
	x.root = filepath.Join(x.top, "root")
	x.store = filepath.Join(x.root, "var/lib/containers/storage/overlay-containers")
	x.do(os.MkdirAll(filepath.Join(x.store, someID, "userdata"), 0o755))
	x.do(os.MkdirAll(filepath.Join(x.root, "etc"), 0o755))
	x.do(os.WriteFile(filepath.Join(x.top, "secret"), []byte(k8s("secret")), 0o600))
	// What OpenRoot wants of procfs is a link at PID/root.
	x.do(os.MkdirAll(filepath.Join(x.top, "proc/7"), 0o755))
	x.do(os.Symlink(x.root, filepath.Join(x.top, "proc/7/root")))
	r, err := evidence.OpenRoot(filepath.Join(x.top, "proc"), 7)
	x.do(err)
	t.Cleanup(func() { r.Close() })
	for _, s := range r.LogStores(nil) {
		all, err := r.LogFiles(s, 100)
		x.do(err)
		for _, f := range all {
			x.tail = tail{root: r, path: f.Path, parse: parserOf(f.Format)}
		}
	}
	if x.path == "" {
		t.Fatal("the store is not found")
	}
	return x
}

func (x *tenant) log() string { return filepath.Join(x.root, x.path) }

// Whatever a sandbox puts in a log's place: nothing outside of it is read, nothing
// waits, and nothing but a regular file is opened.
func TestHostile(t *testing.T) {
	for name, tc := range map[string]struct {
		make func(x *tenant) error
		want []string
		err  string
	}{
		"a file":                 {func(x *tenant) error { return os.WriteFile(x.log(), []byte(k8s("mine")), 0o600) }, []string{"mine"}, ""},
		"an absolute link":       {func(x *tenant) error { return os.Symlink("/etc/shadow", x.log()) }, nil, "not a regular file"},
		"a link to the top":      {func(x *tenant) error { return os.Symlink("../../../../../../../../secret", x.log()) }, nil, "not a regular file"},
		"a link of the full way": {func(x *tenant) error { return os.Symlink(filepath.Join(x.top, "secret"), x.log()) }, nil, "not a regular file"},
		"a directory that is a link outside": {func(x *tenant) error {
			dir := filepath.Dir(x.log())
			if err := os.WriteFile(filepath.Join(x.top, "ctr.log"), []byte(k8s("secret")), 0o600); err != nil {
				return err
			}
			if err := os.Remove(dir); err != nil {
				return err
			}
			return os.Symlink(strings.Repeat("../", 20)+strings.TrimPrefix(x.top, "/"), dir)
		}, nil, ""},
		"a directory that is a link inside": {func(x *tenant) error {
			dir := filepath.Dir(x.log())
			if err := os.WriteFile(filepath.Join(x.root, "etc/ctr.log"), []byte(k8s("inside")), 0o600); err != nil {
				return err
			}
			if err := os.Remove(dir); err != nil {
				return err
			}
			return os.Symlink("/etc", dir)
		}, []string{"inside"}, ""},
		"a FIFO":      {func(x *tenant) error { return unix.Mkfifo(x.log(), 0o600) }, nil, "not a regular file"},
		"a socket":    {func(x *tenant) error { return unix.Mknod(x.log(), unix.S_IFSOCK|0o600, 0) }, nil, "not a regular file"},
		"a directory": {func(x *tenant) error { return os.Mkdir(x.log(), 0o700) }, nil, "not a regular file"},
		"/dev/zero": {func(x *tenant) error {
			return unix.Mknod(x.log(), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5)))
		}, nil, "not a regular file"},
		"zeros": {func(x *tenant) error { return os.WriteFile(x.log(), make([]byte, 3*maxLine), 0o600) }, nil, ""},
		"NULs, escapes and what is no UTF-8": {func(x *tenant) error {
			return os.WriteFile(x.log(), []byte(k8s("\x00\x1b]0;title\a\x1b[2J\xff")), 0o600)
		}, []string{"\x00\x1b]0;title\a\x1b[2J\xff"}, ""}, // as they are: whoever prints them escapes them
	} {
		t.Run(name, func(t *testing.T) {
			x := newTenant(t)
			if err := tc.make(x); err != nil {
				if name == "/dev/zero" && os.Geteuid() != 0 {
					t.Skip("it takes root to make a device")
				}
				t.Fatal(err)
			}
			var got error
			for range 3 {
				x.at = x.at.Add(lookEvery)
				if _, err := x.step(x.at, x.buf, 1<<20, &x.list); err != nil {
					got = err
				}
			}
			x.want(tc.want...)
			if (got == nil) != (tc.err == "") || got != nil && !strings.Contains(got.Error(), tc.err) {
				t.Errorf("error %v, want %q", got, tc.err)
			}
		})
	}
}

// TestSwapped: while a directory on the way is swapped for a link that leads outside,
// and back, nothing from there is ever read.
func TestSwapped(t *testing.T) {
	const tries = 20000
	x := newTenant(t)
	x.do(os.WriteFile(x.log(), []byte(k8s("mine")), 0o600))
	outside := filepath.Join(x.top, "outside")
	x.do(os.Mkdir(outside, 0o755))
	x.do(os.WriteFile(filepath.Join(outside, "ctr.log"), []byte(k8s("secret")), 0o600))
	dir := filepath.Dir(x.log())
	link := filepath.Join(x.store, someID, "link")
	x.do(os.Symlink(strings.Repeat("../", 20)+strings.TrimPrefix(outside, "/"), link))
	stop := make(chan struct{})
	var swaps int
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
			swaps++
			runtime.Gosched()
		}
	})
	mine := 0
	began := time.Now()
	for range tries {
		x.close()
		x.begun = false
		x.at = x.at.Add(lookEvery)
		_, _ = x.step(x.at, x.buf, 1<<20, &x.list) // often there is none
		for _, l := range x.lines {
			if l != "1 mine" {
				t.Fatalf("read %q", l)
			}
			mine++
		}
		x.lines = nil
	}
	close(stop)
	wg.Wait()
	if mine == 0 || mine == tries || swaps < 1000 {
		t.Errorf("%d of %d tries read the file, with %d swaps: nothing raced", mine, tries, swaps)
	}
	t.Logf("%d swaps, %d reads of %d tries in %v", swaps, mine, tries, time.Since(began))
}
