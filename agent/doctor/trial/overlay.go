package trial

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Overlay tries one. It runs as root of a user namespace, in a mount namespace of its own.
// Nothing it mounts can reach another: the namespace's mounts are slaves of the
// node's, and made private here.
func Overlay() error {
	base, err := scratch()
	if err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(base, name) }
	for _, dir := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(at(dir), 0o700); err != nil {
			return err
		}
	}
	for _, name := range []string{"lower/changed", "lower/deleted"} {
		if err := os.WriteFile(at(name), []byte("x"), 0o600); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("userxattr,lowerdir=%s,upperdir=%s,workdir=%s", at("lower"), at("upper"), at("work"))
	if err := unix.Mount("overlay", at("merged"), "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	f, err := os.OpenFile(at("merged/changed"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("copy up: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteString("y"); err != nil {
		return fmt.Errorf("write a copied-up file: %w", err)
	}
	if err := os.Remove(at("merged/deleted")); err != nil {
		return fmt.Errorf("delete a file of a lower layer: %w", err)
	}
	return nil
}

// scratch mounts a small tmpfs and returns where.
func scratch() (string, error) {
	if insideInitUserNS() {
		return "", errors.New("not in a user namespace of its own") // nothing is mounted by mistake
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("make mounts private: %w", err)
	}
	return mountTmpfs()
}

func mountTmpfs() (string, error) {
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

// insideInitUserNS reports whether all ids are mapped to themselves.
func insideInitUserNS() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	var inner, outer, count uint64
	if err != nil {
		return true
	}
	if _, err := fmt.Sscan(string(b), &inner, &outer, &count); err != nil {
		return true
	}
	return count == 1<<32-1
}
