package manifests

import (
	"path"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// podman in the dev environment reads the files that come with it, not the image's,
// which have neither cgroups nor the kernel's overlay; and its store is on volumes.
func TestEngine(t *testing.T) {
	all := build(t, "examples/devenv")
	pod := only[*appsv1.StatefulSet](all)[0].Spec.Template.Spec
	c, files := pod.Containers[0], only[*corev1.ConfigMap](all)[0]
	mounts := map[string]string{} // volume by path
	for _, m := range c.VolumeMounts {
		mounts[m.MountPath] = m.Name
	}
	text := map[string]string{} // by variable
	for _, e := range c.Env {
		if !strings.HasPrefix(e.Name, "CONTAINERS_") {
			continue
		}
		for _, v := range pod.Volumes {
			if v.Name == mounts[path.Dir(e.Value)] && v.ConfigMap != nil && v.ConfigMap.Name == files.Name {
				text[e.Name] = regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(files.Data[path.Base(e.Value)], "")
			}
		}
	}
	for _, want := range []struct{ variable, line string }{
		{"CONTAINERS_CONF", `cgroups = "enabled"`}, {"CONTAINERS_CONF", `cgroup_manager = "cgroupfs"`}, {"CONTAINERS_STORAGE_CONF", `driver = "overlay"`},
	} {
		if !strings.Contains(text[want.variable], want.line+"\n") {
			t.Errorf("%s names a file without %s:\n%s", want.variable, want.line, text[want.variable])
		}
	}
	storage := text["CONTAINERS_STORAGE_CONF"]
	if strings.Contains(storage, "mount_program") {
		t.Error("storage.conf has a mount_program")
	}
	for _, key := range []string{"graphroot", "runroot"} {
		m := regexp.MustCompile(`(?m)^` + key + ` = "([^"]*)"$`).FindStringSubmatch(storage)
		if m == nil {
			t.Errorf("storage.conf has no %s", key)
			continue
		}
		dir := m[1]
		for dir != "/" && mounts[dir] == "" {
			dir = path.Dir(dir)
		}
		if dir == "/" {
			t.Errorf("%s %s is on no volume", key, m[1])
		}
	}
}
