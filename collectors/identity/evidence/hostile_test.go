package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	storePath  = "/var/lib/containers/storage/overlay-containers/containers.json"
	dockerPath = "/var/lib/docker/containers/" + idA + "/config.v2.json"
	envPath    = "/run/.containerenv"
)

// Whatever a tenant puts in the place of a state file, it is refused with an
// error that names the place, and nothing comes of it.
func TestHostileFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte(`[{"id":"`+idA+`","names":["secret"]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		put  func(path string) error
		want string // in the error
	}{
		"link to a file outside": {func(p string) error { return os.Symlink("/etc/shadow", p) }, "not a regular file: mode L"},
		"link to a secret":       {func(p string) error { return os.Symlink(outside, p) }, "not a regular file: mode L"},
		"link upwards": {func(p string) error { return os.Symlink(strings.Repeat("../", 40)+outside, p) },
			"not a regular file: mode L"},
		"link to itself": {func(p string) error { return os.Symlink(p, p) }, "not a regular file: mode L"},
		"fifo":           {func(p string) error { return unix.Mkfifo(p, 0o666) }, "not a regular file"},
		"zero":           {func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) }, "not a regular file"},
		"tty":            {func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(5, 0))) }, "not a regular file"},
		"disk":           {func(p string) error { return unix.Mknod(p, unix.S_IFBLK|0o666, int(unix.Mkdev(254, 0))) }, "not a regular file"},
		"directory":      {func(p string) error { return os.Mkdir(p, 0o755) }, "not a regular file"},
		"socket": {func(p string) error {
			at, err := os.Open(filepath.Dir(p)) // a socket's address is shorter than these paths
			if err != nil {
				return err
			}
			defer at.Close()
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/%s", at.Fd(), filepath.Base(p))})
			if err == nil {
				t.Cleanup(func() { l.Close() })
				l.SetUnlinkOnClose(false)
			}
			return err
		}, "not a regular file"},
		"10 MiB": {func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte("[{},"), 10<<18), 0o644) }, "10485760 bytes, more than"},
		"hole":   {func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o644), os.Truncate(p, 1<<40)) }, "1099511627776 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, r := sandbox(t, nil)
			for _, p := range []string{storePath, dockerPath, envPath} {
				p = filepath.Join(dir, p)
				if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := tc.put(p); errors.Is(err, unix.EPERM) {
					t.Skipf("this kernel or its user cannot make one: %v (CAP_MKNOD)", err)
				} else if err != nil {
					t.Fatal(err)
				}
			}
			check := func(path string, c Claim, ok bool, err error) {
				t.Helper()
				if ok || (c != Claim{}) {
					t.Errorf("%s: claim %+v", path, c)
				}
				if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", path)) {
					t.Errorf("%s: error %v, want %q", path, err, tc.want)
				}
			}
			c, ok, err := r.Podman(idA, nil)
			check(storePath, c, ok, err)
			c, ok, err = r.Docker(idA)
			check(dockerPath, c, ok, err)
			c, ok, err = r.Containerenv()
			check(envPath, c, ok, err)
		})
	}
}

// Content that is no state is an error naming the place as well, and a broken
// store hides no whole one.
func TestHostileContent(t *testing.T) {
	for name, content := range map[string]string{
		"nul": "\x00\x00", "deep": "[" + strings.Repeat(`{"a":[`, 1<<17), "no utf-8": "\xff\xfe", "escape": "\x1b]0;x\a", "half": `[{"id":"`,
	} {
		_, r := sandbox(t, map[string]string{storePath: content, dockerPath: content})
		if c, ok, err := r.Podman(idA, nil); ok || err == nil || !strings.Contains(err.Error(), storePath) || !printable(err) {
			t.Errorf("%s: podman: %+v, %v, %q", name, c, ok, err)
		}
		if c, ok, err := r.Docker(idA); ok || err == nil || !strings.Contains(err.Error(), dockerPath) || !printable(err) {
			t.Errorf("%s: docker: %+v, %v, %q", name, c, ok, err)
		}
		_, r = sandbox(t, map[string]string{
			storePath: content,
			"/home/dev/.local/share/containers/storage/overlay-containers/containers.json": `[{"id":"` + idA + `"}]`,
		})
		if _, ok, err := r.Podman(idA, nil); !ok || err != nil {
			t.Errorf("%s: hides a whole store: %v, %v", name, ok, err)
		}
	}
	// The name of a home directory is a tenant's as well.
	_, r := sandbox(t, map[string]string{"/home/\x1b[31m\nx/.local/share/containers/storage/overlay-containers/containers.json": "{"})
	if _, _, err := r.Podman(idA, nil); err == nil || !printable(err) {
		t.Errorf("error %q", err)
	}
}

func printable(err error) bool {
	return !strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0xfffd || r == 0x7f }) &&
		!strings.Contains(err.Error(), "\nx")
}

func TestHostileIDs(t *testing.T) {
	_, r := sandbox(t, map[string]string{"/var/lib/docker/config.v2.json": "{}"})
	for _, id := range []string{"", "..", "../../../etc/passwd", strings.ToUpper(idA), idA + "/", idA[:63] + "\x00", strings.Repeat("a", 65), "\x1b[2J"} {
		if _, ok, err := r.Podman(id, nil); ok || err == nil || !printable(err) {
			t.Errorf("podman %q: %v, %q", id, ok, err)
		}
		if _, ok, err := r.Docker(id); ok || err == nil || !printable(err) {
			t.Errorf("docker %q: %v, %q", id, ok, err)
		}
	}
}

// Directory links are followed, and end at the sandbox's root.
func TestDirectoryLinks(t *testing.T) {
	outside := t.TempDir()
	leak := filepath.Join(outside, "overlay-containers")
	if err := os.Mkdir(leak, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(leak, "containers.json"), []byte(`[{"id":"`+idA+`","names":["outside"]}]`), 0o644); err != nil {
		t.Fatal(err)
	}
	dir, r := sandbox(t, map[string]string{"/data/storage/overlay-containers/containers.json": `[{"id":"` + idA + `","names":["inside"]}]`})
	link := filepath.Join(dir, "var/lib/containers")
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"/data": "inside", "../../data": "inside", "../../../../../../data": "inside",
		outside: "", strings.Repeat("../", 30) + outside: "", "/proc/self/root" + outside: "", "containers": "",
	} {
		os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if c, ok, _ := r.Podman(idA, nil); c.Name != want || ok != (want != "") {
			t.Errorf("link to %q: %+v, %v", target, c, ok)
		}
	}
	// /home itself may be one.
	os.Remove(link)
	if err := os.MkdirAll(filepath.Join(dir, "var/home/dev/.local/share/containers"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("var/home", filepath.Join(dir, "home")),
		os.Symlink("/data/storage", filepath.Join(dir, "var/home/dev/.local/share/containers/storage"))); err != nil {
		t.Fatal(err)
	}
	if c, ok, err := r.Podman(idA, nil); c.Name != "inside" || !ok || err != nil {
		t.Errorf("/home is a link: %+v, %v, %v", c, ok, err)
	}
}

// Files of procfs have no size, and are neither read nor waited for; its links
// out of the root are refused. This is the node's own root.
func TestProcfs(t *testing.T) {
	r, err := OpenRoot("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, path := range []string{"/proc/kmsg", "/proc/self/status", "/proc/self/environ"} {
		if b, err := r.read(path, maxFile); len(b) != 0 || err != nil {
			t.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
	}
	for _, path := range []string{"/proc/self/root/etc/passwd", "/proc/self/cwd/doc.go"} {
		if _, err := r.read(path, maxFile); !errors.Is(err, unix.ELOOP) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := r.read("/proc/self/exe", maxFile); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("/proc/self/exe: %v", err)
	}
	if b, err := r.read("/etc/passwd", maxFile); err != nil || !bytes.Contains(b, []byte("root:")) {
		t.Errorf("the node's own file: %d bytes, %v", len(b), err)
	}
}

// A tenant swaps a directory of the path, and the file itself, as fast as it can.
func TestSwapRace(t *testing.T) {
	const tries = 20000
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "config.v2.json"), []byte(`{"ID":"`+idA+`","Name":"/outside"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	dir, r := sandbox(t, map[string]string{dockerPath: `{"ID":"` + idA + `","Name":"/inside"}`})
	real := filepath.Dir(filepath.Join(dir, dockerPath))
	evil := strings.Repeat("../", 30) + outside
	if err := errors.Join(os.Symlink(evil, filepath.Join(dir, "evil")), unix.Mkfifo(filepath.Join(dir, "fifo"), 0o666)); err != nil {
		t.Fatal(err)
	}
	// The tenant works through descriptors: by path it would itself reach outside.
	at := func(path string) int {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	root, parent, own := at(dir), at(filepath.Dir(real)), at(real)
	stop := make(chan struct{})
	var tenant sync.WaitGroup
	swap := func(dir int, name, with string) {
		defer tenant.Done()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := unix.Renameat2(dir, name, root, with, unix.RENAME_EXCHANGE); err != nil {
				t.Errorf("swap %s: %v", name, err)
				return
			}
		}
	}
	tenant.Add(2)
	go swap(parent, idA, "evil")
	go swap(own, "config.v2.json", "fifo")

	var inside, none, refused int
	for range tries {
		switch c, ok, err := r.Docker(idA); {
		case ok && c.Name == "inside":
			inside++
		case ok:
			t.Fatalf("read from outside: %+v", c)
		case err != nil:
			refused++
		default:
			none++
		}
	}
	close(stop)
	tenant.Wait()
	if b, err := os.ReadFile(filepath.Join(outside, "config.v2.json")); err != nil || !bytes.Contains(b, []byte("outside")) {
		t.Fatalf("the file outside: %q, %v", b, err)
	}
	t.Logf("%d tries: %d read inside, %d found nothing, %d refused", tries, inside, none, refused)
	if inside == 0 || none == 0 || refused == 0 {
		t.Error("the race did not happen")
	}
}

// A tenant can fill every place that is looked at; the whole is bounded.
func TestLookupBudget(t *testing.T) {
	const store = "/overlay-containers/containers.json"
	big := "[" + strings.Repeat(`{"id":"x","names":["`+strings.Repeat("n", 1000)+`"]},`, 3500) + `{"id":"y"}]`
	files := map[string]string{storePath: `[{"id":"` + idA + `"}]`}
	var hints []string
	for _, d := range []string{"/a", "/b", "/c", "/d", "/e", "/f", "/g"} {
		files[d+store], hints = big, append(hints, d)
	}
	for i := range 200 {
		files[fmt.Sprintf("/home/u%d/.local/share/containers/storage", i)+store] = "{"
	}
	_, r := sandbox(t, files)
	l := lookup{root: r, budget: maxLookup}
	read := 0
	for _, d := range hints {
		if b, ok := l.read(d+store, maxStoreFile); ok {
			read += len(b)
		}
	}
	if most := maxLookup / len(big) * len(big); read != most || l.budget != int64(maxLookup-most) || len(l.errs) == 0 {
		t.Errorf("%d bytes read, %d left, errors %v", read, l.budget, l.errs)
	}
	if c, ok, err := r.Podman(idA, hints); !ok || err != nil {
		t.Errorf("behind full stores: %+v, %v, %v", c, ok, err)
	}
	if _, ok, err := r.Podman(idB, hints); ok || err == nil || strings.Count(err.Error(), "\n") != maxErrors-1 {
		t.Errorf("%v, %v", ok, err)
	}
	if names, err := r.list("/home", maxHomes); len(names) != maxHomes || err != nil {
		t.Errorf("%d names, %v", len(names), err)
	}
}

func TestOpenRoot(t *testing.T) {
	_, r := sandbox(t, nil)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Containerenv(); err == nil {
		t.Error("read after Close")
	}
	file := filepath.Join(t.TempDir(), "7")
	if err := errors.Join(os.Mkdir(file, 0o755), os.WriteFile(filepath.Join(file, "root"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{0, -1, 7, 8} {
		if r, err := OpenRoot(filepath.Dir(file), pid); err == nil {
			r.Close()
			t.Errorf("opened the root of process %d", pid)
		}
	}
}
