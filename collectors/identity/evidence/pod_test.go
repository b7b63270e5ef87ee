package evidence

import (
	"strings"
	"testing"
)

func TestPodContainer(t *testing.T) {
	const uid, other = "2ff1b4c8-7d2e-4b7e-9a55-0f6f4c1f2a31", "aaaaaaaa-7d2e-4b7e-9a55-0f6f4c1f2a31"
	id, id2 := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	slice := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice"
	for path, want := range map[string][2]string{
		"":                           {},
		"/":                          {},
		"/system.slice/sshd.service": {},
		slice:                        {uid, ""},
		slice + "/cri-containerd-" + id + ".scope":                             {uid, id},
		slice + "/crio-conmon-" + id2 + ".scope":                               {uid, ""},
		"/kubepods/burstable/pod" + uid + "/" + id:                             {uid, id},
		"/kubepods/pod" + uid + "/" + id + "/init":                             {uid, id},
		"/kubepods/pod" + uid + "/" + id + "/kubepods/pod" + other + "/" + id2: {uid, id}, // a cluster inside, or a lie
		"/kubepods/pod" + uid + "/" + id + "/docker/" + id2:                    {uid, id},
		"/docker/" + id + "/kubepods/pod" + uid + "/" + id2:                    {}, // its kubelet is not this node's
		"/kubepods/pod" + uid + "/kubepods/pod" + other + "/" + id2:            {uid, ""},
	} {
		if uid, c := PodContainer(path); [2]string{uid, c} != want {
			t.Errorf("%s: %q of pod %q, want %q", path, c, uid, want)
		}
	}
}
