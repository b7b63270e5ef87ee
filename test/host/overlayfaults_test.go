//go:build host

package host

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const faultPages = 64

// TestOverlayFaults: each page of a mapping that was not there is one.
func TestOverlayFaults(t *testing.T) {
	a := startAgent(t, "", "--reconcile-interval", "1s")
	needTrampolines(t, a)
	pid, step := startOverlayWork(t, "faults")
	id := containerOf(t, a, pid)
	before := overlayNumbers(a.families(), id)
	step()
	after := overlayNumbers(a.families(), id)
	if d := cmp.Diff(map[string]float64{"operations_total fault 1": faultPages}, grown(before, after)); d != "" {
		t.Errorf("faults (-want +got):\n%s", d)
	}
	checkNoneSkipped(t, a)
}

// faultsWork writes to a private mapping of a file of an overlay, page by page.
func faultsWork(in *bufio.Reader) (err error) {
	dir, err := os.MkdirTemp("/var/tmp", "eyas-faults")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			return err
		}
	}
	size := faultPages * os.Getpagesize()
	if err := os.WriteFile(at("lower/file"), make([]byte, size), 0o600); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", at("lower"), at("upper"), at("work"))
	if err := unix.Mount("overlay", at("merged"), "overlay", 0, options); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Unmount(at("merged"), 0)) }()
	f, err := os.OpenFile(at("merged/file"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, size)); err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE) // copied on write, page by page: of a shared one newer kernels give many at once
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Munmap(m)) }()
	fmt.Println("ready")
	if !told(in) {
		return nil
	}
	for i := 0; i < size; i += os.Getpagesize() {
		m[i] = 1
	}
	fmt.Println("ready")
	told(in)
	return nil
}
