package explain

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
)

func ptr(n uint32) *uint32 { return &n }

// chain is a pod with ids from 200000 on, in which podman has a user namespace
// of its own (uid 0 is 1000, 1-999 are 1-999), and in that a container of ten ids.
func chain(t *testing.T) []Level {
	t.Helper()
	links := []identity.Link{
		{Kind: "node", Name: "node1", UserNS: 1}, {Name: "pause", UserNS: 1}, {Name: "pod", UserNS: 2}, {Name: "inner", UserNS: 4},
	}
	space := func(ns, parent uint32, uids ...identity.Extent) identity.NSAnswer {
		return identity.NSAnswer{UserNS: ns, Parent: parent, Mapped: true, HostUIDMap: uids, HostGIDMap: uids}
	}
	levels, err := Levels(links, []identity.NSAnswer{
		space(4, 3, identity.Extent{First: 0, Host: 201000, Count: 1}, identity.Extent{First: 1, Host: 200001, Count: 9}),
		space(3, 2, identity.Extent{First: 0, Host: 201000, Count: 1}, identity.Extent{First: 1, Host: 200001, Count: 999}),
		space(2, 1, identity.Extent{First: 0, Host: 200000, Count: 65536}), space(9, 1),
	})
	if err != nil {
		t.Fatal(err)
	}
	return levels
}

