package doctor

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// program is a container runtime of the node and what it has to be.
type program struct {
	name  string
	least version // {}: any will do
	cri   bool    // kubelet talks to it: an old one refuses hostUsers: false
	why   string
}

func runtimeChecks() []check[*Node] {
	var all []check[*Node]
	for _, p := range []program{
		{"containerd", version{2, 0}, true, "containerd runs pods in user namespaces from 2.0"},
		{"crio", version{1, 25}, true, "CRI-O runs pods in user namespaces from 1.25"},
		{"runc", version{1, 2}, false, "runc idmaps the volumes of a pod with a user namespace from 1.2"},
		{"crun", version{1, 9}, false, "crun idmaps the volumes of a pod with a user namespace from 1.9"},
		{"podman", version{}, false, "which podman people mean when they report what it did on the node"},
	} {
		what, fix := p.name+" is new enough", fmt.Sprintf("upgrade %s to %s or later", p.name, p.least)
		if p.least == (version{}) {
			what, fix = "which "+p.name+" is installed", "see what "+p.name+" --version says"
		}
		all = append(all, check[*Node]{
			id: p.name + "-version", what: what, why: p.why, fix: fix,
			look: func(n *Node, ctx context.Context) finding { return n.runtimeVersion(ctx, p) },
		})
	}
	return all
}

func (n *Node) runtimeVersion(ctx context.Context, p program) finding {
	path, found := n.findTool(p.name)
	if !found {
		return mootf("not installed")
	}
	out, err := n.version(ctx, path)
	if err != nil {
		return unreadable(err)
	}
	return p.judge(out, n.kubernetes())
}

func (p program) judge(out string, kubernetes bool) finding {
	line, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	v, found := parseVersion(line)
	switch {
	case !found:
		return unknownf("no version in %q", line)
	case !v.less(p.least):
		return okf("%s", line)
	case p.cri && kubernetes:
		return failf("%s: hostUsers: false needs %s", line, p.least)
	}
	return warnf("%s: hostUsers: false needs %s", line, p.least)
}

const (
	versionLimit = 5 * time.Second
	maxVersion   = 4 << 10 // bytes of output
)

// version runs a program of the node with --version. Only root can have put it
// there: anything else is not run.
func (n *Node) version(ctx context.Context, path string) (string, error) {
	st, err := n.root.stat(path)
	if err != nil {
		return "", err
	}
	if st.Uid != 0 || st.Mode&0o022 != 0 {
		return "", fmt.Errorf("%s is not run: others than root can write it: mode %04o, owner %d", path, st.Mode&0o7777, st.Uid)
	}
	ctx, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	c := exec.CommandContext(ctx, path, "--version")
	c.Env, c.Dir = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}, "/"
	c.WaitDelay = time.Second // its children may keep the pipe open
	if !n.here() {
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: n.root.path} // its libraries are the node's, too
	}
	out := &capped{left: maxVersion}
	c.Stdout, c.Stderr = out, io.Discard
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("%s --version: no answer within %s", path, versionLimit)
		}
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	return out.String(), nil
}

// capped keeps the beginning of what is written.
type capped struct {
	strings.Builder
	left int
}

func (c *capped) Write(b []byte) (int, error) {
	keep := b[:min(len(b), c.left)]
	c.left -= len(keep)
	c.Builder.Write(keep)
	return len(b), nil
}

// here reports whether the node's root is this process's, which in a pod it
// is not.
func (n *Node) here() bool {
	x, err := os.Stat(n.root.path + "/.")
	if err != nil {
		return false
	}
	y, err := os.Stat("/.")
	return err == nil && os.SameFile(x, y)
}
