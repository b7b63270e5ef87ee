//go:build host

package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/test/cri"
)

const (
	uid      = 1000 // of dev, in the image and on the node
	cgroupFS = "/sys/fs/cgroup"
	patience = 5 * time.Minute // with one command

	// Where the node has the profile that eyas comes with.
	seccompFile = "/var/lib/eyas-test/sandbox.json"
)

// podOptions are what differs between the pods.
type podOptions struct {
	handler string
	userns  *cri.UserNamespace // nil: the host's
	sandbox bool               // has the annotation
}

// pod is a pod with one container, of a user who wants to nest.
type pod struct {
	*cri.Container
	n      *node
	pod    *cri.Pod
	home   string // on the node
	parent string // its cgroup
	cgroup string // the container's, as it was created
}

// start starts one, with a container.
func (n *node) start(t *testing.T, name string, o podOptions) *pod {
	t.Helper()
	p := &pod{n: n, home: filepath.Join("/var/lib/eyas-test", name), parent: "/kubepods/" + name}
	parent := p.parent
	if n.systemd {
		parent = "kubepods-" + name + ".slice"
		p.parent = "/kubepods.slice/" + parent
	}
	po := cri.PodOptions{Name: name, Handler: o.handler, CgroupParent: parent, UserNS: o.userns}
	if o.sandbox {
		po.Annotations = map[string]string{"eyas.dev/sandbox": "true"}
	}
	if err := errors.Join(os.MkdirAll(p.home, 0o755), os.Chown(p.home, uid, uid)); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.pod, err = n.RunPod(t.Context(), po); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // for a test that ended early
		if p.pod != nil {
			p.remove(t)
		}
	})
	p.container(t, "dev")
	return p
}

// container starts a container in the pod that p is then about.
func (p *pod) container(t *testing.T, name string, mounts ...cri.Mount) {
	t.Helper()
	var err error
	if p.Container, err = p.tryContainer(t, name, mounts...); err != nil {
		t.Fatal(err)
	}
	if p.cgroup = p.cgroupOf(t); !strings.HasPrefix(p.cgroup, p.parent+"/") {
		t.Fatalf("its cgroup %s is not below the pod's, %s", p.cgroup, p.parent)
	}
	p.run(t, "mkdir -m 700 /tmp/run")
}

// tryContainer starts a container in the pod. Nothing of it is privileged: it has
// what the manifest of any such pod has, a seccomp profile, an unmasked /proc and
// a volume.
func (p *pod) tryContainer(t *testing.T, name string, mounts ...cri.Mount) (*cri.Container, error) {
	return p.pod.Run(t.Context(), cri.ContainerOptions{
		Name: name, Image: "localhost/sandbox:latest", UID: uid, GID: uid, Memory: 1 << 30,
		Command: []string{"sleep", "infinity"},
		Env:     map[string]string{"HOME": "/home/dev", "XDG_RUNTIME_DIR": "/tmp/run"},
		Mounts:  append([]cri.Mount{{Host: p.home, Container: "/home/dev"}}, mounts...),
		Seccomp: seccompFile, Unmasked: true,
	})
}

// cgroupOf asks the kernel where the container lives, without the leaf that a
// delegation moves it into.
func (p *pod) cgroupOf(t *testing.T) string {
	t.Helper()
	_, info, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var containerd struct{ Pid int }
	if err := json.Unmarshal([]byte(info["info"]), &containerd); err != nil {
		t.Fatalf("status of the container: %v", err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", containerd.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(b)), "0::"), "/init")
}

// run runs a script in the container; it must succeed.
func (p *pod) run(t *testing.T, script string) string {
	t.Helper()
	out, err := p.Exec(t.Context(), patience, "bash", "-ec", script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// file reads a file of the container's cgroup, or of one below it.
func (p *pod) file(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{cgroupFS, p.cgroup}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// remove removes the pod as kubelet does.
func (p *pod) remove(t *testing.T) {
	t.Helper()
	err := p.pod.Remove(context.WithoutCancel(t.Context())) // in cleanups it has ended
	p.pod = nil
	if err != nil {
		t.Error(err)
	}
}

// below lists the cgroups below one, which may be gone itself.
func below(t *testing.T, cgroup string) (all []string) {
	t.Helper()
	root := filepath.Join(cgroupFS, cgroup)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != root {
			all = append(all, strings.TrimPrefix(path, root+"/"))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