func TestLevels(t *testing.T) {
	var got []string
	for _, l := range chain(t) {
		got = append(got, l.Name)
	}
	if d := cmp.Diff([]string{"node1 ▸ pause", "pod", "(no container)", "inner"}, got); d != "" {
		t.Error(d)
	}
	links := []identity.Link{{Kind: "node", UserNS: 1}, {UserNS: 2}}
	for name, all := range map[string][]identity.NSAnswer{
		"unknown": nil, "circle": {{UserNS: 2, Parent: 3}, {UserNS: 3, Parent: 2}}, "broken": {{UserNS: 2, Parent: 3}},
	} {
		if _, err := Levels(links, all); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Levels(nil, nil); err == nil {
		t.Error("no chain: no error")
	}
	levels, err := Levels(links, []identity.NSAnswer{{UserNS: 2, Parent: 1, Mapped: true, Partial: true}})
	if err != nil || levels[1].Note == "" {
		t.Error(levels, err)
	}
}

func TestSee(t *testing.T) {
	idmapped := Mount{Idmapped: true, UIDMap: []identity.Extent{{First: 0, Host: 200000, Count: 10}}, GIDMap: []identity.Extent{{First: 0, Host: 200000, Count: 10}}}
	for name, tc := range map[string]struct {
		file File
		uids []string // at each level
		why  []string // parts of it
		at   int
	}{
		"mapped everywhere": {File{Host: IDs{ptr(201000), ptr(200005)}}, []string{"201000", "1000", "0", "0"}, nil, 0},
		"the node's root":   {File{Host: IDs{ptr(0), ptr(200005)}}, []string{"0", "-", "-", "-"}, []string{"level 1 (pod) does not map uid 0 of level 0 (node1 ▸ pause)", "chown 200000 FILE on the node", "200000-265535", "idmapped"}, 1},
		"root of the pod":   {File{Host: IDs{ptr(200000), ptr(200005)}}, []string{"200000", "0", "-", "-"}, []string{"level 2 ((no container)) does not map uid 0 of level 1 (pod)", "chown 1000 FILE at level 1, which makes it uid 0 inside", "/etc/subuid of level 1"}, 2},
		"beyond ten ids":    {File{Host: IDs{ptr(200500), ptr(200005)}}, []string{"200500", "500", "500", "-"}, []string{"level 3 (inner) does not map uid 500 of level 2"}, 3},
		"really nobody":     {File{Host: IDs{ptr(265534), ptr(200005)}}, []string{"265534", "65534", "-", "-"}, []string{"really is uid 65534 at level 1"}, 1},
		"lost in the mount": {File{Disk: IDs{UID: ptr(77)}, Host: IDs{GID: ptr(200005)}, Mount: idmapped}, []string{"-", "-", "-", "-"}, []string{"map (0-9→200000-200009) lacks uid 77", "also on the node", "not idmapped"}, 0},
		"lost, no map": {File{Host: IDs{GID: ptr(200005)}, Mount: Mount{Idmapped: true, Note: "kernel before 6.15"}}, []string{"-", "-", "-", "-"},
			[]string{"most likely lacks the uid that the file has on disk", "kernel before 6.15"}, 0},
	} {
		seen, why := See(tc.file, chain(t), 65534)
		var got []string
		for _, s := range seen {
			if s.UID == nil {
				got = append(got, "-")
				continue
			}
			got = append(got, spanText(*s.UID, 1))
		}
		if d := cmp.Diff(tc.uids, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if len(tc.why) == 0 != (len(why) == 0) || len(why) > 1 {
			t.Errorf("%s: %+v", name, why)
			continue
		}
		for _, part := range tc.why {
			if n := why[0]; n.Kind != "uid" || n.Level != tc.at || !strings.Contains(n.Why+"\n"+n.Fix, part) {
				t.Errorf("%s: want %q at %d in %+v", name, part, tc.at, n)
			}
		}
	}
}

// gids have maps, files and commands of their own.
func TestSeeGID(t *testing.T) {
	_, why := See(File{Host: IDs{ptr(201000), ptr(200000)}}, chain(t), 65534)
	if len(why) != 1 || why[0].Kind != "gid" || !strings.Contains(why[0].Fix, "chgrp 1000 FILE") || !strings.Contains(why[0].Fix, "/etc/subgid") {
		t.Errorf("%+v", why)
	}
}

func TestThroughMount(t *testing.T) {
	m := Mount{Idmapped: true, UIDMap: []identity.Extent{{First: 5, Host: 100, Count: 2}}, GIDMap: []identity.Extent{{First: 1, Host: 65534, Count: 1}}}
	for name, tc := range map[string]struct {
		shown, disk, host IDs
		known             bool
	}{
		"mapped":     {IDs{ptr(101), ptr(65534)}, IDs{ptr(6), ptr(1)}, IDs{ptr(101), ptr(65534)}, true},
		"not mapped": {IDs{ptr(65534), ptr(7)}, IDs{}, IDs{}, true},
		"not known":  {IDs{ptr(65534), ptr(7)}, IDs{}, IDs{nil, ptr(7)}, false},
	} {
		mount := m
		if !tc.known {
			mount.UIDMap, mount.GIDMap = nil, nil
		}
		disk, host := throughMount(mount, tc.shown, 65534, tc.known)
		if d := cmp.Diff([]IDs{tc.disk, tc.host}, []IDs{disk, host}); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// In a pod with hostPID an absolute path is one below the root of pid 1.
func TestLookNode(t *testing.T) {
	dir := t.TempDir()
	proc, root := filepath.Join(dir, "proc"), filepath.Join(dir, "root")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.MkdirAll(filepath.Join(proc, "1"), 0o755), os.Mkdir(root, 0o755), os.Symlink(root, filepath.Join(proc, "1", "root")),
		os.WriteFile(filepath.Join(proc, "1", "mountinfo"), mounts, 0o644), os.WriteFile(filepath.Join(root, "of the node"), nil, 0o604),
		os.Chmod(filepath.Join(root, "of the node"), 0o604),
	); err != nil {
		t.Fatal(err)
	}
	if f, err := LookNode(t.Context(), proc, "/of the node"); err != nil || f.Mode != "0604" || f.Mount.Point == "" {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := LookNode(t.Context(), "/proc", filepath.Join(root, "of the node")); err != nil || f.Mode != "0604" || f.Mount.Point == "" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := LookNode(t.Context(), "/proc", filepath.Join(root, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestFindMount(t *testing.T) {
	const info = "40 27 0:30 / /mnt rw,idmapped,relatime - tmpfs tmpfs rw\n" +
		"4 27 0:31 /x /a\\040b\\134 rw - ext4 /dev/idmapped idmapped\n5 1 0:1 / /\n"
	for id, want := range map[uint64]Mount{
		40: {Point: "/mnt", FSType: "tmpfs", Device: "0:30", Idmapped: true}, 4: {Point: `/a b\`, FSType: "ext4", Device: "0:31"},
	} {
		if got, err := findMount(strings.NewReader(info), id); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%d: %+v, %v", id, got, err)
		}
	}
	for _, id := range []uint64{5, 27, 0} {
		if got, err := findMount(strings.NewReader(info), id); err == nil {
			t.Errorf("%d: %+v", id, got)
		}
	}
}
