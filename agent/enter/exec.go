package enter

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoTool means that this machine, or this image, has no nsenter.
var ErrNoTool = errors.New("there is no nsenter here: install util-linux, or run what eyas enter prints without --run on the node")

// Exec does what the script does, in place of this program: it returns only if
// that fails. This program may then be in the cgroup of the container, and
// should end. term is the caller's TERM.
func (t *Target) Exec(term string) error {
	program, err := exec.LookPath(tool)
	if err == nil {
		program, err = filepath.Abs(program) // the directory changes
	}
	if err != nil {
		return ErrNoTool
	}
	for _, dir := range t.Plan.Cgroups {
		if err := t.join(dir); err != nil {
			return err
		}
	}
	if err := t.Alive(); err != nil {
		return err
	}
	if err := unix.Fchdir(int(t.dir.Fd())); err != nil {
		return gone(err)
	}
	// What the caller has open is not for the container: a directory of the node
	// would be a way out of it.
	if err := unix.CloseRange(firstOther, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close what the caller has open: %w", err)
	}
	if err := unix.Exec(program, t.Plan.Argv, append(t.Plan.Env, "TERM="+term)); err != nil {
		return fmt.Errorf("execute %s: %w", program, err)
	}
	return nil
}

// TypesBack reports whether a program can type into the terminal that it was started from
// (TIOCSTI), which then comes after it: since Linux 6.2 a sysctl may forbid it.
func TypesBack(proc string) bool {
	b, err := os.ReadFile(filepath.Join(proc, "sys/dev/tty/legacy_tiocsti"))
	return err != nil || strings.TrimSpace(string(b)) != "0"
}

const firstOther = 3 // the first descriptor that is neither input nor output

// join puts this program into a cgroup.
func (t *Target) join(dir string) error {
	f, err := os.OpenFile(t.onNode(filepath.Join(dir, "cgroup.procs")), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("0")
		err = errors.Join(err, f.Close())
	}
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("join its cgroup: %w: it is gone: try again", ErrEnded)
	case err != nil:
		return fmt.Errorf("join its cgroup %s: %w: enter with --no-cgroup to stay outside", strings.ToValidUTF8(dir, "\uFFFD"), err)
	}
	return nil
}
