package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

func usernsChecks() []check[*Node] {
	return []check[*Node]{
		{
			id: "userns-max", what: "user namespaces may be made", look: (*Node).usernsMax,
			why: "at the bound, or with 0, engines die with \"no space left on device\"",
			fix: "sysctl -w user.max_user_namespaces=28633 (Bottlerocket and hardened images set 0)",
		},
		{
			id: "namespaces-max", what: "the other namespaces may be made", look: (*Node).namespacesMax,
			why: "each nested container needs one of each kind; the bound is per user and namespace level",
			fix: "raise user.max_*_namespaces to thousands",
		},
		{
			id: "userns-clone", what: "unprivileged users may make user namespaces (Debian)", look: (*Node).usernsClone,
			why: "Debian's own switch: with 0 rootless engines get \"operation not permitted\"",
			fix: "sysctl -w kernel.unprivileged_userns_clone=1",
		},
		{
			id: "userns-apparmor", what: "AppArmor lets programs use user namespaces (Ubuntu)", look: (*Node).usernsAppArmor,
			why: "with 1 a program without a profile gets a user namespace without capabilities: \"permission denied\" or \"failed to share mount point\"",
			fix: "give the sandbox a Localhost profile with a `userns,` rule, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
		},
	}
}

// few is below what a node with many nested containers may need.
const few = 1000

func (n *Node) usernsMax(context.Context) finding {
	v, err := n.proc.number("sys/user/max_user_namespaces")
	switch {
	case err != nil:
		return unreadable(err)
	case v == 0:
		return failf("user.max_user_namespaces is 0")
	case v < few:
		return warnf("user.max_user_namespaces is only %d", v)
	}
	return okf("%d", v)
}

func (n *Node) namespacesMax(context.Context) finding {
	var zero, low, seen []string
	for _, kind := range []string{"cgroup", "ipc", "mnt", "net", "pid", "uts"} {
		v, err := n.proc.number("sys/user/max_" + kind + "_namespaces")
		if err != nil {
			return unreadable(err)
		}
		text := fmt.Sprintf("%s %d", kind, v)
		seen = append(seen, text)
		switch {
		case v == 0:
			zero = append(zero, text)
		case v < few:
			low = append(low, text)
		}
	}
	switch {
	case len(zero) > 0:
		return failf("forbidden: %s", strings.Join(zero, ", "))
	case len(low) > 0:
		return warnf("few: %s", strings.Join(low, ", "))
	}
	return okf("%s", strings.Join(seen, ", "))
}

// sysctl reads a switch that only some kernels have.
func (n *Node) sysctl(name, whose string, judge func(int64) finding) finding {
	v, err := n.proc.number("sys/" + name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return mootf("this kernel has no such switch: it is %s", whose)
	case err != nil:
		return unreadable(err)
	}
	return judge(v)
}

func (n *Node) usernsClone(context.Context) finding {
	return n.sysctl("kernel/unprivileged_userns_clone", "Debian's", func(v int64) finding {
		if v == 0 {
			return failf("kernel.unprivileged_userns_clone is 0")
		}
		return okf("%d", v)
	})
}

func (n *Node) usernsAppArmor(context.Context) finding {
	return n.sysctl("kernel/apparmor_restrict_unprivileged_userns", "AppArmor's, of 6.7 and later", func(v int64) finding {
		if v != 0 {
			return warnf("restricted: only programs whose profile allows it")
		}
		return okf("not restricted")
	})
}

func securityChecks() []check[*Node] {
	return []check[*Node]{
		{
			id: "lsm", what: "which security modules are in use", look: (*Node).lsm,
			why: "a denial by AppArmor or SELinux looks like one by capabilities; Yama, Landlock and BPF do not hinder nesting",
			fix: "mount securityfs at /sys/kernel/security to see them",
		},
		{
			id: "selinux", what: "SELinux lets containers nest", look: (*Node).selinux,
			why: "container_t may not mount: nested engines get \"permission denied\" though all else is right",
			fix: "run sandboxes as container_engine_t (seLinuxOptions.type), or see ausearch -m avc for what is denied",
		},
		{
			id: "seccomp", what: "seccomp filters are available", look: (*Node).seccomp,
			why: "without them a sandbox's profile cannot be applied, and nested engines refuse their own",
			fix: "use a kernel with CONFIG_SECCOMP_FILTER=y",
		},
	}
}

func (n *Node) lsm(context.Context) finding {
	s, err := n.sys.text("kernel/security/lsm")
	if err != nil {
		return unreadable(err)
	}
	return okf("%s", s)
}

func (n *Node) selinux(context.Context) finding {
	v, err := n.sys.number("fs/selinux/enforce")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return mootf("SELinux is not in use")
	case err != nil:
		return unreadable(err)
	case v == 1:
		return warnf("enforcing: sandboxes need a type that may mount")
	}
	return okf("permissive")
}

func (n *Node) seccomp(context.Context) finding {
	s, err := n.proc.text("sys/kernel/seccomp/actions_avail")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return failf("no seccomp filters in this kernel")
	case err != nil:
		return unreadable(err)
	case !slices.Contains(strings.Fields(s), "errno"):
		return warnf("no errno action: %s", s)
	}
	return okf("%s", s)
}
