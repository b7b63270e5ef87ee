package stormtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/test/storm/account"
)

// The oracle asks /proc and the namespaces themselves; it shares no code with storm.

// live is what /proc shows of one container.
type live struct{ Processes, Threads, Zombies uint64 }

// scan counts the tasks of each pid namespace, by its inode number.
func scan(t *testing.T) map[uint64]live {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	found := map[uint64]live{}
	for _, dir := range dirs {
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue // a process of the machine that has just ended
		}
		inode, err := inodeOf(dir + "/ns/pid")
		if err != nil {
			continue // the same, or a zombie, which has no namespaces any more
		}
		tasks, err := os.ReadDir(dir + "/task")
		if err != nil {
			continue
		}
		l := found[inode]
		if stat[bytes.LastIndexByte(stat, ')')+2] == 'Z' {
			l.Zombies++
		} else {
			l.Processes++
			l.Threads += uint64(len(tasks) - 1)
		}
		found[inode] = l
	}
	return found
}

func inodeOf(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// depth counts the ancestors of a namespace up to the reader's own.
func depth(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		parent, err := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		unix.Close(fd)
		if errors.Is(err, unix.EPERM) { // above what this process may see: its own was the last
			return n
		}
		if err != nil {
			t.Fatalf("parent of %s: %v", path, err)
		}
		fd = parent
	}
}

func mapOf(t *testing.T, path string) []account.Extent {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var extents []account.Extent
	for line := range strings.Lines(string(text)) {
		var e account.Extent
		if _, err := fmt.Sscan(line, &e.Inside, &e.Outside, &e.Count); err != nil {
			t.Fatalf("%s: %q: %v", path, line, err)
		}
		extents = append(extents, e)
	}
	return extents
}

// tasksBorn is the kernel's count of every process and thread since boot.
func tasksBorn(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(line, "processes "); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no processes line in /proc/stat")
	return 0
}

// cgroupParent makes a cgroup v2 directory of the test's own, below the root of
// wherever it is mounted.
func cgroupParent(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if !strings.Contains(line, " - cgroup2 ") || len(fields) < 5 {
			continue
		}
		dir, err := os.MkdirTemp(fields[4], "eyas-storm-test-")
		if err != nil {
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
				continue
			}
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		return dir
	}
	t.Skip("cgroup v2 is not mounted writable")
	return ""
}
