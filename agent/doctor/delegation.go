package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func delegationChecks() []check[*Container] {
	const limits = "nested engines see it and go without limits: podman --memory 64m exits with 0 and runs with the sandbox's limit"
	return []check[*Container]{
		{
			id: "cgroup-mount", what: "the cgroup file system is writable inside", look: (*Container).cgroupMount, why: limits,
			fix: "containerd 2.1: cgroup_writable = true in a handler of its own; CRI-O: annotation cgroup2-mount-hierarchy-rw.crio.io",
		},
		{
			id: "cgroup-owner", what: "the container's user owns its cgroup", look: (*Container).cgroupOwner, why: limits,
			fix: "use the systemd cgroup driver, or crun; runc with cgroupfs never hands the cgroup over",
		},
		{
			id: "cgroup-files", what: "the delegated files have the directory's owner", look: (*Container).cgroupFiles,
			why: "who owns cgroup.procs but not cgroup.subtree_control can move processes and enable nothing",
			fix: "chown exactly the files that /sys/kernel/cgroup/delegate lists to the directory's owner",
		},
		{
			id: "cgroup-controllers", what: "cpu, memory and pids are available and passed on", look: (*Container).cgroupControllers,
			why: "only an enabled controller limits nested containers: \"the requested cgroup controller is not available\"",
			fix: "move the processes at the container's root to a leaf, then enable the controllers from the top down",
		},
		{
			id: "cgroup-internal", what: "no process lives in a cgroup that shall have children", look: (*Container).cgroupInternal,
			why: "cgroup v2 has no processes in inner nodes: enabling a controller fails with \"device or resource busy\"",
			fix: "start the entrypoint in a leaf (mkdir init; echo 0 > init/cgroup.procs) before any engine runs",
		},
		{
			id: "cgroup-type", what: "the cgroup is a normal domain", look: (*Container).cgroupType,
			why: "in threaded mode memory and io cannot be enabled, and \"cannot enter cgroupv2 … it is in threaded mode\"",
			fix: "do not enable cpu or pids while processes are inside; a threaded cgroup must be made anew",
		},
		{
			id: "cgroup-bounds", what: "the number and depth of nested cgroups are bounded", look: (*Container).cgroupBounds,
			why: "one container of 128 MiB can make tens of thousands of cgroups and take the node down",
			fix: "set cgroup.max.descendants (512) and cgroup.max.depth (16) of its cgroup",
		},
		{
			id: "cgroup-escaped", what: "it lives in the cgroup of the container around it", look: (*Container).cgroupEscaped,
			why: "limits and kubectl top of the pod miss what lives outside its subtree",
			fix: "run the engine with a cgroup namespace: not privileged, or with cgroup parent set",
		},
		{
			id: "pids-limit", what: "its limit on pids leaves room", look: (*Container).pidsLimit,
			why: "every nested process counts: at the limit fork fails with \"resource temporarily unavailable\"",
			fix: "raise podPidsLimit of kubelet, or the container's pids limit",
		},
	}
}

// cgroup2Mount returns the hierarchy as the container has it.
func (c *Container) cgroup2Mount() (found mount, ok bool) {
	for _, m := range c.mounts {
		if m.fstype == "cgroup2" && (!ok || m.point == "/sys/fs/cgroup") {
			found, ok = m, true
		}
	}
	return found, ok
}

// cgroupDir is the container's cgroup on the node: what it sees as the root of
// its hierarchy, or else the cgroup of its first process. The kernel shows the
// roots of mounts as the reader's cgroup namespace sees them.
func (c *Container) cgroupDir() (string, error) {
	m, err := c.node.cgroup()
	if err != nil {
		return "", err
	}
	path := filepath.Clean("/" + c.cgroup)
	if inside, ok := c.cgroup2Mount(); ok && inside.root != "/" && below(path, inside.root) {
		path = inside.root
	}
	if path == "/" {
		return "", errors.New("it is in the root cgroup")
	}
	return filepath.Join(m.point, path), nil
}

// cgroupText reads a file of the container's cgroup, from the node's side.
func (c *Container) cgroupText(name string) (string, error) {
	dir, err := c.cgroupDir()
	if err != nil {
		return "", err
	}
	return c.node.root.text(filepath.Join(dir, name))
}

func (c *Container) cgroupMount(context.Context) finding {
	m, ok := c.cgroup2Mount()
	switch {
	case !ok:
		return warnf("no cgroup2 file system inside")
	case has(m.options, "ro"):
		return warnf("read-only at %s", m.point)
	}
	return okf("writable at %s", m.point)
}

