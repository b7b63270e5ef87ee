package evidence

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	idA = "40c03570b6f4c30bc8d69923d37ee698f5cfcced92c7b7df1c47f6f7887378a9"
	idB = "8afe480d66074930353da456a1344caca810fe31c1e31f6e08c95a66887235d6"
	uid = "44c76ce5-f953-4bd3-bc89-12621681af49"
	und = "44c76ce5_f953_4bd3_bc89_12621681af49"
	bk  = "jvifp9a6b1lxa1kuw8bwfcovf"
	cfg = "d1f2e3a4b5c697887766554433221100" // a static pod's UID
)

// ref is a CgroupRef in one line, without the prefix that TestPrefixes checks.
func ref(r CgroupRef) string {
	s := r.Runtime + " " + r.ID
	if r.PodUID != "" {
		s += " pod=" + r.PodUID
	}
	if r.QoS != "" {
		s += " " + r.QoS
	}
	if r.Conmon {
		s += " conmon"
	}
	if r.Weak {
		s += " weak"
	}
	return s
}

func TestParseCgroupPath(t *testing.T) {
	burstPod, burstCtr := "kubernetes  pod="+uid+" burstable", " pod="+uid+" burstable"
	guarPod, guarCtr := "kubernetes  pod="+uid+" guaranteed", " pod="+uid+" guaranteed"
	const kubeBurst = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + und + ".slice"
	const user = "/user.slice/user-1000.slice/user@1000.service"
	for _, tc := range []struct {
		path string
		want []string
	}{
		// kubelet, systemd driver
		{kubeBurst + "/cri-containerd-" + idA + ".scope", []string{burstPod, "containerd " + idA + burstCtr}},
		{kubeBurst + "/crio-" + idA + ".scope", []string{burstPod, "cri-o " + idA + burstCtr}},
		{kubeBurst + "/crio-" + idA + ".scope/container", []string{burstPod, "cri-o " + idA + burstCtr}},
		{kubeBurst + "/crio-conmon-" + idA + ".scope", []string{burstPod, "cri-o " + idA + burstCtr + " conmon"}},
		{kubeBurst + "/docker-" + idA + ".scope", []string{burstPod, "docker " + idA + burstCtr}},
		{kubeBurst, []string{burstPod}},
		{"/kubepods.slice/kubepods-burstable.slice", nil},
		{"/kubepods.slice", nil},
		{"/kubepods.slice/kubepods-pod" + und + ".slice/cri-containerd-" + idA + ".scope",
			[]string{guarPod, "containerd " + idA + guarCtr}},
		{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + cfg + ".slice/cri-containerd-" + idA + ".scope",
			[]string{"kubernetes  pod=" + cfg + " besteffort", "containerd " + idA + " pod=" + cfg + " besteffort"}},
		{"/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" + und + ".slice/cri-containerd-" + idA + ".scope",
			[]string{burstPod, "containerd " + idA + burstCtr}},
		// containerd with SystemdCgroup=false below a kubelet with the systemd driver
		{"/system.slice/containerd.service/kubepods-burstable-pod" + und + ".slice:cri-containerd:" + idA,
			[]string{"containerd " + idA + burstCtr}},
		// kubelet, cgroupfs driver
		{"/kubepods/burstable/pod" + uid + "/" + idA, []string{burstPod, "cri " + idA + burstCtr}},
		{"/kubepods/pod" + uid + "/" + idA, []string{guarPod, "cri " + idA + guarCtr}},
		{"/kubepods/burstable/pod" + uid + "/crio-" + idA, []string{burstPod, "cri-o " + idA + burstCtr}},
		{"/kubepods/burstable/pod" + uid + "/crio-conmon-" + idA, []string{burstPod, "cri-o " + idA + burstCtr + " conmon"}},
		{"/kubelet/kubepods/burstable/pod" + uid + "/" + idA, []string{burstPod, "cri " + idA + burstCtr}},
		{"/kubepods/dev/" + idA + "/init", []string{"cri " + idA}},
		{"/kubepods/burstable", nil},
		// docker
		{"/docker/" + idA, []string{"docker " + idA}},
		{"/docker/" + idA + "/init", []string{"docker " + idA}},
		{"/system.slice/docker-" + idA + ".scope", []string{"docker " + idA}},
		{"/system.slice/docker-" + idA + ".scope/init.scope", []string{"docker " + idA}},
		{user + "/user.slice/docker-" + idA + ".scope", []string{"docker " + idA}},
		{user + "/app.slice/docker-" + idA + ".scope", []string{"docker " + idA}},
		{"/actions_job/" + idA, []string{"oci " + idA + " weak"}}, // --cgroup-parent
		{"/system.slice/docker.service", nil},
		{"/system.slice/docker-" + idA[1:] + ".scope", nil},
		// podman
		{"/machine.slice/libpod-" + idA + ".scope", []string{"podman " + idA}},
		{"/machine.slice/libpod-" + idA + ".scope/container", []string{"podman " + idA}},
		{"/machine.slice/libpod-conmon-" + idA + ".scope", []string{"podman " + idA + " conmon"}},
		{user + "/user.slice/libpod-" + idA + ".scope/container", []string{"podman " + idA}},
		{user + "/user.slice/libpod-conmon-" + idA + ".scope", []string{"podman " + idA + " conmon"}},
		{user + "/user.slice/user-libpod_pod_" + idB + ".slice/libpod-" + idA + ".scope",
			[]string{"podman  pod=" + idB, "podman " + idA + " pod=" + idB}},
		{"/machine.slice/machine-libpod_pod_" + idB + ".slice/libpod-" + idA + ".scope/container",
			[]string{"podman  pod=" + idB, "podman " + idA + " pod=" + idB}},
		{"/libpod_parent/libpod-" + idA, []string{"podman " + idA}},
		{"/libpod_parent/" + idB + "/libpod-" + idA, []string{"podman  pod=" + idB, "podman " + idA + " pod=" + idB}},
		{"/libpod_parent/conmon", nil},
		{"/libpod_parent/libpod-conmon-" + idA, []string{"podman " + idA + " conmon"}},
		{user + "/app.slice/redis.service/libpod-payload-" + idA, []string{"podman " + idA}},
		{user + "/app.slice/redis.service/runtime", nil},
		{user + "/user.slice/podman-1234.scope", nil},
		// buildah
		{"/system.slice/crun-buildah-buildah2365838308.scope", []string{"buildah buildah-buildah2365838308"}},
		{user + "/app.slice/crun-buildah-buildah1059824916.scope", []string{"buildah buildah-buildah1059824916"}},
		{"/machine.slice/runc-buildah-buildah2754860408.scope", []string{"buildah buildah-buildah2754860408"}},
		{"/buildah-buildah789033157", []string{"buildah buildah-buildah789033157"}},
		// BuildKit
		{"/buildkit/" + bk, []string{"buildkit " + bk}},
		{"/docker/buildkit/" + bk, []string{"buildkit " + bk}},
		{"/docker/" + bk, []string{"buildkit " + bk}},
		{"/system.slice/system.slice:docker:" + bk, []string{"buildkit " + bk}},
		{"/system.slice/docker-" + bk + ".scope", []string{"buildkit " + bk}},
		{"/docker/" + idA + "/buildkit/" + bk, []string{"docker " + idA, "buildkit " + bk}},
		{"/docker/" + idA + "/docker/buildkit/" + bk, []string{"docker " + idA, "buildkit " + bk}},
		// containerd's other clients
		{"/default/" + idA, []string{"containerd " + idA + " weak"}},
		{"/default/redis", []string{"containerd redis weak"}},
		{"/k8s.io/" + idA, []string{"containerd " + idA + " weak"}},
		{"/system.slice/nerdctl-" + idA + ".scope", []string{"containerd " + idA}},
		{user + "/user.slice/nerdctl-" + idA + ".scope", []string{"containerd " + idA}},
		// runc and crun by hand
		{"/mycontainer", []string{"runc mycontainer weak"}},
		{"/system.slice/runc-my.container_1.scope", []string{"runc my.container_1"}},
		{user + "/user.slice/crun-web.scope", []string{"crun web"}},
		{"/mycontainer/supervisor", []string{"runc mycontainer weak"}},
		{"/group/mycontainer", nil},
		// LXC, nspawn, machines
		{"/lxc.payload.web", []string{"lxc web"}},
		{"/lxc.payload.web/system.slice/ssh.service", []string{"lxc web"}},
		{"/lxc.payload.outer/lxc.payload.inner/init.scope", []string{"lxc outer", "lxc inner"}},
		{"/lxc/101/ns/init.scope", []string{"lxc 101"}},
		{"/lxc.monitor.web", nil},
		{"/machine.slice/systemd-nspawn@jammy.service/payload/init.scope", []string{"systemd-nspawn jammy"}},
		{`/machine.slice/systemd-nspawn@media\x2d01.service/payload`, []string{"systemd-nspawn media-01"}},
		{`/machine.slice/machine-deb\x2d1.scope/supervisor`, []string{"systemd-nspawn deb-1"}},
		{`/machine.slice/machine-qemu\x2d1\x2dvm.scope`, nil},
		{`/machine.slice/machine-lxc\x2d123\x2dweb.scope`, []string{"libvirt-lxc 123-web"}},
		// nested
		{kubeBurst + "/cri-containerd-" + idA + ".scope/machine.slice/libpod-" + idB + ".scope/container",
			[]string{burstPod, "containerd " + idA + burstCtr, "podman " + idB}},
		{kubeBurst + "/cri-containerd-" + idA + ".scope/libpod_parent/libpod-" + idB,
			[]string{burstPod, "containerd " + idA + burstCtr, "podman " + idB}},
		{kubeBurst + "/cri-containerd-" + idA + ".scope/init", []string{burstPod, "containerd " + idA + burstCtr}},
		{kubeBurst + "/cri-containerd-" + idA + ".scope/" + idB,
			[]string{burstPod, "containerd " + idA + burstCtr, "oci " + idB + " weak"}},
		{kubeBurst + "/cri-containerd-" + idA + ".scope/web", []string{burstPod, "containerd " + idA + burstCtr, "runc web weak"}},
		{kubeBurst + "/cri-containerd-" + idA + ".scope/default/web",
			[]string{burstPod, "containerd " + idA + burstCtr, "containerd web weak"}},
		{kubeBurst + "/cri-containerd-" + idA + ".scope/docker/" + idB,
			[]string{burstPod, "containerd " + idA + burstCtr, "docker " + idB}},
		{"/docker/" + idB + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + und + ".slice/cri-containerd-" + idA + ".scope",
			[]string{"docker " + idB, "kubernetes  pod=" + uid + " besteffort", "containerd " + idA + " pod=" + uid + " besteffort"}},
		{"/docker/" + idB + "/kubelet/kubepods/pod" + uid + "/" + idA,
			[]string{"docker " + idB, guarPod, "cri " + idA + guarCtr}},
		// no containers, and odd text
		{"", nil},
		{"/", nil},
		{"/init.scope", nil},
		{"/system.slice/cron.service", nil},
		{user + "/session.slice/dbus.service", nil},
		{"/user.slice/user-0.slice/session-1.scope", nil},
		{"/../../" + "docker/" + idA, []string{"docker " + idA}},
		{"//docker//" + idA + "/", []string{"docker " + idA}},
		{"/docker/" + idA + " (deleted)", []string{"docker " + idA}},
		{"/docker/" + strings.ToUpper(idA), nil},
		{"/kubepods.slice/kubepods-pod../cri-containerd-x.scope", nil},
		{"/\x1b[31mred", nil},
		{"/\xff\xfe", nil},
		{"/a\x00b", nil},
		{"::", nil},
		{"/a:b:c", nil},
		{`/machine.slice/machine-\x2.scope`, nil},
		{`/machine.slice/machine-a\x00.scope`, nil},
	} {
		var got []string
		for _, r := range ParseCgroupPath(tc.path) {
			got = append(got, ref(r))
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", tc.path, d)
		}
	}
}

