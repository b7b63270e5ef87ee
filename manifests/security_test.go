package manifests

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// podOf is the pod that a workload makes; nil: it makes none.
func podOf(o any) *corev1.PodTemplateSpec {
	switch o := o.(type) {
	case *appsv1.DaemonSet:
		return &o.Spec.Template
	case *appsv1.StatefulSet:
		return &o.Spec.Template
	case *batchv1.Job:
		return &o.Spec.Template
	}
	return nil
}

func refusals(t *testing.T, pod *corev1.PodTemplateSpec, level api.Level, version api.Version) []string {
	t.Helper()
	e, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range e.EvaluatePod(api.LevelVersion{Level: level, Version: version}, &metav1.ObjectMeta{Annotations: pod.Annotations}, &pod.Spec) {
		if !r.Allowed {
			all = append(all, r.ForbiddenReason)
		}
	}
	return all
}

// The sandboxes are legal at the Pod Security level baseline, as the API server's own
// code sees it, from 1.35 on; these are the checks that they fail elsewhere, which is
// how far it goes.
func TestPodSecurity(t *testing.T) {
	latest, before := api.LatestVersion(), api.MajorMinorVersion(1, 34)
	restricted := []string{"allowPrivilegeEscalation != false", "unrestricted capabilities", "procMount"}
	for _, c := range []struct {
		dir, name string
		level     api.Level
		version   api.Version
		want      []string
	}{
		{"examples/buildkit", "buildkitd", api.LevelBaseline, latest, nil},
		{"examples/buildkit", "buildkitd", api.LevelBaseline, before, []string{"procMount"}},
		{"examples/buildkit", "buildkitd", api.LevelRestricted, latest, restricted},
		{"examples/buildkit", "build", api.LevelRestricted, latest, nil},
		{"examples/devenv", "devenv", api.LevelBaseline, latest, nil},
		{"examples/devenv", "devenv", api.LevelBaseline, before, []string{"procMount"}},
		{"examples/devenv", "devenv", api.LevelRestricted, latest, restricted},
	} {
		found := false
		for _, o := range build(t, c.dir) {
			pod := podOf(o)
			if pod == nil || o.(metav1.Object).GetName() != c.name {
				continue
			}
			found = true
			if d := cmp.Diff(c.want, refusals(t, pod, c.level, c.version)); d != "" {
				t.Errorf("%s %s at %s %s is refused for (-want +got):\n%s", c.dir, c.name, c.level, c.version.String(), d)
			}
		}
		if !found {
			t.Errorf("%s has no %s", c.dir, c.name)
		}
	}
}

// Sandboxes have what test/sandbox proves, and nothing that would be dangerous.
func TestSandboxes(t *testing.T) {
	for _, dir := range []string{"examples/buildkit", "examples/devenv"} {
		for _, o := range build(t, dir) {
			pod := podOf(o)
			if pod == nil {
				continue
			}
			if pod.Spec.HostUsers == nil || *pod.Spec.HostUsers {
				t.Errorf("%s: hostUsers is not false", dir)
			}
			if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken {
				t.Errorf("%s: it has a token", dir)
			}
			profile := pod.Annotations["eyas.dev/sandbox"]
			for _, c := range pod.Spec.Containers {
				s := c.SecurityContext
				if s.Privileged != nil && *s.Privileged || s.Capabilities != nil && len(s.Capabilities.Add) > 0 {
					t.Errorf("%s: %s is privileged", dir, c.Name)
				}
				if c.Resources.Limits.Memory().IsZero() {
					t.Errorf("%s: %s has no memory limit", dir, c.Name)
				}
				if profile == "" {
					continue // a client
				}
				seccomp := pod.Spec.SecurityContext.SeccompProfile
				if *s.ProcMount != corev1.UnmaskedProcMount || !*s.AllowPrivilegeEscalation || seccomp.Type != corev1.SeccompProfileTypeLocalhost {
					t.Errorf("%s: %s cannot nest", dir, c.Name)
				}
				dir, file, _ := strings.Cut(*seccomp.LocalhostProfile, "/")
				if dir != "eyas" || Profiles()[file] == nil {
					t.Errorf("%s: no profile that the agent installs", *seccomp.LocalhostProfile)
				}
			}
		}
	}
}
