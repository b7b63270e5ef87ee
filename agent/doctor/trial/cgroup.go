package trial

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits that are tried: any value that is not the default.
const (
	tryMemory = "67108864"
	tryPIDs   = "32"
)

// delegate does in the container's cgroup what an engine does: a cgroup that
// passes controllers on to a leaf, limits there, a process in it, and all gone.
func (in Inside) delegate(a *Answer) {
	skipAll(&a.Enable, &a.Memory, &a.PIDs, &a.Move, &a.Remove)
	if in.Cgroup == "" {
		a.Cgroup.Skipped = true
		return
	}
	dir := filepath.Join(in.Cgroup, in.Name)
	if a.Cgroup = attemptStep("mkdir in "+in.Cgroup, os.Mkdir(dir, 0o755)); !a.Cgroup.OK() {
		return
	}
	leaf := filepath.Join(dir, leafName)
	a.Controllers, a.Enable = enable(dir)
	if err := os.Mkdir(leaf, 0o755); err != nil {
		a.Move = failed("mkdir in a cgroup of its own", err)
	} else {
		a.Memory = setLimit(leaf, "memory.max", tryMemory)
		a.PIDs = setLimit(leaf, "pids.max", tryPIDs)
		a.Move = attemptStep("move a process", moveInto(leaf))
	}
	a.Remove = attemptStep("rmdir", remove(dir))
}

// enable passes on what there is of memory and pids.
func enable(dir string) (controllers string, s Step) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return "", failed("read cgroup.controllers", err)
	}
	controllers = strings.TrimSpace(string(b))
	var want []string
	for _, c := range []string{"memory", "pids"} {
		if slices.Contains(strings.Fields(controllers), c) {
			want = append(want, "+"+c)
		}
	}
	if len(want) == 0 {
		return controllers, Step{Skipped: true}
	}
	return controllers, attemptStep("enable controllers", overwrite(filepath.Join(dir, "cgroup.subtree_control"), strings.Join(want, " ")))
}

// overwrite writes to a file that is there.
func overwrite(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func setLimit(dir, file, want string) Step {
	path := filepath.Join(dir, file)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return Step{Skipped: true} // the controller is not there
	}
	if err := overwrite(path, want); err != nil {
		return failed("write "+file, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return failed("read "+file, err)
	}
	if got := strings.TrimSpace(string(b)); got != want {
		return Step{Error: fmt.Sprintf("%s is %q after writing %q", file, got, want)}
	}
	return Step{}
}

// moveInto moves a process of the trial, as an engine moves a container's first.
func moveInto(dir string) error {
	s, err := startStage(stageHold, 0, nil)
	if err != nil {
		return err
	}
	defer s.end()
	pid, procs := strconv.Itoa(s.Process.Pid), filepath.Join(dir, "cgroup.procs")
	if err := overwrite(procs, pid); err != nil {
		return err
	}
	b, err := os.ReadFile(procs)
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(string(b)), pid) {
		return errors.New("it is not in cgroup.procs afterwards")
	}
	return nil
}

func remove(dir string) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := removeCgroup(fd, leafName); err != nil {
		return err
	}
	parent, err := unix.Open(filepath.Dir(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	return removeCgroup(parent, filepath.Base(dir))
}
