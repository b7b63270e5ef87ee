package nri

import (
	"path"
	"testing"
)

func TestCgroupPath(t *testing.T) {
	for in, want := range map[string]string{
		"/kubepods/burstable/podu/c1":             "/kubepods/burstable/podu/c1",
		"kubepods-burstable-podu_1.slice:crio:c1": "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podu_1.slice/crio-c1.scope",
		"kubepods.slice:cri-containerd:c1":        "/kubepods.slice/cri-containerd-c1.scope",
		":docker:c1":                              "/system.slice/docker-c1.scope",
		"-.slice:x:c1":                            "/x-c1.scope",
		"a.slice::c1":                             "/a.slice/c1.scope",
		"":                                        "",
		"/":                                       "",
		"//":                                      "",
		"/../x":                                   "",
		"/a/../b":                                 "",
		"a/b":                                     "",
		"a.slice:x:":                              "",
		"a.slice:x:y.slice":                       "",
		"a.slice:x:../../y":                       "",
		"a.slice:../x:y":                          "",
		"../a.slice:x:y":                          "",
		"a--b.slice:x:y":                          "",
		".slice:x:y":                              "",
		"a:x:y":                                   "",
		"a.slice:x:y:z":                           "",
	} {
		got, err := cgroupPath(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
}

// FuzzCgroupPath: a path is clean, absolute, and never the root.
func FuzzCgroupPath(f *testing.F) {
	f.Add("a-b.slice:x:y")
	f.Add("/a/b")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := cgroupPath(s)
		if err == nil && !cleanPath(got) {
			t.Errorf("%q: %q", s, got)
		}
	})
}

func cleanPath(s string) bool {
	return len(s) > 1 && s[0] == '/' && path.Clean(s) == s
}
