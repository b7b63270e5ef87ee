//go:build host

package host

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWorkloads holds the answers about containers of real runtimes against
// what the runtimes, and the processes inside, say of themselves.
func TestWorkloads(t *testing.T) {
	a := startAgent(t, "")
	l := newLab(t)
	w := &workload{lab: l, a: a}
	for _, c := range []struct {
		name string
		run  func(*workload)
	}{
		{"runc in runc", (*workload).runcInRunc},
		{"rootless podman", (*workload).rootlessPodman},
		{"podman in podman", (*workload).podmanInPodman},
		{"buildah chroot", func(w *workload) { w.buildah("chroot") }},
		{"buildah rootless", func(w *workload) { w.buildah("rootless") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.t, a.t = t, t
			t.Cleanup(l.sweep) // for a case that fails
			c.run(w)
			l.empty()
		})
	}
	l.t, a.t = t, t
	checkQuiet(t, a)
}

type workload struct {
	*lab
	a *agent
}

// said parses what a process prints of itself: its pid, uid and gid.
func (w *workload) said(line string) ids {
	w.t.Helper()
	f := strings.Fields(line)
	if len(f) != 3 {
		w.t.Fatalf("a process says %q of itself, want three numbers", line)
	}
	return ids{num(f[0]), num(f[1]), num(f[2])}
}

// say is shell text that prints what said parses.
const say = `echo "$$ $(id -u) $(id -g)"`

// runcInRunc: two bundles, the inner below the outer, with maps of several
// extents each.
func (w *workload) runcInRunc() {
	outer, inner := w.tag+"-outer", w.tag+"-inner"
	bundle := w.bundle("outer", ociConfig(outer, "rootfs", 0,
		[][3]int{{0, 300000, 1000}, {1000, 400000, 1}, {1001, 500000, 60000}},
		[]string{"sh", "-c", say + "; read x </go; runc --root /run/runc run --bundle /bundle " + inner + "; true"}, true))
	w.rootfs("outer/rootfs")
	w.rootfs("outer/rootfs/bundle/rootfs")
	w.bundle("outer/rootfs/bundle", ociConfig(inner, "rootfs", 7,
		[][3]int{{0, 1000, 1}, {1, 20, 500}, {501, 5000, 10000}},
		[]string{"sh", "-c", say + "; exec sleep 71001"}, false))
	start := filepath.Join(w.dir, "outer/rootfs/go")
	if err := unix.Mkfifo(start, 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := chownTree(filepath.Join(w.dir, "outer"), 300000); err != nil {
		w.t.Fatal(err)
	}
	lines, wait := w.start(0, "runc", "--root", "/run/runc", "run", "--bundle", bundle, outer)
	outerSays := w.said(lines())
	w.delegate(outer, 300000)
	w.release(start)
	innerSays := w.said(lines())
	pid := w.findArgs("sleep 71001")
	var state struct {
		ID  string `json:"id"`
		PID int    `json:"pid"`
	}
	if err := json.Unmarshal([]byte(w.run(0, "runc", "--root", "/run/runc", "state", outer)), &state); err != nil {
		w.t.Fatal(err)
	}
	out := step{outer, "runc", state.ID, state.PID}
	goneOuter := w.check(state.PID, outerSays, out)
	gone := w.check(pid, innerSays, out, step{inner, "runc", inner, pid})
	w.compare(2)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		w.t.Error(err)
	}
	wait()
	gone()
	goneOuter()
}

// rootlessPodman: a container of a user without rights.
func (w *workload) rootlessPodman() {
	name := "web-" + w.number
	podman := call{w, tenant, w.podman(tenant)}
	w.load(tenant)
	podman.run("run", "--detach", "--name", name, "--hostname", "webhost", "--user", "7:8", "--network", "none",
		imageName, "sh", "-c", say+"; exec sleep 72001")
	pid := w.findArgs("sleep 72001")
	web := step{name, "podman", podman.id(name), pid}
	gone := w.check(pid, w.said(podman.run("logs", name)), web)
	w.compare(3) // podman's pause process and the monitor are in a user namespace
	podman.remove(name)
	gone()
	podman.run("system", "migrate") // ends the pause process
}

// podmanInPodman: a sandbox of the node's podman, with a map of its own, in which a
// user without rights runs a podman. Its programs are the machine's.
func (w *workload) podmanInPodman() {
	outerName, innerName := "outer-"+w.number, "inner-"+w.number
	podman := call{w, 0, w.podman(0)}
	w.load(0)
	podman.run(w.sandbox(outerName, say+"; exec sleep 73001")...)
	outer := step{outerName, "podman", podman.id(outerName), w.findArgs("sleep 73001")}
	goneOuter := w.check(outer.member, w.said(podman.run("logs", outerName)), outer)

	inside := call{w, 0, append(w.podman(0), "exec", "--user", "dev", "--env", "HOME=/home", "--env", "XDG_RUNTIME_DIR=/run/dev", outerName,
		"podman", "--storage-driver", "vfs", "--runtime", runtime())}
	inside.run("load", "--quiet", "--input", "/image.tar")
	inside.run("run", "--detach", "--name", innerName, "--hostname", "innerhost", "--user", "5:6", "--network", "none",
		imageName, "sh", "-c", say+"; exec sleep 73002")
	pid := w.findArgs("sleep 73002")
	inner := step{innerName, "podman", inside.id(innerName), pid}
	gone := w.check(pid, w.said(inside.run("logs", innerName)), outer, inner)
	w.compare(4)
	inside.remove(innerName)
	gone()
	podman.remove(outerName)
	goneOuter()
	gone()
}

