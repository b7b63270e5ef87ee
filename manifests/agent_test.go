package manifests_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/manifests"
)

// agent is an overlay's DaemonSet with the configuration that it comes to.
func agent(t *testing.T, dir string) (*appsv1.DaemonSet, daemon.Config) {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	set, file := &appsv1.DaemonSet{}, &corev1.ConfigMap{}
	for _, r := range resources.Resources() {
		b, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		switch r.GetKind() {
		case "DaemonSet":
			err = yaml.UnmarshalStrict(b, set)
		case "ConfigMap":
			err = yaml.UnmarshalStrict(b, file)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	config := daemon.DefaultConfig()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(file.Data["config.yaml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := config.LoadFile(path); err != nil {
		t.Fatal(err)
	}
	args := set.Spec.Template.Spec.Containers[0].Args
	if len(args) < 2 || args[0] != "agent" || args[1] != "--config=/etc/eyas/config.yaml" {
		t.Fatalf("args are %q", args)
	}
	settings := config.Settings()
	for _, a := range args[2:] {
		key, value, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		i := slices.IndexFunc(settings, func(s daemon.Setting) bool { return s.Key == key })
		if i < 0 {
			t.Fatalf("%s: the agent has no such flag", a)
		}
		if err := settings[i].Parse(value); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
	}
	if err := config.Check(); err != nil {
		t.Fatal(err)
	}
	return set, config
}

var overlays = []string{"base", "overlays/containerd", "overlays/crio", "overlays/otlp", "overlays/scrape", "overlays/privileged"}

// The DaemonSet and the agent mean the same port, paths and directories.
func TestAgent(t *testing.T) {
	for _, dir := range overlays {
		t.Run(dir, func(t *testing.T) {
			set, config := agent(t, dir)
			spec := set.Spec.Template.Spec
			c := spec.Containers[0]
			_, port, err := net.SplitHostPort(config.Listen)
			if err != nil {
				t.Fatal(err)
			}
			_, byDefault, _ := net.SplitHostPort(daemon.DefaultConfig().Listen)
			if want := strconv.Itoa(int(c.Ports[0].ContainerPort)); port != want || port != byDefault {
				t.Errorf("the agent listens on %s, its default is %s, the container's port is %s", port, byDefault, want)
			}
			for path, probes := range map[string][]*corev1.Probe{"/healthz": {c.LivenessProbe}, "/readyz": {c.ReadinessProbe, c.StartupProbe}} {
				for _, p := range probes {
					if p.HTTPGet.Path != path || p.HTTPGet.Port.StrVal != c.Ports[0].Name {
						t.Errorf("a probe asks %s of port %s, want %s of %s", p.HTTPGet.Path, p.HTTPGet.Port.String(), path, c.Ports[0].Name)
					}
				}
			}
			volumes := map[string]corev1.Volume{}
			for _, v := range spec.Volumes {
				volumes[v.Name] = v
			}
			mounts := map[string]corev1.Volume{}
			for _, m := range c.VolumeMounts {
				mounts[m.MountPath] = volumes[m.Name]
			}
			for _, path := range []string{config.StateDir, filepath.Dir(config.Socket), filepath.Dir(config.NRISocket), "/sys/fs/cgroup"} {
				if v := mounts[path]; v.HostPath == nil || v.HostPath.Path != path {
					t.Errorf("%s is not the host's", path)
				}
			}
			if v := mounts[os.TempDir()]; v.EmptyDir == nil {
				t.Errorf("%s cannot be written, and the hooks of denials are proven there", os.TempDir())
			}
			if r := set.Spec.UpdateStrategy.RollingUpdate; r.MaxSurge.IntVal != 0 || r.MaxSurge.StrVal != "" {
				t.Error("an update may leave two agents on a node")
			}
			if !spec.HostPID || !*c.SecurityContext.ReadOnlyRootFilesystem {
				t.Error("want hostPID, and a root file system that is read-only")
			}
			if privileged := c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged; privileged != (dir == "overlays/privileged") {
				t.Errorf("privileged is %v", privileged)
			}
			if len(spec.Tolerations) != 1 || spec.Tolerations[0] != (corev1.Toleration{Operator: corev1.TolerationOpExists}) {
				t.Errorf("tolerations are %v, want any taint", spec.Tolerations)
			}
		})
	}
}

// The runtime handler of the RuntimeClass is one that the agent prepares, and the one
// that the files for the nodes define.
func TestRuntimeClass(t *testing.T) {
	b, err := os.ReadFile("base/runtimeclass.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var class nodev1.RuntimeClass
	if err := yaml.UnmarshalStrict(b, &class); err != nil {
		t.Fatal(err)
	}
	_, config := agent(t, "base")
	if config.Handlers[class.Handler] == "" {
		t.Errorf("the agent knows no profile for handler %s", class.Handler)
	}
	files, err := filepath.Glob("runtime/*")
	if err != nil || len(files) != 3 {
		t.Fatalf("files for nodes: %q, %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^\[.*runtimes\.` + class.Handler + `\]$`).Match(b) {
			t.Errorf("%s defines no handler %s", f, class.Handler)
		}
	}
}

// The documentation has every capability with its reason, and no other.
func TestCapabilities(t *testing.T) {
	set, _ := agent(t, "base")
	caps := set.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities
	if d := cmp.Diff([]corev1.Capability{"ALL"}, caps.Drop); d != "" {
		t.Errorf("dropped (-want +got):\n%s", d)
	}
	b, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []corev1.Capability
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllStringSubmatch(string(b), -1) {
		documented = append(documented, corev1.Capability(m[1]))
	}
	slices.Sort(documented)
	if d := cmp.Diff(documented, slices.Sorted(slices.Values(caps.Add))); d != "" {
		t.Errorf("documented, and in the manifest (-documented +manifest):\n%s", d)
	}
}

// The embedded files are those that are applied.
func TestEmbedded(t *testing.T) {
	set, _ := agent(t, "base")
	var own appsv1.DaemonSet
	if err := yaml.UnmarshalStrict(manifests.DaemonSet, &own); err != nil {
		t.Fatal(err)
	}
	own.Spec.Template.Spec.Containers[0].Image = set.Spec.Template.Spec.Containers[0].Image
	if d := cmp.Diff(set.Spec.Template.Spec, own.Spec.Template.Spec); d != "" {
		t.Errorf("(-base +embedded):\n%s", d)
	}
}