func TestPrefixes(t *testing.T) {
	pod := "/kubepods.slice/kubepods-pod" + und + ".slice"
	ctr := pod + "/cri-containerd-" + idA + ".scope"
	nested := ctr + "/machine.slice/libpod-" + idB + ".scope"
	want := []CgroupRef{
		{Runtime: RuntimeKubernetes, PodUID: uid, QoS: "guaranteed", Prefix: pod},
		{Runtime: RuntimeContainerd, ID: idA, PodUID: uid, QoS: "guaranteed", Prefix: ctr},
		{Runtime: RuntimePodman, ID: idB, Prefix: nested},
	}
	got := ParseCgroupPath(nested + "/container")
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	for path, in := range map[string]bool{
		nested: true, nested + "/container": true, nested + "x": false, ctr: false, "": false,
	} {
		if got[2].Contains(path) != in {
			t.Errorf("Contains(%q) = %v", path, !in)
		}
	}
	if !got[0].Pod() || got[1].Pod() {
		t.Error("Pod() mixes a pod with its container")
	}
	claims := []Claim{got[0].Claim(), got[1].Claim()}
	if d := cmp.Diff([]Claim{{}, {Runtime: "containerd", ID: idA, Source: "cgroup"}}, claims); d != "" {
		t.Errorf("claims (-want +got):\n%s", d)
	}
}

