//go:build host

package disk

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ownMounts gives the test's thread a mount namespace, which ends with it.
func ownMounts(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	runtime.LockOSThread() // for good
	must(t, unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
}

func mountOverlay(t *testing.T, base, how string) {
	t.Helper()
	for _, dir := range []string{"upper", "work", "merged"} {
		must(t, os.MkdirAll(filepath.Join(base, dir), 0o755))
	}
	o := fmt.Sprintf("%slowerdir=%[2]s/lower,upperdir=%[2]s/upper,workdir=%[2]s/work", how, base)
	must(t, unix.Mount("overlay", filepath.Join(base, "merged"), "overlay", 0, o))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(base, "merged"), 0)) })
}

func appendTo(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString("x")
	must(t, err, f.Close())
}

// TestOverlay holds what is told of real overlays against what was done to them,
// on this machine's disk and in memory, and with either kind of marks.
func TestOverlay(t *testing.T) {
	for _, name := range []string{"disk", "memory", "disk userxattr", "disk metacopy"} {
		t.Run(name, func(t *testing.T) {
			ownMounts(t)
			base := t.TempDir()
			if name == "memory" {
				must(t, unix.Mount("tmpfs", base, "tmpfs", 0, "size=16m"))
				t.Cleanup(func() { must(t, unix.Unmount(base, 0)) })
			}
			how, o := "", Options{Files: 3, Marks: "trusted.overlay."}
			switch name {
			case "disk userxattr":
				how, o.Marks = "userxattr,", "user.overlay."
			case "disk metacopy":
				how = "metacopy=on,"
			}
			at := func(name string) string { return filepath.Join(base, name) }
			for i := 1; i <= 5; i++ {
				write(t, at(fmt.Sprintf("lower/d/up%d", i)), i*20_000)
			}
			write(t, at("lower/moved"), 70_000)
			write(t, at("lower/meta"), 300_000)
			write(t, at("lower/left"), 300_000)
			write(t, at("lower/replaced"), 300_000)
			for _, name := range []string{"lower/gone", "lower/gone too", "lower/hidden/x", "lower/dir gone/x"} {
				write(t, at(name), 10)
			}
			mountOverlay(t, base, how)
			for i := 1; i <= 5; i++ {
				appendTo(t, at(fmt.Sprintf("merged/d/up%d", i)))
			}
			appendTo(t, at("merged/moved"))
			must(t, os.Rename(at("merged/moved"), at("merged/d/moved")), os.Chmod(at("merged/meta"), 0o600),
				os.Remove(at("merged/gone")), os.Remove(at("merged/gone too")), os.RemoveAll(at("merged/dir gone")),
				os.RemoveAll(at("merged/hidden")), os.Mkdir(at("merged/hidden"), 0o755), os.Remove(at("merged/replaced")))
			write(t, at("merged/replaced"), 400_000)
			write(t, at("merged/hidden/new"), 400_000)
			write(t, at("merged/sparse"), 1)
			must(t, os.Truncate(at("merged/sparse"), 1<<22), os.Link(at("merged/replaced"), at("merged/d/replaced")),
				unix.Mkfifo(at("merged/fifo"), 0o600), unix.Mknod(at("merged/null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))),
				unix.Mknod(at("merged/tape"), unix.S_IFBLK|0o600, int(unix.Mkdev(240, 9))), os.Symlink("/", at("merged/link")))
			l, err := net.Listen("unix", at("upper/s"))
			must(t, err)
			defer l.Close()
			unix.Sync()

			u := walkDir(t, at("upper"), o)
			if want := du(t, at("upper")); u.Bytes != want {
				t.Errorf("%d bytes, du says %d", u.Bytes, want)
			}
			var st unix.Stat_t
			file := func(name string, size uint64) File {
				must(t, unix.Lstat(at("upper/"+name), &st))
				return File{name, size, uint64(st.Blocks) * 512}
			}
			meta := file("meta", 300_000)
			// d, hidden; up1–5, moved, meta, replaced, new, sparse
			want := Usage{Files: 10, Directories: 2, Others: 5, Whiteouts: 4, Opaque: 1, CopiedUp: CopiedUp{By: ByOrigin, Files: 7, Largest: []File{
				meta, file("d/up5", 100_001), file("d/up4", 80_001),
			}}}
			for i := 1; i <= 5; i++ {
				want.CopiedUp.Bytes += file(fmt.Sprint("d/up", i), 0).Bytes
			}
			want.CopiedUp.Bytes += file("d/moved", 0).Bytes + meta.Bytes
			if name == "disk metacopy" {
				want.CopiedUp.Files, want.CopiedUp.MetadataOnly = 6, 1
				want.CopiedUp.Bytes -= meta.Bytes
				want.CopiedUp.Largest = []File{file("d/up5", 100_001), file("d/up4", 80_001), file("d/moved", 70_001)}
			}
			same(t, "counts", want, counts(u))

			lower, err := os.OpenFile(at("lower"), unix.O_PATH|unix.O_DIRECTORY, 0)
			must(t, err)
			defer lower.Close()
			o.Marks, o.Lowers, o.Files = "", []*os.File{lower}, 9
			var names []string
			for _, f := range walkDir(t, at("upper"), o).CopiedUp.Largest {
				names = append(names, f.Path)
			}
			// Without marks one that moved is not seen, and one that was replaced is.
			by := "replaced meta d/up5 d/up4 d/up3 d/up2 d/up1"
			if name == "disk metacopy" {
				by = strings.Replace(by, "meta ", "", 1)
			}
			if got := strings.Join(names, " "); got != by && got != strings.Replace(by, "replaced ", "", 1) {
				t.Errorf("by the lower layer: %s, want %s", got, by) // the other name of replaced may come first
			}
		})
	}
}

// TestMountsInside: what somebody mounted inside is neither counted nor entered.
func TestMountsInside(t *testing.T) {
	ownMounts(t)
	base := t.TempDir()
	at := func(name string) string { return filepath.Join(base, name) }
	for _, dir := range []string{"upper/memory", "upper/bound", "outside"} {
		must(t, os.MkdirAll(at(dir), 0o755))
	}
	write(t, at("outside/secret"), 1<<20)
	write(t, at("upper/file"), 10)
	write(t, at("upper/over"), 10)
	must(t, unix.Mount("tmpfs", at("upper/memory"), "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must(t, unix.Unmount(at("upper/memory"), 0)) })
	must(t, unix.Mount(at("outside"), at("upper/bound"), "", unix.MS_BIND, "")) // of the same file system
	t.Cleanup(func() { must(t, unix.Unmount(at("upper/bound"), 0)) })
	must(t, unix.Mount(at("outside/secret"), at("upper/over"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(at("upper/over"), 0)) })
	u := walkDir(t, at("upper"), Options{})
	if u.Bytes > 64<<10 {
		t.Errorf("%d bytes", u.Bytes)
	}
	same(t, "counts", Usage{Files: 1, CopiedUp: none, Cut: []string{"3 mount points inside were not entered"}}, counts(u))
}
