//go:build host

package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// members are the live processes of the lab, but the holder.
func (l *lab) members() []int {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		l.t.Fatal(err)
	}
	var pids []int
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == l.holder.Process.Pid {
			continue
		}
		// A zombie has no mountinfo.
		if mounts, err := os.ReadFile("/proc/" + d.Name() + "/mountinfo"); err == nil && bytes.Contains(mounts, []byte(l.mark)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// find waits for the member whose arguments, joined by blanks, ok accepts.
func (l *lab) find(what string, ok func(args string) bool) int {
	l.t.Helper()
	found := 0
	l.eventually(what, func() error {
		for _, pid := range l.members() {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err == nil && ok(strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))) {
				found = pid
				return nil
			}
		}
		return errors.New("no such process")
	})
	return found
}

func (l *lab) findArgs(args string) int {
	l.t.Helper()
	return l.find(args, func(have string) bool { return have == args })
}

func (l *lab) eventually(what string, ask func() error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	if err := poll(ctx, nil, ask); err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
}

// empty demands that no process of the lab is left.
func (l *lab) empty() {
	l.t.Helper()
	l.eventually("processes left behind", func() error {
		var left []string
		for _, pid := range l.members() {
			args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			left = append(left, fmt.Sprintf("%d %q", pid, args))
		}
		if len(left) > 0 {
			return errors.New(strings.Join(left, ", "))
		}
		return nil
	})
}

// delegate gives a container's cgroups to the id that is root in it.
func (l *lab) delegate(container string, id int) {
	l.t.Helper()
	for _, dir := range l.cgroups() {
		if filepath.Base(dir) != container {
			continue
		}
		for _, name := range []string{"", "cgroup.procs", "tasks", "cgroup.subtree_control", "cgroup.threads"} {
			if err := os.Chown(filepath.Join(dir, name), id, id); err != nil && !errors.Is(err, fs.ErrNotExist) {
				l.t.Fatal(err)
			}
		}
	}
}

// cgroups are the folders of all cgroup hierarchies with the lab's tag, the
// inner ones first.
func (l *lab) cgroups() []string {
	var dirs []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, l.tag) {
			dirs = append(dirs, path)
		}
		return nil // what vanishes meanwhile is not left behind
	})
	slices.Reverse(dirs)
	return dirs
}

// sweep kills what a failed test has left.
func (l *lab) sweep() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := poll(ctx, nil, func() error {
		left := l.members()
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if len(left) > 0 {
			return fmt.Errorf("processes left: %v", left)
		}
		return nil
	}); err != nil {
		l.t.Error(err)
	}
}

// close ends the lab and looks for what is left of it.
func (l *lab) close() {
	l.sweep()
	_ = l.stdin.Close()
	if err := l.holder.Wait(); err != nil {
		l.t.Errorf("end of the mount namespace: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, dir := range l.cgroups() {
		if base := filepath.Base(dir); base != l.tag && base != "conmon" { // podman leaves the parent that it was given, and one in it
			l.t.Errorf("cgroup left behind: %s", dir)
		}
		if err := poll(ctx, nil, func() error { return unix.Rmdir(dir) }); err != nil {
			l.t.Errorf("remove cgroup %s: %v", dir, err)
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || bytes.Contains(mounts, []byte(l.mark)) {
		l.t.Errorf("mounts left behind: %v\n%s", err, mounts)
	}
}
