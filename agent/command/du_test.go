package command

import (
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/disk"
	"github.com/eyas-agent/eyas/collectors/layers"
)

// Of every kind of root, what is known of it and what is not.
func TestDUOutput(t *testing.T) {
	chain := sample(time.Time{}).Chain
	chain[2].Name = "build"
	free, size := uint64(5<<30), uint64(20<<30)
	usage := func(by string, cut ...string) *disk.Usage {
		return &disk.Usage{Bytes: 7 << 20, Files: 12, Directories: 3, Others: 4, Whiteouts: 5, Opaque: 1, Cut: cut, CopiedUp: disk.CopiedUp{
			By: by, Files: 2, Bytes: 6 << 20, MetadataOnly: 9, Largest: []disk.File{{Path: "var/lib/\x1bdb", Size: 1 << 33, Bytes: 5 << 20}, {Path: "b", Size: 1, Bytes: 4096}},
		}}
	}
	overlay := layers.Overlay{
		Container: "33e9d68c4816", Point: "/", Kind: layers.KindOverlay, Device: "0:44", Depth: ptr(1), Layers: 3, FSType: "ext4", Upper: "/var/lib/x/diff",
		Available: &free, Size: &size, Usage: usage(disk.ByOrigin),
	}
	inner, shared, unknown, lower, fuse := overlay, overlay, overlay, overlay, layers.Overlay{
		Container: "393dc72765dc", Point: "/", Kind: layers.KindFuse, FSType: "fuse.fuse-overlayfs", Note: "only its daemon knows where its upper directory is",
	}
	inner.Depth, inner.Usage = ptr(2), usage("", "stopped after 1000000 entries", "2 entries could not be read: \u202e")
	inner.Usage.CopiedUp = disk.CopiedUp{Largest: []disk.File{}}
	shared.Shared = "33e9d68c4816"
	unknown.Depth, unknown.Usage, unknown.Upper, unknown.FSType, unknown.Available, unknown.Size, unknown.Note = nil, nil, "", "", nil, nil, "its upper directory was not found"
	lower.Usage, lower.Point = usage(disk.ByLower), "/mnt\n"
	a := &agent{disks: []answers.Disk{
		{Chain: chain[1:2], Overlay: overlay}, {Chain: chain[1:2], Overlay: lower}, {Chain: chain[1:], Overlay: inner}, {Chain: chain[1:], Overlay: shared},
		{Chain: chain[1:], Overlay: unknown}, {Chain: chain[1:], Overlay: fuse},
	}}
	socket := serve(t, a)
	for _, args := range []string{"du", "du -o wide", "du -o json"} {
		code, out, errs := run(t, append(strings.Fields(args), "--socket", socket)...)
		same(t, args+": code, stderr", []any{0, ""}, []any{code, errs})
		golden(t, strings.ReplaceAll(args, " -o ", "-"), out)
	}
	for args, want := range map[string]string{"du": `disks "", 10 files`, "du web/db --files 3": `disks "web/db", 3 files`} {
		run(t, append(strings.Fields(args), "--socket", socket)...)
		same(t, args, want, a.asked)
	}
	code, _, errs := run(t, "du", "--files=-1", "--socket", socket)
	same(t, "fewer than none", []any{2, "eyas: --files: want 0 or more, got -1\n"}, []any{code, errs})
}