func (c *Container) cgroupOwner(context.Context) finding {
	dir, err := c.cgroupDir()
	if err != nil {
		return unreadable(err)
	}
	st, err := c.node.root.stat(dir)
	if err != nil {
		return unreadable(err)
	}
	euid, err := c.euid()
	if err != nil {
		return unreadable(err)
	}
	return judgeOwner(uint64(st.Uid), euid, c.uids)
}

// judgeOwner compares host uids. Engines want the cgroup to be their own: runc
// gives it to the process, crun to the root of the user namespace.
func judgeOwner(owner, euid uint64, ids idMap) finding {
	root, mapped := ids.toHost(0)
	switch {
	case owner == euid:
		return okf("host uid %d, as its first process", owner)
	case mapped && owner == root:
		return warnf("host uid %d, its root; but its first process is host uid %d", owner, euid)
	}
	return warnf("host uid %d; its first process is host uid %d", owner, euid)
}

func (c *Container) cgroupFiles(context.Context) finding {
	dir, err := c.cgroupDir()
	if err != nil {
		return unreadable(err)
	}
	owner, err := c.node.root.stat(dir)
	if err != nil {
		return unreadable(err)
	}
	list, err := c.node.sys.text("kernel/cgroup/delegate")
	if err != nil {
		list = "cgroup.procs cgroup.threads cgroup.subtree_control"
	}
	var others []string
	for _, name := range strings.Fields(list) {
		st, err := c.node.root.stat(filepath.Join(dir, name))
		switch {
		case errors.Is(err, os.ErrNotExist): // of a controller that is off
		case err != nil:
			return unreadable(err)
		case st.Uid != owner.Uid:
			others = append(others, fmt.Sprintf("%s (uid %d)", name, st.Uid))
		}
	}
	if len(others) > 0 {
		return warnf("not of uid %d: %s", owner.Uid, named(others))
	}
	return okf("all of uid %d", owner.Uid)
}

func (c *Container) cgroupControllers(context.Context) finding {
	dir, err := c.cgroupDir()
	if err != nil {
		return unreadable(err)
	}
	return c.node.controllers(dir, wantControllers)
}

func (c *Container) cgroupInternal(context.Context) finding {
	dir, err := c.cgroupDir()
	if err != nil {
		return unreadable(err)
	}
	b, err := c.node.root.read(filepath.Join(dir, "cgroup.procs"), maxFile)
	if err != nil {
		return unreadable(err)
	}
	if n := len(strings.Fields(string(b))); n > 0 {
		return warnf("%d processes at the root of its cgroup", n)
	}
	return okf("none")
}

func (c *Container) cgroupType(context.Context) finding {
	s, err := c.cgroupText("cgroup.type")
	switch {
	case err != nil:
		return unreadable(err)
	case s == "domain":
		return okf("%s", s)
	case s == "domain threaded":
		return warnf("%s", s)
	}
	return failf("%s", s)
}

func (c *Container) cgroupBounds(context.Context) finding {
	descendants, err := c.cgroupText("cgroup.max.descendants")
	if err != nil {
		return unreadable(err)
	}
	depth, err := c.cgroupText("cgroup.max.depth")
	if err != nil {
		return unreadable(err)
	}
	text := fmt.Sprintf("descendants %s, depth %s", descendants, depth)
	m, ok := c.cgroup2Mount()
	switch {
	case descendants != "max" && depth != "max":
		return okf("%s", text)
	case !ok || has(m.options, "ro"):
		return okf("%s, but it can make no cgroup", text)
	}
	return warnf("%s", text)
}

func (c *Container) cgroupEscaped(context.Context) finding {
	if c.escaped {
		return warnf("it lives in %s, outside", c.cgroup)
	}
	return okf("%s", c.cgroup)
}

func (c *Container) pidsLimit(context.Context) finding {
	most, err := c.cgroupText("pids.max")
	if errors.Is(err, os.ErrNotExist) {
		return mootf("the pids controller is not enabled for it")
	}
	if err != nil {
		return unreadable(err)
	}
	current, err := c.cgroupText("pids.current")
	if err != nil {
		return unreadable(err)
	}
	text := fmt.Sprintf("%s of %s", current, most)
	var now, limit uint64
	if most == "max" {
		return okf("%s", text)
	}
	if _, err := fmt.Sscan(current+" "+most, &now, &limit); err != nil {
		return unreadable(err)
	}
	if limit < 128 || now > limit/10*9 {
		return warnf("%s", text)
	}
	return okf("%s", text)
}
