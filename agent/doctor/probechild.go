package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/doctor/trial"
)

// Probe is what the program does when called with ProbeArg: args follow it.
// What it makes, it makes in namespaces that end with its processes.
func Probe(args []string, stdin io.Reader, stdout io.Writer) error {
	if is, err := trial.Main(args, stdin, stdout); is {
		return err
	}
	// Children die with the thread that made them (Pdeathsig).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch {
	case len(args) == 1 && args[0] == probeNest:
		return json.NewEncoder(stdout).Encode(nestHere())
	case len(args) == 1 && args[0] == probeOverlay:
		return trial.Overlay()
	case len(args) > 2 && args[0] == probeIDMap:
		return tryIDMap(args[1], args[2:], stdout)
	case len(args) == 1 && args[0] == probeHold:
		_, err := io.Copy(io.Discard, stdin)
		return err
	}
	return fmt.Errorf("unknown probe %q", args)
}

// nestHere makes a child in a user namespace, with this user as its root.
func nestHere() (a nested) {
	c := exec.Command("/proc/self/exe", ProbeArg, probeOverlay)
	c.Env, c.Dir = []string{}, "/"
	failure := &capped{left: maxVersion}
	c.Stderr = failure
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := c.Start(); err != nil {
		a.UserNS = err.Error()
		return a
	}
	a.Reached = true
	if err := c.Wait(); err != nil {
		a.Overlay = failure.String()
		if a.Overlay == "" {
			a.Overlay = err.Error()
		}
	}
	return a
}

// tryIDMap clones the mount of each path, detached, and idmaps the clone, which
// goes away with its descriptor.
func tryIDMap(enter string, paths []string, stdout io.Writer) error {
	userns, stop, err := holdUserNS()
	if err != nil {
		return err
	}
	defer stop()
	if enter != "" {
		if err := enterMounts(enter); err != nil {
			return err
		}
	}
	enc := json.NewEncoder(stdout)
	for _, path := range paths {
		a := idmapped{Path: path}
		if err := idmapClone(path, userns); err != nil {
			a.Error = err.Error()
			var errno unix.Errno
			if errors.As(err, &errno) {
				a.Errno = int(errno)
			}
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

func idmapClone(path string, userns int) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(fd)
	err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns)})
	if err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

// holdUserNS returns a descriptor of a user namespace with a map, which the
// kernel wants to see, held by a child until stop is called.
func holdUserNS() (fd int, stop func(), err error) {
	c := exec.Command("/proc/self/exe", ProbeArg, probeHold)
	c.Env, c.Dir = []string{}, "/"
	ids := []syscall.SysProcIDMap{{HostID: 65536, Size: 65536}}
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Pdeathsig: syscall.SIGKILL,
	}
	wait, err := c.StdinPipe()
	if err != nil {
		return 0, nil, err
	}
	if err := c.Start(); err != nil {
		return 0, nil, fmt.Errorf("make a user namespace: %w", err)
	}
	end := func() {
		_ = wait.Close()
		_ = c.Wait()
	}
	fd, err = unix.Open("/proc/"+strconv.Itoa(c.Process.Pid)+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		end()
		return 0, nil, fmt.Errorf("open user namespace: %w", err)
	}
	return fd, func() { _ = unix.Close(fd); end() }, nil
}

// enterMounts takes this thread to a mount namespace: the kernel clones only
// mounts of the one that it is in.
func enterMounts(path string) error {
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter the node's mount namespace: %w", err)
	}
	return nil
}
