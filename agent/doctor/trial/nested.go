package trial

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// greeting is the first word of nested: its pid, as the container's procfs has
// it, by which newuidmap finds it.
type greeting struct {
	PID int `json:"pid"`
}

// mapped says which maps are written, and who the container's user is: nobody is
// known in a namespace without a map.
type mapped struct {
	UIDs, GIDs bool
	UID, GID   int
}

// mounts is the last word of nested.
type mounts struct {
	Proc    Step `json:"proc"`
	Overlay Step `json:"overlay"`
}

// nested runs in a user, mount and pid namespace of the container's user.
func nested(stdin io.Reader, stdout io.Writer) error {
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(self)
	if err != nil {
		return fmt.Errorf("read /proc/self: %w", err)
	}
	enc := json.NewEncoder(stdout)
	if err := enc.Encode(greeting{pid}); err != nil {
		return err
	}
	line, err := bufio.NewReader(stdin).ReadBytes('\n')
	if err != nil {
		return err
	}
	var done mapped
	if err := json.Unmarshal(line, &done); err != nil {
		return err
	}
	if err := mapSelf(done); err != nil {
		step := failed("map its own id", err)
		return enc.Encode(mounts{step, step})
	}
	return enc.Encode(mounts{
		Proc: attemptStep("mount proc", tryProc()), Overlay: attemptStep("overlay", Overlay()),
	})
}

// mapSelf maps one id where the tool did not map more, as any user may, so that
// mounts can be tried all the same.
func mapSelf(done mapped) error {
	line := func(id int) []byte { return fmt.Appendf(nil, "0 %d 1\n", id) }
	if !done.UIDs {
		if err := os.WriteFile("/proc/self/uid_map", line(done.UID), 0); err != nil {
			return err
		}
	}
	if done.GIDs {
		return nil
	}
	if err := os.WriteFile("/proc/self/setgroups", []byte("deny"), 0); err != nil {
		return err
	}
	return os.WriteFile("/proc/self/gid_map", line(done.GID), 0)
}

// tryProc mounts a procfs of this pid namespace, and not over the one there is.
func tryProc() error {
	base, err := scratch()
	if err != nil {
		return err
	}
	dir := filepath.Join(base, "proc")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return unix.Mount("proc", dir, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}
