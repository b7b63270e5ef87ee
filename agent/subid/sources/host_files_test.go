package sources

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/subid"
)

const podRecord = `{"uidMappings":[{"hostId":805306368,"containerId":0,"length":65536}],"gidMappings":[{"hostId":805306368,"containerId":0,"length":65536}]}`

func newHost(t *testing.T) (tree, Host) {
	p := newTree(t)
	p.process(70, map[string]string{"uid_map": "0 1073741824 65536\n", "gid_map": "0 1073807360 65536\n"})
	p.process(71, map[string]string{"uid_map": "0 1073741824 65536\n", "gid_map": "0 1073807360 65536\n"})
	p.link("70/ns/user", "user:[4026532100]")
	p.link("71/ns/user", "user:[4026532100]")
	etc := tree{t, t.TempDir()}
	etc.write("passwd", "root:x:0:0::\nkubelet:x:990:990::\n")
	etc.write("group", "root:x:0:\nbad\n")
	etc.write("subuid", "kubelet:805306368:268435456\neyas:1073741824:268435456\n")
	etc.write("subgid", "kubelet:805306368:268435456\neyas:1073741824:268435456\n")
	etc.write("nsswitch.conf", "subid: sss\n")
	etc.write("kubelet/pods/0a1b/userns", podRecord)
	etc.write("kubelet/pods/0a1c/volumes/x", "")
	return etc, Host{Etc: etc.dir, Proc: p.dir, Kubelet: filepath.Join(etc.dir, "kubelet"), Own: "eyas"}
}

func TestSnapshot(t *testing.T) {
	_, h := newHost(t)
	s, err := h.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	taken := subid.NewTaken(s.Claims)
	for id, want := range map[uint32]string{
		0: "systemd", 805306368: "kubelet", 1073741824: "uids of a live user namespace (user:[4026532100], process 7", 1073807360: "gids of a live", 2147352576: "foreign",
	} {
		if c, ok := taken.By(id); !ok || !strings.Contains(c.Source, want) && id != 0 {
			t.Errorf("%d: %+v, %v, want %q", id, c, ok, want)
		}
	}
	if c, ok := taken.By(1073872896); ok {
		t.Errorf("the own range is taken: %+v", c)
	}
	var kinds []string
	for _, w := range s.Warnings {
		kinds = append(kinds, string(w.Kind))
	}
	if got := strings.Join(kinds, " "); got != "malformed subid-exclusive" || s.KubeletRange != (subid.Range{Start: 805306368, Count: 268435456}) {
		t.Errorf("%v, kubelet %v", s.Warnings, s.KubeletRange)
	}
	pods := 0
	for _, c := range s.Claims {
		if strings.HasPrefix(c.Source, `pod "0a1b"`) {
			pods++
		}
	}
	if pods != 1 {
		t.Errorf("%d claims of the pod", pods)
	}
	if s, err := (Host{Etc: "/nonexistent", Proc: h.Proc, Kubelet: "/nonexistent"}).Snapshot(); err != nil || s.KubeletRange != (subid.Range{}) {
		t.Errorf("without files: %v, %v", s, err)
	}
}

// What cannot be read is an error that names it, never a source that is empty.
func TestSnapshotFailsClosed(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(etc tree, h *Host) error
		want  string
	}{
		"passwd is a directory": {func(e tree, _ *Host) error {
			return errors.Join(os.Remove(e.dir+"/passwd"), os.Mkdir(e.dir+"/passwd", 0o755))
		}, "passwd: not a regular file"},
		"subuid is a fifo": {func(e tree, _ *Host) error {
			return errors.Join(os.Remove(e.dir+"/subuid"), unix.Mkfifo(e.dir+"/subuid", 0o644))
		}, "subuid: not a regular file"},
		"group is too large": {func(e tree, _ *Host) error { return os.Truncate(e.dir+"/group", maxFile+1) }, "group: more than"},
		"pod record":         {func(e tree, _ *Host) error { e.write("kubelet/pods/0a1b/userns", "{"); return nil }, "0a1b/userns"},
		"pods is a file": {func(e tree, _ *Host) error {
			defer e.write("kubelet/pods", "")
			return os.RemoveAll(e.dir + "/kubelet/pods")
		}, "kubelet's pods"},
		"subuid is a link to nothing": {func(e tree, _ *Host) error {
			return errors.Join(os.Remove(e.dir+"/subuid"), os.Symlink("/mnt/later/subuid", e.dir+"/subuid"))
		}, "subuid: is a link to what is not there"},
		"kubelet's directory is a link to nothing": {func(e tree, _ *Host) error {
			return errors.Join(os.RemoveAll(e.dir+"/kubelet"), os.Symlink("/mnt/later/kubelet", e.dir+"/kubelet"))
		}, "kubelet: is a link to what is not there"},
		"the node's root": {func(_ tree, h *Host) error { h.Node.Path = "/nonexistent"; return nil }, "passwd: open root directory /nonexistent"},
		"procfs":          {func(_ tree, h *Host) error { h.Proc = "/nonexistent"; return nil }, "live user namespaces"},
		"id map":          {func(_ tree, h *Host) error { tree{t, h.Proc}.write("70/uid_map", "x"); return nil }, "70/uid_map: line 1"},
	} {
		etc, h := newHost(t)
		if err := tc.spoil(etc, &h); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Snapshot(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// Most processes are in the host's own user namespace, which claims nothing: their
// maps are not read. Where the namespace cannot be told, the map is.
func TestSnapshotPassesHostProcesses(t *testing.T) {
	_, h := newHost(t)
	proc := tree{t, h.Proc}
	proc.write("50/uid_map", "x")
	if _, err := h.Snapshot(); err != nil {
		t.Errorf("a map that says nothing new was read: %v", err)
	}
	if err := os.Remove(filepath.Join(h.Proc, "50/ns/user")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Snapshot(); err == nil || !strings.Contains(err.Error(), "50/uid_map") {
		t.Errorf("a process of an unknown namespace was passed: %v", err)
	}
}

// For an agent in a pod a link of the node's is the node's, not the image's: what it
// leads to claims ids.
func TestSnapshotLinked(t *testing.T) {
	etc, h := newHost(t)
	node := tree{t, t.TempDir()}
	if err := os.CopyFS(node.dir+"/nix/etc", os.DirFS(etc.dir)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("/nix/etc", node.dir+"/etc"), os.MkdirAll(node.dir+"/var/lib", 0o755), os.Symlink("/nix/etc/kubelet", node.dir+"/var/lib/kubelet"),
		os.Rename(node.dir+"/nix/etc/subuid", node.dir+"/nix/subuid"), os.Symlink("/nix/subuid", node.dir+"/nix/etc/subuid")); err != nil {
		t.Fatal(err)
	}
	h.Node.Path, h.Etc, h.Kubelet = node.dir, "/etc", "/var/lib/kubelet"
	s, err := h.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, c := range s.Claims {
		sources = append(sources, c.Source)
	}
	all := strings.Join(sources, "\n")
	for _, want := range []string{"/etc/passwd line 1", "/etc/subuid line 1", `pod "0a1b" (/var/lib/kubelet/pods/0a1b/userns)`} {
		if !strings.Contains(all, want) {
			t.Errorf("no claim of %s in:\n%s", want, all)
		}
	}
}
