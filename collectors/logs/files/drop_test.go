package files

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestDrop: roots that nobody has any more make room for others, unless a file below is
// open. That there are too many is said, once.
func TestDrop(t *testing.T) {
	const usual = "/var/lib/containers/storage"
	p := &fakeProc{T: t, dir: t.TempDir()}
	v := &view{key: "t", pidns: identity.NSKey{Inum: 100}, init: identity.ProcessKey{PID: 7}, children: map[string][]child{}}
	p.proc(7, 1, "100", "100", "sh", "")
	for i := 1; i <= maxRoots; i++ { // with that of the first process one too many
		mnt := strconv.Itoa(100 + i)
		p.proc(20+i, 7, mnt, "100", "conmon", "")
		p.proc(40+i, 20+i, mnt, mnt, "sh", "")
		p.store(mnt, usual)
	}
	begin := func(i int) {
		v.children[fmt.Sprint(i)] = []child{{box: bpf.LogBox{PIDNS: uint32(100 + i)}, init: identity.ProcessKey{PID: identity.HostPID(40 + i)}}}
	}
	var log bytes.Buffer
	s := newSandbox(t, New(Options{Proc: filepath.Join(p.dir, "proc"), Log: zerolog.New(&log)}))
	now := time.Now()
	look := func(after time.Duration) {
		now = now.Add(after)
		s.look(v, now)
	}
	has := func(want ...int) {
		t.Helper()
		var got []int
		for ns := range s.roots {
			var n int
			if _, err := fmt.Sscanf(ns, "mnt:[%d]", &n); err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("roots of %v, want %v", got, want)
		}
	}
	for i := 1; i < maxRoots; i++ {
		begin(i)
	}
	look(0)
	begin(maxRoots)
	look(storesEvery)
	look(storesEvery)
	has(100, 101, 102, 103, 104, 105, 106, 107)
	if bytes.Count(log.Bytes(), []byte("\n")) != 1 {
		t.Errorf("said: %s", log.String())
	}

	// Two files are known, one of them is open.
	p.do(os.WriteFile(filepath.Join(p.root("101"), "log"), nil, 0o600))
	open, err := s.roots["mnt:[101]"].root.OpenFile("/log")
	p.do(err)
	s.files["open"] = &follow{tail: tail{root: s.roots["mnt:[101]"].root, path: "/log", file: open}}
	s.files[someID] = &follow{tail: tail{root: s.roots["mnt:[102]"].root, path: "/log"}}
	dead := s.roots["mnt:[102]"].root
	for i := 1; i <= 3; i++ {
		delete(v.children, fmt.Sprint(i))
	}
	look(storesEvery)
	has(100, 101, 102, 103, 104, 105, 106, 107) // there may be something left below
	look(lastTurns)
	has(100, 101, 104, 105, 106, 107, 108)
	if err := dead.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the root is still open: %v", err)
	}
	s.list(now)
	f := s.files[someID]
	if !slices.ContainsFunc([]string{"101", "104", "105", "106", "107", "108"}, func(mnt string) bool { return f.root == root(s.roots["mnt:["+mnt+"]"].root) }) {
		t.Errorf("the file is not found again: %+v", f.tail)
	}

	s.files["open"].close()
	look(lastTurns)
	has(100, 101, 104, 105, 106, 107, 108) // there is room
	look(keepRoot)
	has(100, 104, 105, 106, 107, 108)
}
