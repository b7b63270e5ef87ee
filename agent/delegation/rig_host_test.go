//go:build host

package delegation

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The delegate of the tests: a host uid and gid that nobody has.
const testID = 805306368 + 1000

// prefix is in the path of every cgroup that a test touches.
const prefix = "eyas-delegation-test-"

// helper makes this binary a process of the tests: see helpers.
const helper = "EYAS_DELEGATION_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helper) != "" {
		runHelper()
		return
	}
	m.Run()
}

// operation is something that a helper tries; errors come back as errnos.
type operation struct{ Do, Path, Text string }

// runHelper says "ready", then does operations of its input until that ends.
func runHelper() {
	fmt.Println("ready")
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var inputs []io.Closer // of children, which live until these are closed
	for {
		var o operation
		if err := in.Decode(&o); err != nil {
			runtime.KeepAlive(inputs)
			return
		}
		var err error
		switch o.Do {
		case "mkdir":
			err = os.Mkdir(o.Path, 0o755)
		case "rmdir":
			err = os.Remove(o.Path)
		case "write":
			err = os.WriteFile(o.Path, []byte(o.Text), 0)
		case "child": // a process that stays for as long as this one
			child := exec.Command("/proc/self/exe")
			var input io.WriteCloser
			if input, err = child.StdinPipe(); err == nil {
				inputs = append(inputs, input)
				err = child.Start()
			}
		}
		var errno unix.Errno
		errors.As(err, &errno)
		if err := out.Encode(uint(errno)); err != nil {
			return
		}
	}
}

// rig is a hierarchy and one cgroup in it that is the test's own.
type rig struct {
	*testing.T
	h   *Hierarchy
	top string // path below the mount
}

func newRig(t *testing.T) *rig {
	t.Helper()
	o, err := ReadMountOptions("/proc")
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(o.MountPoint, "/sys")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	r := &rig{T: t, h: h, top: "/" + prefix + fmt.Sprint(os.Getpid())}
	r.mkdir("")
	t.Cleanup(func() { r.remove() })
	return r
}

// abs is the absolute path of something below the test's cgroup. It is the only
// way in which tests name a file of cgroup2.
func (r *rig) abs(rel string) string {
	p := filepath.Join(r.h.mount, r.top, rel)
	if !strings.HasPrefix(p, filepath.Join(r.h.mount, "/")+"/"+prefix) {
		r.Fatalf("%s is not the test's own", p)
	}
	return p
}

func (r *rig) mkdir(rel string) {
	r.Helper()
	if err := os.Mkdir(r.abs(rel), 0o755); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) read(rel string) string {
	r.Helper()
	b, err := os.ReadFile(r.abs(rel))
	if err != nil {
		r.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (r *rig) write(rel, text string) {
	r.Helper()
	if err := os.WriteFile(r.abs(rel), []byte(text), 0); err != nil {
		r.Fatal(err)
	}
}

// request asks for a delegation of a cgroup of the test.
func (r *rig) request(rel string) Request {
	r.Helper()
	var st unix.Stat_t
	if err := unix.Stat(r.abs(rel), &st); err != nil {
		r.Fatal(err)
	}
	return Request{Path: filepath.Join(r.top, rel), ID: st.Ino, UID: testID, GID: testID}
}

// sandbox makes a cgroup with a parked process in it, like a runtime between
// create and start, and returns its path below the test's cgroup.
func (r *rig) sandbox(name string) (string, *proc) {
	r.Helper()
	r.mkdir(name)
	return name, r.start(name, 0)
}

func (r *rig) delegate(rel string) []string {
	r.Helper()
	steps, err := r.h.Delegate(context.Background(), r.request(rel))
	if err != nil {
		r.Fatal(err)
	}
	return steps
}

// remove kills what is in the test's cgroup and removes it.
func (r *rig) remove() {
	if err := os.WriteFile(r.abs("cgroup.kill"), []byte("1"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Error(err)
	}
	r.empty("")
	var dirs []string
	_ = filepath.WalkDir(r.abs(""), func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, p)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		if err := os.Remove(d); err != nil {
			r.Error(err)
		}
	}
}

// empty waits until no process is below a cgroup: the kernel wakes pollers of
// cgroup.events then.
func (r *rig) empty(rel string) {
	f, err := os.Open(r.abs(filepath.Join(rel, "cgroup.events")))
	if err != nil {
		r.Error(err)
		return
	}
	defer f.Close()
	for {
		b, err := io.ReadAll(f)
		if err != nil {
			r.Error(err)
			return
		}
		if busy, err := parsePopulated(string(b)); err != nil || !busy {
			return
		}
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}, 60000); err == nil && n == 0 {
			r.Errorf("processes stay in %s", rel)
			return
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			r.Error(err)
			return
		}
	}
}