// A tenant that may write its subtree can nest as deep as it likes; what the
// host wrote, the outermost, stays.
func TestParseCgroupPathBounds(t *testing.T) {
	outer := "/docker/" + idA
	for _, path := range []string{
		outer + strings.Repeat("/lxc.payload.x", 200),
		outer + strings.Repeat("/docker/"+idB, 1000),
		outer + "/" + strings.Repeat("x", 1<<20),
		outer + strings.Repeat("/", 1<<20),
	} {
		refs := ParseCgroupPath(path)
		if len(refs) == 0 || len(refs) > maxRefs || refs[0].ID != idA || refs[0].Prefix != outer {
			t.Errorf("%.80q…: %d refs, first %+v", path, len(refs), refs[:min(len(refs), 1)])
		}
	}
	// 65 digits are no id; the first 64 of them, before the cut, would be one.
	const tail = "/docker/" + idA
	long := "/system.slice/" + strings.Repeat("x", maxPath-len("/system.slice/")-len(tail)) + tail + "f"
	if refs := ParseCgroupPath(long); len(refs) != 0 || len(ParseCgroupPath(long[:maxPath])) != 1 {
		t.Errorf("made up from a cut path: %+v", refs)
	}
}

func FuzzParseCgroupPath(f *testing.F) {
	for _, s := range []string{
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + und + ".slice/cri-containerd-" + idA + ".scope/init",
		"/kubepods/burstable/pod" + uid + "/" + idA, "/docker/" + idA + "/docker/buildkit/" + bk, "/default/redis", "/x (deleted)",
		"/system.slice/system.slice:docker:" + bk, `/machine.slice/machine-a\x2db.scope`, "/libpod_parent/" + idB + "/libpod-" + idA,
		"/lxc/101", "/buildah-buildah1", "/system.slice/containerd.service/kubepods-pod" + und + ".slice:cri-containerd:" + idA,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		refs := ParseCgroupPath(path)
		if len(refs) > maxRefs {
			t.Fatalf("%d refs", len(refs))
		}
		end := 0
		for _, r := range refs {
			ok := strings.HasPrefix(path, r.Prefix) && len(r.Prefix) > end && len(r.Prefix) <= maxPath && r.Runtime != "" &&
				(r.ID != "" || r.PodUID != "") && len(r.ID) <= 128 && len(r.PodUID) <= 64 && (r.ID == "" || isName(r.ID))
			if !ok {
				t.Fatalf("ref of %q: %s", path, fmt.Sprintf("%+v", r))
			}
			if r.Runtime == RuntimeKubernetes && (r.PodUID == "" || r.QoS == "") {
				t.Fatalf("pod of %q: %+v", path, r)
			}
			end = len(r.Prefix)
		}
	})
}
