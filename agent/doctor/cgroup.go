package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func cgroupChecks() []check[*Node] {
	return []check[*Node]{
		{
			id: "cgroup-v2", what: "cgroup v2 alone is mounted", look: (*Node).cgroupV2,
			why: "a controller that a v1 hierarchy holds is missing in v2: nested limits do not work, and crun refuses the hybrid layout",
			fix: "boot with systemd.unified_cgroup_hierarchy=1 and cgroup_no_v1=all",
		},
		{
			id: "cgroup-nsdelegate", what: "cgroup namespaces are delegation boundaries", look: (*Node).nsdelegate,
			why: "without nsdelegate a container with a writable cgroup mount can raise its own limits; a privileged container or dockerd can strip it from the whole node",
			fix: "see /proc/1/mountinfo",
		},
		{
			id: "cgroup-recursiveprot", what: "memory protection reaches nested cgroups", look: (*Node).recursiveProt,
			why: "without memory_recursiveprot a pod's memory.min and memory.low protect none of its nested containers",
			fix: "see /proc/1/mountinfo",
		},
		{
			id: "cgroup-controllers", what: "cpu, memory, pids and io are enabled at the root", look: (*Node).controllersRoot,
			why: "a controller can only be delegated where every cgroup above has it",
			fix: "echo '+cpu +memory +pids +io' > /sys/fs/cgroup/cgroup.subtree_control, or Delegate= and *Accounting= in systemd",
		},
		{
			id: "cgroup-kubepods", what: "cpu, memory and pids reach the pods", look: (*Node).controllersPods,
			why: "what kubepods does not pass on no sandbox can delegate",
			fix: "restart kubelet: it enables controllers there; see cgroup-controllers",
		},
		{
			id: "cgroup-delegate", what: "the kernel lists the files to delegate", look: (*Node).delegateList,
			why: "exactly these files of a cgroup may be given to a container; one fewer breaks nested engines, one more breaks limits",
			fix: "without the list eyas and runtimes use cgroup.procs, cgroup.threads and cgroup.subtree_control",
		},
	}
}

func (n *Node) cgroupV2(context.Context) finding {
	all, err := n.mounts()
	if err != nil {
		return unreadable(err)
	}
	var v2 string
	var held []string
	for _, m := range all {
		switch m.fstype {
		case "cgroup2":
			if v2 == "" {
				v2 = m.point
			}
		case "cgroup":
			held = append(held, filepath.Base(m.point))
		}
	}
	switch {
	case v2 == "":
		return failf("no cgroup2 file system is mounted")
	case len(held) > 0:
		return failf("hybrid: v2 at %s, v1 holds %s", v2, named(held))
	case v2 != "/sys/fs/cgroup":
		return warnf("at %s, where no runtime looks", v2)
	}
	return okf("at %s", v2)
}

func (n *Node) nsdelegate(ctx context.Context) finding {
	f := n.cgroupOption("nsdelegate", Fail)
	if f.state != Fail {
		return f
	}
	// When it was stripped helps to find out by whom.
	if h, err := n.agent(ctx); err == nil && h.NSDelegate != nil && !h.NSDelegate.On {
		f.found += ", since " + h.NSDelegate.Since.Format(time.RFC3339) + " or before"
	}
	return f
}

func (n *Node) recursiveProt(context.Context) finding {
	return n.cgroupOption("memory_recursiveprot", Warn)
}

func (n *Node) cgroupOption(option string, without State) finding {
	m, err := n.cgroup()
	switch {
	case errors.Is(err, errNoCgroup2):
		return mootf("%v", err)
	case err != nil:
		return unreadable(err)
	case has(m.super, option):
		return okf("%s", m.super)
	}
	f := finding{state: without, found: "mounted with " + m.super}
	return f.withFix("mount -o remount,nsdelegate,memory_recursiveprot %s, and find out who stripped it", m.point)
}

var wantControllers = []string{"cpu", "memory", "pids"}

func (n *Node) controllersRoot(context.Context) finding {
	m, err := n.cgroup()
	switch {
	case errors.Is(err, errNoCgroup2):
		return mootf("%v", err)
	case err != nil:
		return unreadable(err)
	}
	return n.controllers(m.point, append([]string{"io"}, wantControllers...))
}

func (n *Node) controllersPods(context.Context) finding {
	dir, found := n.kubepods()
	if !found {
		return mootf("no kubepods cgroup: no pods run here")
	}
	return n.controllers(dir, wantControllers)
}

// controllers looks at what a cgroup has, and what it passes on.
func (n *Node) controllers(dir string, want []string) finding {
	there, err := n.root.text(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return unreadable(err)
	}
	enabled, err := n.root.text(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return unreadable(err)
	}
	return judgeControllers(there, enabled, want)
}

func judgeControllers(there, enabled string, want []string) finding {
	lacks := func(have string) (out []string) {
		for _, c := range want {
			if !slices.Contains(strings.Fields(have), c) {
				out = append(out, c)
			}
		}
		return out
	}
	if missing := lacks(there); len(missing) > 0 {
		return failf("not available: %s; available: %s", named(missing), orNone(there))
	}
	if off := lacks(enabled); len(off) > 0 {
		return warnf("not enabled below: %s; enabled: %s", named(off), orNone(enabled))
	}
	return okf("%s", enabled)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (n *Node) delegateList(context.Context) finding {
	s, err := n.sys.text("kernel/cgroup/delegate")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return warnf("no /sys/kernel/cgroup/delegate")
	case err != nil:
		return unreadable(err)
	}
	files := strings.Fields(s)
	for _, must := range []string{"cgroup.procs", "cgroup.subtree_control"} {
		if !slices.Contains(files, must) {
			return warnf("%s is not in it: %s", must, orNone(strings.Join(files, " ")))
		}
	}
	return okf("%s", strings.Join(files, " "))
}
