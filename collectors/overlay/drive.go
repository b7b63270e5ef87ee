package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// DriveArg makes eyas run DriveChild and exit.
const DriveArg = "overlay-drive"

const driveTimeout = 30 * time.Second // on an overloaded node

// Drive does once what the overlay programs count, in a child, on an overlay in
// memory that nobody else sees. It needs CAP_SYS_ADMIN, and a kernel that has
// overlay already: it loads no module.
func Drive() error {
	if !Loaded("/proc") {
		return ErrNotLoaded
	}
	ctx, cancel := context.WithTimeout(context.Background(), driveTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, "/proc/self/exe", DriveArg)
	c.Env, c.Dir = []string{}, "/"
	c.WaitDelay = time.Second
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("use an overlay: %w: %s", err, out)
	}
	return nil
}

// DriveChild is what the program does when called with DriveArg. What it mounts
// is in a mount namespace of its own, and ends with it.
func DriveChild() error {
	runtime.LockOSThread() // for good: this process is about to exit
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	base, err := mountMemory()
	if err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(base, name) }
	for _, dir := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(at(dir), 0o700); err != nil {
			return err
		}
	}
	for _, name := range []string{"changed", "deleted"} {
		if err := os.WriteFile(at("lower/"+name), []byte("before"), 0o600); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", at("lower"), at("upper"), at("work"))
	if err := unix.Mount("overlay", at("merged"), "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	return driveFiles(at)
}

// mountMemory mounts a tmpfs where any system has a directory.
func mountMemory() (string, error) {
	var errs []error
	for _, dir := range []string{"/tmp", "/run", "/mnt", "/var"} {
		err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700")
		if err == nil {
			return dir, nil
		}
		errs = append(errs, fmt.Errorf("mount tmpfs on %s: %w", dir, err))
	}
	return "", errors.Join(errs...)
}

func driveFiles(at func(string) string) error {
	lower, err := os.Open(at("merged/changed"))
	if err != nil {
		return err
	}
	defer lower.Close()
	if _, err := io.ReadAll(lower); err != nil {
		return err
	}
	changed, err := os.OpenFile(at("merged/changed"), os.O_RDWR, 0) // copies up
	if err != nil {
		return err
	}
	defer changed.Close()
	if _, err := changed.WriteString("after!"); err != nil {
		return err
	}
	made, err := os.OpenFile(at("merged/made"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer made.Close()
	in, out := int(changed.Fd()), int(made.Fd())
	var off int64
	if _, err := unix.CopyFileRange(in, &off, out, nil, 6, 0); err != nil {
		return fmt.Errorf("copy_file_range: %w", err)
	}
	if err := splice(in, out); err != nil {
		return err
	}
	m, err := unix.Mmap(out, 0, 6, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	return errors.Join(unix.Munmap(m), fault(), os.Remove(at("merged/deleted")))
}

// fault writes to a private mapping of this program, whose page the file system has.
func fault() error {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	m[0] = 0
	return unix.Munmap(m)
}

// splice moves 6 bytes from one file to another through a pipe.
func splice(in, out int) error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	var off int64
	if _, err := unix.Splice(in, &off, pipe[1], nil, 6, 0); err != nil {
		return fmt.Errorf("splice from an overlay: %w", err)
	}
	if _, err := unix.Splice(pipe[0], nil, out, nil, 6, 0); err != nil {
		return fmt.Errorf("splice to an overlay: %w", err)
	}
	return nil
}
