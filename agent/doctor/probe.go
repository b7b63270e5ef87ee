package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/doctor/trial"
)

func probeChecks() []check[*Node] {
	return []check[*Node]{
		{
			id: "userns-probe", what: "an unprivileged user gets a user namespace", look: (*Node).usernsProbe, probe: true,
			why: "tried for real as uid 65534: whatever forbids it on the node forbids rootless engines there",
			fix: "see userns-max, userns-clone, userns-apparmor and lsm",
		},
		{
			id: "overlay-probe", what: "overlay can be mounted in a user namespace", look: (*Node).overlayProbe, probe: true,
			why: "tried for real on a tmpfs: without it nested engines fall back to fuse-overlayfs or to copies",
			fix: "use a kernel of 5.11 or later whose security modules allow mounts in user namespaces",
		},
		{
			id: "idmap-mounts", what: "the file systems of volumes and images can be idmapped", look: (*Node).idmapProbe, probe: true,
			why: "a pod with hostUsers: false does not start when a volume cannot: \"mount_setattr: invalid argument\"",
			fix: "put the directory on ext4, xfs, btrfs or tmpfs (6.3); NFS cannot be idmapped",
		},
	}
}

// ProbeArg makes eyas run one probe and exit: the children of this package are
// the program itself. Not for people.
const ProbeArg = trial.Arg

// Probes.
const (
	probeNest    = "nest"    // make a user namespace, and in it try the overlay
	probeOverlay = "overlay" // mount an overlay on a tmpfs
	probeIDMap   = "idmap"   // idmap a detached clone of each path's mount
	probeHold    = "hold"    // wait until stdin ends
)

const nobody = 65534

// nested is the answer of probeNest; empty errors: it works.
type nested struct {
	Reached bool   `json:"reached"` // the user namespace
	UserNS  string `json:"userns"`
	Overlay string `json:"overlay"`
}

// helper runs a probe in a child. It is killed when ctx ends.
func helper(ctx context.Context, attr *syscall.SysProcAttr, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, "/proc/self/exe", append([]string{ProbeArg}, args...)...)
	c.Env, c.Dir, c.SysProcAttr = []string{}, "/", attr
	c.WaitDelay = time.Second
	out, failure := &capped{left: maxText}, &capped{left: maxVersion}
	c.Stdout, c.Stderr = out, failure
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("probe %s: no answer in time", args[0])
		}
		if text := strings.TrimSpace(failure.String()); text != "" {
			return nil, fmt.Errorf("probe %s: %s", args[0], text)
		}
		return nil, fmt.Errorf("probe %s: %w", args[0], err)
	}
	return []byte(out.String()), nil
}

func (n *Node) nest(ctx context.Context) (a nested, err error) {
	if !n.here() {
		return a, fmt.Errorf("not tried: doctor runs in a container, whose own profile would answer: run it on the node itself")
	}
	var attr *syscall.SysProcAttr
	if os.Geteuid() == 0 {
		attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	b, err := helper(ctx, attr, probeNest)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(b, &a)
}

func (n *Node) usernsProbe(ctx context.Context) finding {
	a, err := n.nest(ctx)
	switch {
	case err != nil:
		return unreadable(err)
	case !a.Reached:
		return failf("%s", a.UserNS)
	}
	return okf("made one, and left it")
}

func (n *Node) overlayProbe(ctx context.Context) finding {
	if f := n.filesystem("overlay"); f.state != OK {
		return unknownf("not tried: %s, and the attempt would load the module", f.found)
	}
	a, err := n.nest(ctx)
	switch {
	case err != nil:
		return unreadable(err)
	case !a.Reached:
		return unknownf("not tried: no user namespace: see userns-probe")
	case a.Overlay != "":
		return failf("%s", a.Overlay)
	}
	return okf("mounted, copied up and deleted a file")
}

// idmapPaths are where pods' volumes, images and the history lie, or will.
func (n *Node) idmapPaths() []string {
	all := []string{n.kubelet, "/var/lib/containerd", "/var/lib/containers/storage", n.stateDir}
	all = slices.DeleteFunc(all, func(path string) bool { return !n.root.exists(path) })
	if len(all) == 0 {
		all = append(all, "/var/lib")
	}
	return all
}

// idmapped is the answer of probeIDMap about one path; no error: it works.
type idmapped struct {
	Path  string `json:"path"`
	Error string `json:"error"`
	Errno int    `json:"errno"`
}

func (n *Node) idmapProbe(ctx context.Context) finding {
	paths := n.idmapPaths()
	mounts, err := n.mounts()
	if err != nil {
		return unreadable(err)
	}
	enter := "" // where the node's mounts are, if not here
	if !n.here() {
		enter = filepath.Join(n.procRoot, "1/ns/mnt")
	}
	b, err := helper(ctx, nil, append([]string{probeIDMap, enter}, paths...)...)
	if err != nil {
		return unreadable(err)
	}
	var answers []idmapped
	dec := json.NewDecoder(bytes.NewReader(b))
	for dec.More() {
		var a idmapped
		if err := dec.Decode(&a); err != nil {
			return unreadable(err)
		}
		answers = append(answers, a)
	}
	volumes := ""
	if n.kubernetes() {
		volumes = n.kubelet
	}
	return judgeIDMap(answers, mounts, volumes)
}

// judgeIDMap fails if volumes, where kubelet has pods' volumes, cannot be idmapped.
func judgeIDMap(answers []idmapped, mounts []mount, volumes string) finding {
	state := OK
	worse := func(s State) {
		if slices.Index(states[:], s) < slices.Index(states[:], state) {
			state = s
		}
	}
	var seen []string
	for _, a := range answers {
		text := a.Path
		if m, found := mountOf(mounts, filepath.Clean(a.Path)); found {
			text += " on " + m.fstype
		}
		switch {
		case a.Error == "":
		case a.Errno == int(unix.EINVAL) && a.Path == volumes:
			worse(Fail)
		case a.Errno == int(unix.EINVAL):
			worse(Warn)
		default:
			worse(Unknown)
		}
		if a.Error != "" {
			text += ": " + a.Error
		}
		seen = append(seen, text)
	}
	return finding{state: state, found: strings.Join(seen, ", ")}
}
