package disk

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// walkDir walks a directory, which must succeed.
func walkDir(t testing.TB, path string, o Options) Usage {
	t.Helper()
	u, err := walkCtx(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func walkCtx(ctx context.Context, path string, o Options) (Usage, error) {
	d, err := os.Open(path)
	if err != nil {
		return Usage{}, err
	}
	defer d.Close()
	return Walk(ctx, d, o)
}

// du is what du(1) says of a directory: each inode once, on one file system.
func du(t testing.TB, path string) uint64 {
	t.Helper()
	out, err := exec.Command("du", "-s", "-x", "--block-size=1", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.Fields(string(out))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func write(t testing.TB, path string, size int) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, size), 0o644))
}

func same(t testing.TB, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// counts is a usage without its bytes.
func counts(u Usage) Usage {
	u.Bytes = 0
	return u
}

var none = CopiedUp{Largest: []File{}}

// Bytes are those of du, of every kind of file; nothing that acts when opened is.
func TestKinds(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("plain"), 100_000)
	write(t, at("a/b/c/file"), 5000)
	write(t, at("a/empty"), 0)
	must(t, os.Link(at("plain"), at("a/again")), os.Link(at("plain"), at("a/b/and again")),
		os.Symlink("/etc", at("link")), os.Symlink(strings.Repeat("x", 2000), at("long link")), unix.Mkfifo(at("fifo"), 0o600))
	write(t, at("sparse"), 10)
	must(t, os.Truncate(at("sparse"), 1<<33))
	l, err := net.Listen("unix", at("socket"))
	must(t, err)
	defer l.Close()
	for _, name := range []string{"\n", "\xff", " ", "...", "-rf"} {
		write(t, at(name), 1)
	}
	u := walkDir(t, dir, Options{})
	if want := du(t, dir); u.Bytes != want || u.Bytes < 100_000 || u.Bytes > 1<<20 {
		t.Errorf("%d bytes, du says %d", u.Bytes, want)
	}
	same(t, "counts", Usage{Files: 9, Directories: 3, Others: 4, CopiedUp: none}, counts(u))
}

// Marks say what was copied up, by data or metadata, and what hides lower names.
func TestMarks(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	mark := func(path, mark, value string) {
		t.Helper()
		must(t, unix.Lsetxattr(at(path), "user.overlay."+mark, []byte(value), 0))
	}
	for name, size := range map[string]int{"d/big": 50_000, "d/bigger": 90_000, "small": 9000, "equal": 9000, "own": 200_000, "meta": 0, "white": 0, "x": 0} {
		write(t, at(name), size)
	}
	must(t, os.Truncate(at("meta"), 1<<20), os.Mkdir(at("opaque"), 0o755))
	for _, name := range []string{"d/big", "d/bigger", "small", "equal", "meta", "d"} {
		mark(name, "origin", "\x00\xfb")
	}
	mark("meta", "metacopy", "")
	mark("white", "whiteout", "")
	mark("opaque", "opaque", "y")
	mark("d", "opaque", "x") // has whiteouts that are regular files
	file := func(path string, size uint64) File {
		var st unix.Stat_t
		must(t, unix.Lstat(at(path), &st))
		return File{path, size, uint64(st.Blocks) * 512}
	}
	all := []File{file("d/bigger", 90_000), file("d/big", 50_000), file("equal", 9000), file("small", 9000)}
	want := Usage{Files: 7, Directories: 2, Whiteouts: 1, Opaque: 1, CopiedUp: CopiedUp{By: ByOrigin, Files: 4, MetadataOnly: 1}}
	for _, f := range all {
		want.CopiedUp.Bytes += f.Bytes
	}
	for _, n := range []int{0, 1, 3, 4, 100} {
		want.CopiedUp.Largest = all[:min(n, 4)]
		same(t, fmt.Sprint(n, " files"), want, counts(walkDir(t, dir, Options{Files: n, Marks: "user.overlay."})))
	}
	same(t, "without marks", Usage{Files: 8, Directories: 2, CopiedUp: none}, counts(walkDir(t, dir, Options{Files: 9})))
}

// Without marks a file was copied up if the first lower layer that has its name
// has a regular file there, and not behind a link.
func TestLowers(t *testing.T) {
	base := t.TempDir()
	at := func(name string) string { return filepath.Join(base, name) }
	for _, name := range []string{"both", "second", "new", "hidden", "d/inner", "link/file", "hole", "notdir/x"} {
		write(t, at("upper/"+name), 1000)
	}
	must(t, os.Remove(at("upper/hole")))
	write(t, at("upper/hole"), 0)
	must(t, os.Truncate(at("upper/hole"), 5000))
	for _, name := range []string{"1/both", "2/both", "2/second", "2/hidden", "2/d/inner", "2/hole", "1/notdir", "2/notdir/x", "outside/file"} {
		write(t, at(name), 1)
	}
	must(t, os.Mkdir(at("1/hidden"), 0o755), os.Symlink(at("outside"), at("1/link")))
	var o Options
	for _, name := range []string{"1", "2"} {
		f, err := os.OpenFile(at(name), unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		defer f.Close()
		o.Lowers = append(o.Lowers, f)
	}
	o.Files = 9
	u := walkDir(t, at("upper"), o)
	var names []string
	for _, f := range u.CopiedUp.Largest {
		names = append(names, f.Path)
	}
	same(t, "by", ByLower, u.CopiedUp.By)
	same(t, "names", []string{"both", "d/inner", "second"}, names)
}