// call is one podman: a user's, or one in a container.
type call struct {
	w    *workload
	user int
	args []string
}

func (c call) run(args ...string) string {
	c.w.t.Helper()
	return c.w.run(c.user, append(slices.Clip(c.args), args...)...)
}

func (c call) id(name string) string {
	c.w.t.Helper()
	return c.run("inspect", "--format", "{{.Id}}", name)
}

// remove removes a container. The monitor of one that is killed cleans up beside
// it, and podman 4.3 fails when both meet.
func (c call) remove(name string) {
	c.w.t.Helper()
	c.w.eventually("remove "+name, func() error {
		_, err := c.w.try(c.user, append(slices.Clip(c.args), "rm", "--force", "--ignore", "--time", "0", name)...)
		return err
	})
}

// sandbox is a call of podman run for a container in which a rootless podman works.
func (w *workload) sandbox(name, script string) []string {
	bin := filepath.Join(w.dir, "sandbox/bin")
	for _, id := range []string{"uid", "gid"} {
		w.copyHelper("new"+id+"map", bin, map[string]uint{"uid": unix.CAP_SETUID, "gid": unix.CAP_SETGID}[id])
		w.write("sandbox/etc/sub"+id, "dev:1001:64000\n")
	}
	w.write("sandbox/etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndev:x:1000:1000::/home:/bin/sh\n")
	w.write("sandbox/etc/group", "root:x:0:\ndev:x:1000:\n")
	w.write("sandbox/etc/containers/containers.conf", labConf)
	w.write("sandbox/etc/containers/policy.json", `{"default": [{"type": "insecureAcceptAnything"}]}`)
	w.write("sandbox/home/.keep", "")
	for dir, uid := range map[string]int{"sandbox/etc": 200000, "sandbox/home": 201000} {
		if err := chownTree(filepath.Join(w.dir, dir), uid); err != nil {
			w.t.Fatal(err)
		}
	}
	args := []string{"run", "--detach", "--name", name, "--hostname", name + "-host", "--network", "none",
		"--cgroup-parent", "/" + w.tag, "--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536",
		"--security-opt", "seccomp=unconfined", "--security-opt", "unmask=ALL", "--cap-add", "ALL",
		"--env", "PATH=/opt:/usr/sbin:/usr/bin", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp",
		"--tmpfs", "/run", "--volume", w.image + ":/image.tar:ro"}
	for at, from := range map[string]string{"/etc": "sandbox/etc", "/home": "sandbox/home", "/opt": "sandbox/bin"} {
		args = append(args, "--volume", filepath.Join(w.dir, from)+":"+at)
	}
	for _, dir := range usrDirs {
		args = append(args, "--volume", dir[0]+":"+dir[1]+":ro")
	}
	return append(args, imageName, "sh", "-c", "mkdir -m 700 /run/dev && chown dev:dev /run/dev && "+script)
}

// usrDirs gives a container the machine's programs.
var usrDirs = [][2]string{{"/usr", "/usr"}, {"/usr/bin", "/bin"}, {"/usr/lib", "/lib"}, {"/usr/lib64", "/lib64"}}

// buildah: the process of a RUN step, while the build waits for this test and
// when it is over.
func (w *workload) buildah(isolation string) {
	w.load(tenant)
	file := w.write("build/Dockerfile", "FROM "+imageName+"\nRUN "+say+"; mkfifo /go-"+isolation+"; read x </go-"+isolation+"\n")
	lines, wait := w.start(tenant, append(w.engine("buildah", tenant), "bud", "--isolation", isolation, "--runtime", runtime(),
		"--network", "host", "--file", file, filepath.Dir(file))...)
	var own ids
	for line := lines(); ; line = lines() {
		if strings.HasPrefix(line, "STEP") {
			continue
		}
		own = w.said(line)
		break
	}
	pid := w.find("the RUN step's process", func(args string) bool {
		return strings.HasPrefix(args, "/bin/sh -c ") && strings.Contains(args, "/go-"+isolation)
	})
	s := step{"buildah", "buildah", "", pid} // a user namespace, and nothing that tells more
	if isolation != "chroot" {
		record := strings.Fields(w.run(tenant, append(w.engine("buildah", tenant), "containers", "--noheading", "--notruncate",
			"--format", "{{.ContainerID}} {{.ContainerName}}")...))
		if len(record) != 2 {
			w.t.Fatalf("buildah tells %q of its containers", record)
		}
		s.id, s.name = record[0], record[1]
	}
	gone := w.check(pid, own, s)
	w.compare(2)
	w.release(fmt.Sprintf("/proc/%d/root/go-%s", pid, isolation))
	wait()
	gone()
}
