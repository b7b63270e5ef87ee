package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is not whole says so, and is the least.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	for i := range 300 {
		write(t, filepath.Join(dir, fmt.Sprintf("d%d/f%d", i%10, i)), 100)
	}
	for n, want := range map[int]string{1: "stopped after 1 entries", 100: "stopped after 100 entries", 309: "stopped after 309 entries", 310: "", 1000: ""} {
		u := walkDir(t, dir, Options{Entries: n})
		got := u.Files + u.Directories
		if strings.Join(u.Cut, "; ") != want || got != uint64(min(n, 310)) {
			t.Errorf("of %d entries: %d, cut %q, want %q", n, got, u.Cut, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	u, err := walkCtx(ctx, dir, Options{})
	if err != nil || u.Files != 0 || len(u.Cut) != 1 || u.Cut[0] != "stopped after 0 entries: context canceled" || u.Bytes == 0 {
		t.Errorf("cancelled: %+v, %v", u, err)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	if u, err = walkCtx(ctx, dir, Options{}); err != nil || strings.Join(u.Cut, "") != "stopped after 0 entries: its time was over" {
		t.Errorf("without time: %+v, %v", u, err)
	}
}

// A tree is deeper than any path may be long.
func TestDeep(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	name := strings.Repeat("n", 200)
	const depth = 600
	for range depth {
		must(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err, unix.Close(fd))
		fd = next
	}
	f, err := unix.Openat(fd, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	must(t, err, unix.Close(f), unix.Close(fd))
	whole := walkDir(t, dir, Options{Depth: depth})
	if want := du(t, dir); whole.Bytes != want || len(whole.Cut) != 0 || whole.Directories != depth || whole.Files != 1 {
		t.Errorf("%+v, du says %d bytes", whole, want)
	}
	u := walkDir(t, dir, Options{})
	if u.Directories != 513 || u.Files != 0 || len(u.Cut) != 1 || u.Cut[0] != "1 directories more than 512 deep were not entered" {
		t.Errorf("%+v", u)
	}
}

// Who may not read a directory says so.
func TestPermission(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755))
	write(t, filepath.Join(dir, "secret/file"), 100)
	write(t, filepath.Join(dir, "open"), 100)
	must(t, os.Chmod(filepath.Join(dir, "secret"), 0))
	defer func() { must(t, os.Chmod(filepath.Join(dir, "secret"), 0o700)) }()
	d, err := os.Open(dir)
	must(t, err)
	defer d.Close()
	done := make(chan Usage, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			_, _ = unix.SetfsuidRetUid(65534) // takes the right to read everything, too
		}
		u, err := Walk(t.Context(), d, Options{})
		if err != nil {
			t.Error(err)
		}
		done <- u
	}()
	u := <-done
	if u.Files != 1 || u.Directories != 1 || strings.Join(u.Cut, "") != "1 entries could not be read: permission denied" {
		t.Errorf("%+v", u)
	}
}

// A tenant that swaps a directory for a link, or for another one, shows nothing
// of what is outside.
func TestSwapped(t *testing.T) {
	base := t.TempDir()
	at := func(name string) string { return filepath.Join(base, name) }
	write(t, at("outside/secret"), 1<<20)
	for i := range 20 {
		write(t, at(fmt.Sprintf("outside/d/%d", i)), 1)
	}
	write(t, at("root/dir/d/inner"), 10)
	must(t, os.Symlink(at("outside"), at("root/link")))
	largest := walkDir(t, at("root"), Options{})
	if largest.Files != 1 || largest.Directories != 2 || largest.Others != 1 {
		t.Fatalf("at rest: %+v", largest)
	}
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		swaps := 0
		defer func() { done <- swaps }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, at("root/dir"), unix.AT_FDCWD, at("root/link"), unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
			swaps++
		}
	}()
	caught, tries := 0, 20_000
	for range tries {
		u := walkDir(t, at("root"), Options{})
		// Whatever is where: one file, directories and links of the root.
		if u.Files > 2 || u.Bytes > 4*largest.Bytes || u.Directories > 4 || u.Others > 2 || len(u.Cut) > 0 {
			t.Fatalf("read outside: %+v", u)
		}
		if u.Files == 0 {
			caught++ // the link was there when the directory was to be opened
		}
	}
	close(stop)
	swaps := <-done
	t.Logf("%d walks, %d swaps, the directory was gone %d times", tries, swaps, caught)
	if swaps < tries/2 || caught == 0 {
		t.Errorf("%d walks met %d swaps, %d of them while they opened", tries, swaps, caught)
	}
}
