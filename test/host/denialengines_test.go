//go:build host

package host

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// engineRoom makes a user without rights in a shell's container, as whom engines work
// there: uid 500, with ids 501 to 900 besides, and an image to work with.
const engineRoom = buildRoom + `
cd /run
echo root:x:0:0:root:/:/bin/sh >passwd; echo dev:x:500:500::/run/home:/bin/sh >>passwd
echo root:x:0: >group; echo dev:x:500: >>group
echo dev:501:400 >subuid; cp subuid subgid
for f in passwd group subuid subgid; do busybox mount --bind $f /etc/$f; done
for f in mknod hostname mount cat true; do ln -sf busybox build/bin/$f; done
mkdir -m 755 user home; mkdir -m 700 user/500
printf 'FROM scratch\nCOPY . /\n' >home/Containerfile
printf 'FROM localhost/built\nRUN chown 5000 /bin\n' >home/Chown
printf 'FROM localhost/built\nCOPY --chown=5000:5000 Chown /\n' >home/Copy
mv build home/; chown -R 500:500 user/500 home
`

// asEngine runs a command as that user.
const asEngine = "cd /run/home; setpriv --reuid 500 --regid 500 --clear-groups --inh-caps=-all env HOME=/run/home XDG_RUNTIME_DIR=/run/user/500 "

const (
	nestedPodman  = asEngine + "podman --storage-driver vfs --runtime crun run --rm --network none --cgroups=disabled "
	nestedBuildah = asEngine + "buildah --storage-driver vfs build --isolation chroot --network host --layers=false "
)

// engineCases are refusals of podman's and buildah's own, or of what they run: what is
// printed, the entry of the catalogue that explains the text, and what eyas tells.
var engineCases = []struct{ command, prints, entry, want, says string }{
	{nestedPodman + "built chown 5000 /bin", "chown: /bin: Invalid argument", "chown-unmapped-id", "chown EINVAL id_unmapped", "uid 5000 is outside its map"},
	{nestedPodman + "--privileged built mknod /tmp/disk b 8 0", "mknod: /tmp/disk: Operation not permitted", "mknod-not-permitted", "mknod EPERM capability CAP_MKNOD", "the node's user namespace"},
	{nestedPodman + "--security-opt seccomp=unconfined built hostname other", "sethostname: Operation not permitted", "sethostname-not-permitted", "sethostname EPERM capability CAP_SYS_ADMIN", "lacks CAP_SYS_ADMIN"},
	{nestedPodman + "--ulimit nproc=4000000:4000000 built true", "setrlimit `RLIMIT_NPROC`: Operation not permitted", "rlimit-not-permitted", "setrlimit EPERM capability CAP_SYS_RESOURCE", "from outside"},
	{nestedBuildah + "--file Chown .", "chown: /bin: Invalid argument", "chown-unmapped-id", "chown EINVAL id_unmapped", "uid 5000 is outside its map"},
	{nestedBuildah + "--file Copy .", "invalid argument", "chown-unmapped-id", "chown EINVAL id_unmapped", "uid 5000 is outside its map"},
	{"echo 0 >/proc/sys/user/max_user_namespaces; " + nestedBuildah + "--file Chown .; echo 100 >/proc/sys/user/max_user_namespaces", "No space left on device", "userns-no-space", "unshare ENOSPC userns_limit max_user_namespaces", "raise it"},
}

// TestDenialsOfEngines: what a nested user's podman and buildah are refused is told
// with its cause, and the text that they print is explained.
func TestDenialsOfEngines(t *testing.T) {
	a := startAgent(t, "", "--denials=true")
	states := denialHooks(t, a)
	if strings.Contains(states["denials_fork"], refused) {
		t.Skip("this kernel refuses trampolines, and the agent says so: " + states["denials_fork"])
	}
	cgroup, _ := cgroupOfOwn(t, nil)
	s := startShell(t, cgroup, false)
	chain := a.container(s.pid)
	if out := s.do(engineRoom); out != "" {
		t.Fatal(out)
	}
	if out := s.do(nestedBuildah + "--tag built --file Containerfile build"); !strings.Contains(out, "Successfully tagged localhost/built") {
		t.Fatalf("the build failed: %s", out)
	}
	counts := func() (map[string]uint64, map[string]refusedOne) {
		out, _, _ := a.eyas("explain", chain, "--follow=false", "-o", "json")
		var list []refusedOne
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		n, last := map[string]uint64{}, map[string]refusedOne{}
		for _, r := range list { // the latest first
			key := strings.TrimSpace(r.Op + " " + r.Error + " " + r.DenialAnswer.Cause + " " + r.Capability + r.Limit)
			if n[key] += r.Count; last[key].Op == "" {
				last[key] = r
			}
		}
		return n, last
	}
	for _, tc := range engineCases {
		before, _ := counts()
		out := s.do(tc.command)
		after, last := counts()
		r := last[tc.want]
		words := r.What + " " + r.Refusal.Cause + " " + r.Fix
		switch {
		case !strings.Contains(out, tc.prints):
			t.Errorf("%s: printed %q, want %q", tc.command, out, tc.prints)
		case after[tc.want] == before[tc.want]:
			t.Errorf("%s: not told as %s: %v", tc.command, tc.want, after)
		case !strings.Contains(words, tc.says):
			t.Errorf("%s: %q says nothing of %q", tc.command, words, tc.says)
		}
		if err := explains(out, tc.entry); err != nil {
			t.Errorf("%s: %v", tc.command, err)
		}
	}
}

// explains asks eyas explain about what a program printed.
func explains(text, entry string) error {
	bin, err := binary()
	if err != nil {
		return err
	}
	c := exec.Command(bin, "explain", "--no-checks", "-o", "json", "-")
	c.Stdin = strings.NewReader(text)
	out, err := c.Output()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("%q", entry)) {
		return fmt.Errorf("%q is not explained as %s: %w: %s", text, entry, err, out)
	}
	return nil
}
