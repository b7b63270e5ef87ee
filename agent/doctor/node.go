package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/eyas-agent/eyas/exporter/api"
)

// NodeOptions say where a node's facts are. The zero value of each is the
// usual place.
type NodeOptions struct {
	Proc     string // procfs of the host
	Sys      string // sysfs
	Root     string // root directory of the node; default: that of its pid 1
	StateDir string // of the agent
	Kubelet  string // kubelet's root directory, as the node sees it
	MaxPods  int    // of kubelet; 0: as its config.yaml says, or 110
	// Agent asks the agent how it fares; nil, or an error: no agent answers.
	Agent func(context.Context) (api.Health, error)
}

// Node is a machine to be looked at.
type Node struct {
	proc, sys, root tree
	procRoot        string
	stateDir        string
	kubelet         string
	maxPods         int
	agent           func(context.Context) (api.Health, error)
	now             func() time.Time
	hung            hung
}

var errNoAgent = errors.New("no eyas agent answers")

// NewNode returns a node to be looked at.
func NewNode(o NodeOptions) *Node {
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.Root == "" {
		// In a pod with hostPID the node's files are those of its pid 1.
		o.Root = filepath.Join(o.Proc, "1", "root")
		if _, err := os.Stat(o.Root + "/"); err != nil {
			o.Root = "/" // not root: what we see ourselves has to do
		}
	}
	if o.Sys == "" { // that of a pod has no securityfs
		o.Sys = filepath.Join(o.Root, "sys")
	}
	if o.StateDir == "" {
		o.StateDir = "/var/lib/eyas"
	}
	if o.Kubelet == "" {
		o.Kubelet = kubeletDir
	}
	if o.Agent == nil {
		o.Agent = func(context.Context) (api.Health, error) { return api.Health{}, errNoAgent }
	}
	return &Node{
		proc: tree{o.Proc, "/proc"}, sys: tree{o.Sys, "/sys"}, root: tree{o.Root, ""}, procRoot: o.Proc,
		stateDir: o.StateDir, kubelet: o.Kubelet, maxPods: o.MaxPods, agent: o.Agent, now: time.Now,
	}
}

// Check runs all checks of the node.
func (n *Node) Check(ctx context.Context) []Result {
	return runAll(ctx, n, nodeChecks(), checkLimit, &n.hung)
}

// CheckQuietly runs those that make no namespace.
func (n *Node) CheckQuietly(ctx context.Context) []Result {
	quiet := slices.DeleteFunc(nodeChecks(), func(c check[*Node]) bool { return c.probe })
	return runAll(ctx, n, quiet, checkLimit, &n.hung)
}

// nodeChecks lists every check of a node, in the order in which they are shown.
func nodeChecks() []check[*Node] {
	return slices.Concat(
		kernelChecks(), agentChecks(), cgroupChecks(), usernsChecks(), securityChecks(),
		idmapToolChecks(), subidChecks(), kubeletChecks(), runtimeChecks(), nriChecks(),
		deviceChecks(), probeChecks(), limitChecks(),
	)
}

// mounts are those of the node's pid 1, or our own.
func (n *Node) mounts() ([]mount, error) {
	b, err := n.proc.read("1/mountinfo", maxFile)
	if err != nil {
		if b, err = n.proc.read("self/mountinfo", maxFile); err != nil {
			return nil, err
		}
	}
	return parseMounts(string(b)), nil
}

// cgroup returns the mount of the v2 hierarchy.
func (n *Node) cgroup() (mount, error) {
	all, err := n.mounts()
	if err != nil {
		return mount{}, err
	}
	for _, m := range all {
		if m.fstype == "cgroup2" {
			return m, nil
		}
	}
	return mount{}, errNoCgroup2
}

var errNoCgroup2 = errors.New("no cgroup2 file system is mounted")

// kubepods returns the cgroup directory of all pods.
func (n *Node) kubepods() (string, bool) {
	m, err := n.cgroup()
	if err != nil {
		return "", false
	}
	for _, name := range []string{"kubepods.slice", "kubepods", "kubelet.slice/kubelet-kubepods.slice", "kubelet/kubepods"} {
		if dir := filepath.Join(m.point, name); n.root.exists(dir) {
			return dir, true
		}
	}
	return "", false
}

// kubeletDir is kubelet's root directory if nobody says another, and where
// kubeadm puts its configuration in any case.
const kubeletDir = "/var/lib/kubelet"

// kubernetes reports whether a kubelet runs, or ran, here.
func (n *Node) kubernetes() bool {
	_, pods := n.kubepods()
	return pods || n.root.exists(kubeletDir+"/config.yaml") || n.root.exists(n.kubelet+"/pods")
}
