//go:build host

package host

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// overlayWorkEnv makes the test's binary do what TestOverlay counts: the first
// process of its namespaces, told by lines of its input what is next.
const overlayWorkEnv = "EYAS_TEST_OVERLAY" // root, user, calls, bench, many, faults or costs

// overlayWork is done below base, where everything is in memory. Programs and
// libraries may lie on an overlay of the machine's; it uses none but its own.
func overlayWork() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if os.Getenv(overlayWorkEnv) == "faults" { // in memory there are none
		return faultsWork(bufio.NewReader(os.Stdin))
	}
	base := "/mnt"
	if err := unix.Mount("tmpfs", base, "tmpfs", 0, "size=64m"); err != nil {
		return err
	}
	w := overlayWorker{base: base}
	if err := w.prepare(); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	switch os.Getenv(overlayWorkEnv) {
	case "bench":
		return w.bench(in)
	case "many":
		return w.many(in)
	case "calls":
		return w.calls(in)
	case "costs":
		return w.costs(in)
	}
	for _, step := range []func() error{w.readAndWrite, w.copyUp, w.uponOverlay, w.remount} {
		fmt.Println("ready")
		if !told(in) {
			return nil
		}
		if err := step(); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	told(in) // lives until the test is over
	return nil
}

// told waits for the test's word, and reports whether it goes on.
func told(in *bufio.Reader) bool {
	_, err := in.ReadString('\n')
	return err == nil
}

type overlayWorker struct{ base string }

func (w overlayWorker) at(name string) string { return filepath.Join(w.base, name) }

func (w overlayWorker) prepare() error {
	for _, dir := range []string{"lower/dir", "upper", "work", "merged", "upper2", "work2", "merged2"} {
		if err := os.MkdirAll(w.at(dir), 0o755); err != nil {
			return err
		}
	}
	files := map[string]int{"read": 1 << 20, "meta": 50_000, "deleted": 10, "dir/inner": 7, "above": 30_000}
	for i := range 5 {
		files[fmt.Sprint("up", i)] = 100_000
	}
	for name, size := range files {
		if err := os.WriteFile(w.at("lower/"+name), make([]byte, size), 0o644); err != nil {
			return err
		}
	}
	return w.mount()
}

func (w overlayWorker) mount() error {
	how := "metacopy=on"
	switch os.Getenv(overlayWorkEnv) {
	case "user", "calls", "costs":
		how = "userxattr" // all that a user namespace may have
	}
	o := fmt.Sprintf(how+",lowerdir=%s,upperdir=%s,workdir=%s", w.at("lower"), w.at("upper"), w.at("work"))
	return unix.Mount("overlay", w.at("merged"), "overlay", 0, o)
}

// readAll reads a file by 4 KiB: 256 reads for 1 MiB, and one that finds the end.
func readAll(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for buf := make([]byte, 4096); ; {
		n, err := unix.Read(fd, buf)
		if err != nil || n == 0 {
			return err
		}
	}
}

func (w overlayWorker) readAndWrite() error {
	if err := readAll(w.at("merged/read")); err != nil {
		return err
	}
	in, err := unix.Open(w.at("merged/read"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	out, err := unix.Open(w.at("merged/new"), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	for range 10 {
		if _, err := unix.Write(out, make([]byte, 10_000)); err != nil {
			return err
		}
	}
	if err := spliceOver(in, out, 64<<10); err != nil {
		return err
	}
	var off int64
	for left := 200_000; left > 0; {
		n, err := unix.CopyFileRange(in, &off, out, nil, left, 0)
		if err != nil || n == 0 {
			return fmt.Errorf("copy_file_range: %d, %w", n, err)
		}
		left -= n
	}
	m, err := unix.Mmap(out, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(m, "through a mapping")
	return unix.Munmap(m)
}

func spliceOver(in, out, size int) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	var off int64
	for size > 0 {
		n, err := unix.Splice(in, &off, p[1], nil, size, 0)
		if err != nil || n == 0 {
			return fmt.Errorf("splice from: %d, %w", n, err)
		}
		for left := n; left > 0; {
			m, err := unix.Splice(p[0], nil, out, nil, int(left), 0)
			if err != nil || m == 0 {
				return fmt.Errorf("splice to: %d, %w", m, err)
			}
			left -= m
		}
		size -= int(n)
	}
	return nil
}

func writeByte(path string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte("x"))
	return err
}

func (w overlayWorker) copyUp() error {
	for i := range 5 {
		if err := writeByte(w.at(fmt.Sprint("merged/up", i))); err != nil {
			return err
		}
	}
	return errors.Join(
		writeByte(w.at("merged/dir/inner")),
		unix.Chmod(w.at("merged/meta"), 0o600),
		unix.Unlink(w.at("merged/deleted")), // leaves a whiteout
		unix.Unlink(w.at("merged/new")),     // leaves nothing
		unix.Mkdir(w.at("merged/made"), 0o755),
		unix.Rmdir(w.at("merged/made")),
	)
}

// uponOverlay has the first overlay as the lower layer of another.
func (w overlayWorker) uponOverlay() error {
	if os.Getenv(overlayWorkEnv) == "user" {
		return nil // its rights do not reach that far
	}
	o := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", w.at("merged"), w.at("upper2"), w.at("work2"))
	if err := unix.Mount("overlay", w.at("merged2"), "overlay", 0, o); err != nil {
		return err
	}
	return errors.Join(readAll(w.at("merged2/read")), writeByte(w.at("merged2/above")), unix.Unmount(w.at("merged2"), 0))
}

// remount reads the same file of a new overlay: what the one before counted
// stays.
func (w overlayWorker) remount() error {
	return errors.Join(unix.Unmount(w.at("merged"), 0), w.mount(), readAll(w.at("merged/read")))
}