// proc is a helper process.
type proc struct {
	r   *rig
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a helper in a cgroup as a user.
func (r *rig) start(rel string, uid uint32) *proc {
	r.Helper()
	return r.startWith(rel, uid, 0)
}

func (r *rig) startWith(rel string, uid uint32, flags uintptr) *proc {
	r.Helper()
	d, err := os.Open(r.abs(rel))
	if err != nil {
		r.Fatal(err)
	}
	defer d.Close()
	p := &proc{r: r, cmd: exec.Command("/proc/self/exe")}
	p.cmd.Env = append(os.Environ(), helper+"=1")
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(d.Fd()), Credential: &syscall.Credential{Uid: uid, Gid: uid}, Unshareflags: flags}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		r.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		r.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		r.Fatalf("start helper in %s: %v", rel, err)
	}
	r.Cleanup(p.stop)
	p.out = bufio.NewReader(out)
	if line, err := p.out.ReadString('\n'); line != "ready\n" {
		r.Fatalf("helper in %s: %q, %v", rel, line, err)
	}
	return p
}

func (p *proc) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// do lets the helper try something.
func (p *proc) do(what, rel, text string) unix.Errno {
	p.r.Helper()
	b, err := json.Marshal(operation{what, p.r.abs(rel), text})
	if err != nil {
		p.r.Fatal(err)
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		p.r.Fatal(err)
	}
	line, err := p.out.ReadString('\n')
	var errno uint
	if err == nil {
		err = json.Unmarshal([]byte(line), &errno)
	}
	if err != nil {
		p.r.Fatalf("helper: %q, %v", line, err)
	}
	return unix.Errno(errno)
}

// want fails the test unless the helper gets this errno, 0 for success.
func (p *proc) want(errno unix.Errno, what, rel, text string) {
	p.r.Helper()
	if got := p.do(what, rel, text); got != errno {
		p.r.Errorf("%s %s %q as uid %d: %v, want %v", what, rel, text, p.cmd.SysProcAttr.Credential.Uid, got, errno)
	}
}

// owners returns the owner of a cgroup and of each file in it.
func (r *rig) owners(rel string) map[string]owner {
	r.Helper()
	entries, err := os.ReadDir(r.abs(rel))
	if err != nil {
		r.Fatal(err)
	}
	out := map[string]owner{}
	for _, name := range append([]string{"."}, names(entries)...) {
		var st unix.Stat_t
		if err := unix.Lstat(r.abs(filepath.Join(rel, name)), &st); err != nil {
			r.Fatal(err)
		}
		out[name] = owner{st.Uid, st.Gid}
	}
	return out
}

func names(entries []fs.DirEntry) (out []string) {
	for _, e := range entries {
		if !e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out
}

// controllers enables controllers down to the test's cgroup, and names those
// that the kernel does not have for cgroup v2.
func (r *rig) controllers(want ...string) {
	r.Helper()
	read := func(file string) []string {
		b, err := os.ReadFile(filepath.Join(r.h.mount, file))
		if err != nil {
			r.Fatal(err)
		}
		return strings.Fields(string(b))
	}
	have, enabled := read("cgroup.controllers"), read("cgroup.subtree_control")
	var missing, add []string
	for _, c := range want {
		switch {
		case !slices.Contains(have, c):
			missing = append(missing, c)
		case !slices.Contains(enabled, c):
			add = append(add, c)
		}
	}
	if len(missing) > 0 {
		r.Skipf("cgroup v2 has no controller %s here (they are bound to v1)", strings.Join(missing, ", "))
	}
	if len(add) == 0 {
		return
	}
	// Every system with systemd has enabled these; an init of a test machine may not have.
	control := filepath.Join(r.h.mount, "cgroup.subtree_control")
	if err := os.WriteFile(control, []byte("+"+strings.Join(add, " +")), 0); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		r.remove()
		r.mkdir("") // for the cleanup that follows
		if err := os.WriteFile(control, []byte("-"+strings.Join(add, " -")), 0); err != nil {
			r.Log(err)
		}
	})
}

// ownMounts runs the calling test again in a process with a mount namespace of
// its own, and reports whether this is that process.
func ownMounts(t *testing.T) bool {
	t.Helper()
	const inside = "EYAS_TEST_MOUNTS"
	if os.Getenv(inside) != "" {
		return true
	}
	c := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), inside+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := c.CombinedOutput()
	t.Logf("in its own mount namespace:\n%s", out)
	if err != nil {
		t.Errorf("in its own mount namespace: %v", err)
	}
	return false
}

func (r *rig) mount(from, to, kind string, flags uintptr) {
	r.Helper()
	if err := unix.Mount(from, to, kind, flags, ""); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = unix.Unmount(to, unix.MNT_DETACH) })
}
