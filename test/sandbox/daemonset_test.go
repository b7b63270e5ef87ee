//go:build host

package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/eyas-agent/eyas/manifests"
	"github.com/eyas-agent/eyas/test/cri"
)

// agentPod is the agent as kubelet starts it by the manifest.
type agentPod struct {
	*cri.Container
	n    *node
	pod  *cri.Pod
	addr string
	log  string
}

// startAgentPod does what kubelet does with the DaemonSet, less the capabilities
// without. Its image is busybox with eyas in it.
func (n *node) startAgentPod(t *testing.T, without ...string) *agentPod {
	t.Helper()
	var set appsv1.DaemonSet
	var config corev1.ConfigMap
	if err := errors.Join(yaml.UnmarshalStrict(manifests.DaemonSet, &set), yaml.UnmarshalStrict(manifests.Config, &config)); err != nil {
		t.Fatal(err)
	}
	spec := set.Spec.Template.Spec
	c := spec.Containers[0]
	n.agentDone = nil // that of an agent of the node
	a := &agentPod{n: n, log: t.TempDir()}
	dirs := map[string]string{ // volumes on the node
		"config": t.TempDir(), "tmp": t.TempDir(), "nri": filepath.Dir(n.containerd.NRI),
	}
	for name, text := range config.Data {
		if err := os.WriteFile(filepath.Join(dirs["config"], name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range spec.Volumes {
		if _, ok := dirs[v.Name]; !ok {
			dirs[v.Name] = v.HostPath.Path
			if err := os.MkdirAll(v.HostPath.Path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	o := cri.ContainerOptions{
		Name: c.Name, Image: "localhost/pause:latest", Command: []string{"/eyas"}, Args: c.Args,
		UID: *c.SecurityContext.RunAsUser, GID: *c.SecurityContext.RunAsGroup,
		Env:        map[string]string{"NODE_NAME": "node"},
		Mounts:     []cri.Mount{{Host: os.Getenv("EYAS_BIN"), Container: "/eyas", ReadOnly: true}},
		NoNewPrivs: c.SecurityContext.AllowPrivilegeEscalation != nil && !*c.SecurityContext.AllowPrivilegeEscalation,
		ReadOnly:   *c.SecurityContext.ReadOnlyRootFilesystem, Memory: c.Resources.Limits.Memory().Value(),
	}
	for _, k := range c.SecurityContext.Capabilities.Add {
		if !slices.Contains(without, string(k)) {
			o.Add = append(o.Add, string(k))
		}
	}
	for _, k := range c.SecurityContext.Capabilities.Drop {
		o.Drop = append(o.Drop, string(k))
	}
	for _, m := range c.VolumeMounts {
		o.Mounts = append(o.Mounts, cri.Mount{Host: dirs[m.Name], Container: m.MountPath, ReadOnly: m.ReadOnly})
	}
	parent := "/kubepods/eyas"
	if n.systemd {
		parent = "kubepods-eyas.slice"
	}
	var err error
	if a.pod, err = n.RunPod(t.Context(), cri.PodOptions{Name: "eyas", CgroupParent: parent, LogDir: a.log, HostPID: spec.HostPID, HostNetwork: spec.HostNetwork}); err != nil {
		t.Fatal(err)
	}
	if a.Container, err = a.pod.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	ip, err := a.pod.IP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a.addr = fmt.Sprintf("http://%s:%d", ip, c.Ports[0].ContainerPort)
	return a
}

func (a *agentPod) get(path string) (string, error) {
	client := http.Client{Timeout: 20 * time.Second}
	resp, err := client.Get(a.addr + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, b)
	}
	return string(b), err
}

// logged is what the agent wrote.
func (a *agentPod) logged(t *testing.T) string {
	b, err := os.ReadFile(filepath.Join(a.log, "eyas.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// connected waits until the runtime knows of the agent, and returns its metrics.
func (a *agentPod) connected(t *testing.T) (metrics string) {
	t.Helper()
	a.n.eventually(t, "the agent in a pod is connected to containerd", func() (err error) {
		if metrics, err = a.get("/metrics"); err == nil && !strings.Contains(metrics, "\neyas_nri_connected 1\n") {
			err = errors.New("eyas_nri_connected is not 1")
		}
		return err
	})
	return metrics
}

// attached says which programs are, once the last of them was tried. Whether one has
// fired is not compared: in a pod a seccomp filter answers some of what drives them.
func attached(metrics string, all *[]string) error {
	*all = nil
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "eyas_hook_state{") && strings.HasSuffix(line, " 1\n") {
			line = strings.NewReplacer(`state="silent"`, `state="active"`, `state="unproven"`, `state="active"`).Replace(line)
			*all = append(*all, strings.TrimSpace(line))
		}
	}
	slices.Sort(*all)
	if !slices.ContainsFunc(*all, func(l string) bool { return strings.Contains(l, `"denials_fork"`) && strings.Contains(l, `"active"`) }) {
		return errors.New("denials_fork is not")
	}
	return nil
}

// confined are checks whose answer would be of the agent's own profile, and one that
// the kernel shows nobody.
var confined = regexp.MustCompile(`not tried: doctor runs in a container|no answer within|^unknown +seccomp `)

// TestDaemonSet: the agent in a pod, by its manifest, does what it does on a node.
func TestDaemonSet(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and the newest kernel stands it")
	}
	n := newRuntime(t)
	var want []string
	t.Run("on the node", func(t *testing.T) {
		n.startAgent(t)
		n.eventually(t, "the programs are attached", func() error {
			resp, err := http.Get("http://" + listen + "/metrics")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			return attached(string(b), &want)
		})
	})
	a := n.startAgentPod(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agent in the pod logged:\n%s", a.logged(t))
		}
	})
	a.connected(t)
	var got []string
	n.eventually(t, "the programs are attached in a pod", func() error {
		metrics, err := a.get("/metrics")
		if err != nil {
			return err
		}
		return attached(metrics, &got)
	})
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("hooks (-on the node +in a pod):\n%s", d)
	}
	for _, path := range []string{"/readyz", "/healthz"} {
		if _, err := a.get(path); err != nil {
			t.Errorf("probe: %v", err)
		}
	}
	p := n.start(t, "sandbox", podOptions{handler: "runc", sandbox: true, userns: &cri.UserNamespace{HostID: 400000, Length: 65536}})
	p.podman(t)
	for _, command := range [][]string{{"ps"}, {"tree"}, {"map"}, {"leases"}, {"du", p.ID[:12]}, {"doctor", "node"}, {"doctor", p.ID[:12], "--try"}} {
		out, err := a.Exec(t.Context(), patience, append([]string{"/eyas"}, command...)...)
		t.Logf("eyas %s (%v)\n%s", strings.Join(command, " "), err, out)
		if command[0] == "doctor" { // some checks of this node fail, and are to be known
			for line := range strings.Lines(out) {
				if strings.HasPrefix(line, "unknown ") && !confined.MatchString(line) {
					t.Errorf("eyas %s: %s", strings.Join(command, " "), line)
				}
			}
		} else if err != nil {
			t.Errorf("eyas %s: %v", strings.Join(command, " "), err)
		}
	}
	p.released(t)
	for _, f := range []string{"memory.current", "memory.peak"} {
		files, err := filepath.Glob(cgroupFS + "/kubepods*/*/" + f)
		t.Logf("%s of pods: %q %v", f, files, err)
		for _, f := range files {
			b, err := os.ReadFile(f)
			t.Logf("%s: %s %v", f, b, err)
		}
	}
	if err := a.pod.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}
