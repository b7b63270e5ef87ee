package files

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// list keeps what a tail tells.
type list struct {
	lines []string
	bytes int64 // lost
	times int
	most  int // lines at once; 0: any
}

func (l *list) full() bool { return l.most > 0 && len(l.lines) >= l.most }

func (l *list) entry(e entry, _ int) {
	end := ""
	if !e.end {
		end = "\\"
	}
	l.lines = append(l.lines, fmt.Sprint(e.fd)+" "+string(e.text)+end)
}

func (l *list) lost(n int64) { l.bytes, l.times = l.bytes+n, l.times+1 }

// plain is a root without any defence, for what has nothing to do with it.
type plain string

func (p plain) OpenFile(path string) (*os.File, error) {
	return os.Open(filepath.Join(string(p), path))
}
func (p plain) Stat(path string) (os.FileInfo, error) { return os.Stat(filepath.Join(string(p), path)) }

const stamp = "2026-05-04T03:02:01.123456789Z"

func k8s(text string) string { return stamp + " stdout F " + text + "\n" }

// rig is a file that is followed, and a clock.
type rig struct {
	*testing.T
	list
	tail
	dir string
	at  time.Time
	buf []byte
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, dir: t.TempDir(), at: time.Unix(1e9, 0), buf: make([]byte, maxLine)}
	r.tail = tail{root: plain(r.dir), path: "log", parse: parseK8s}
	t.Cleanup(r.close)
	return r
}

func (r *rig) name(n string) string { return filepath.Join(r.dir, n) }

func (r *rig) write(text string) {
	r.Helper()
	f, err := os.OpenFile(r.name("log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		r.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) do(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// turn lets time go by.
func (r *rig) turn(times int) {
	r.Helper()
	for range times {
		r.at = r.at.Add(lookEvery)
		if _, err := r.step(r.at, r.buf, 1<<20, &r.list); err != nil {
			r.Fatal(err)
		}
	}
}

func (r *rig) want(lines ...string) {
	r.Helper()
	got := strings.Join(r.lines, "|")
	want := "1 " + strings.Join(lines, "|1 ")
	if len(lines) == 0 {
		want = ""
	}
	if got != want {
		r.Errorf("told %.300q, want %.300q", got, want)
	}
	r.lines = nil
}

func TestTail(t *testing.T) {
	for name, f := range map[string]func(*rig){
		"nothing there": func(r *rig) { r.turn(3); r.want() },
		"appended": func(r *rig) {
			r.write(k8s("a") + k8s("b"))
			r.turn(1)
			r.want("a", "b")
			r.turn(3)
			r.want()
			r.write(k8s("c"))
			r.turn(1)
			r.want("c")
		},
		"a line in pieces": func(r *rig) {
			r.write(k8s("a")[:20])
			r.turn(2)
			r.write(k8s("a")[20:])
			r.turn(1)
			r.want("a")
		},
		"renamed and made anew": func(r *rig) {
			r.write(k8s("a"))
			r.turn(1)
			r.do(os.Rename(r.name("log"), r.name("log.1")))
			r.turn(2)
			f, err := os.OpenFile(r.name("log.1"), os.O_WRONLY|os.O_APPEND, 0)
			r.do(err)
			defer f.Close()
			r.write(k8s("c"))
			_, err = f.WriteString(k8s("b")) // the runtime has not opened the new one yet
			r.do(err)
			r.turn(4)
			r.want("a", "b", "c")
			r.write(k8s("d"))
			r.turn(1)
			r.want("d")
		},
		"renamed before it was read": func(r *rig) {
			r.write(k8s("a"))
			r.turn(1)
			r.write(k8s("b"))
			r.do(os.Rename(r.name("log"), r.name("log.1")))
			r.write(k8s("c"))
			r.turn(4)
			r.want("a", "b", "c")
		},
		"removed while it is read": func(r *rig) {
			r.turn(1)
			r.write(k8s("a"))
			r.turn(1)
			r.write(k8s("b"))
			r.do(os.Remove(r.name("log")))
			r.turn(1)
			r.want("a", "b")
			if !r.gone {
				r.Error("it does not say that it is gone")
			}
		},
		"copied and truncated": func(r *rig) {
			r.write(k8s("a") + k8s("b"))
			r.turn(1)
			r.do(os.Truncate(r.name("log"), 0))
			r.turn(1)
			r.write(k8s("c"))
			r.turn(1)
			r.want("a", "b", "c")
		},
		"truncated, and longer than before when looked at": func(r *rig) {
			r.write(k8s("a"))
			r.turn(1)
			r.do(os.Truncate(r.name("log"), 0))
			r.write(k8s("other") + k8s("more"))
			r.turn(1)
			r.want("a", "other", "more")
		},
		"at rest, and awake again": func(r *rig) {
			r.write(k8s("a"))
			r.turn(200)
			if r.file != nil {
				r.Error("it is still open")
			}
			r.write(k8s("b"))
			r.turn(2)
			r.want("a", "b")
		},
		"older than what is told": func(r *rig) {
			r.since, _ = time.Parse(time.RFC3339Nano, "2026-06-01T00:00:00Z")
			r.write(k8s("a"))
			r.turn(1)
			r.write(strings.Replace(k8s("b"), "2026-05", "2026-07", 1))
			r.turn(1)
			r.want("b")
			if !r.old {
				r.Error("it does not say so")
			}
		},
		"what is no line is lost": func(r *rig) {
			r.write("nonsense\n" + k8s("a") + "\x00\x00\n")
			r.turn(1)
			r.want("a")
			if r.bytes != 12 || r.times != 2 {
				r.Errorf("%d bytes lost in %d lines", r.bytes, r.times)
			}
		},
		"a line of 10 GiB": func(r *rig) {
			r.write(k8s("a"))
			r.turn(1)
			r.do(os.Truncate(r.name("log"), 10<<30))
			r.turn(2)
			r.write("\n" + k8s("b"))
			r.turn(1)
			r.want("a", "b")
			if want := int64(10<<30) - int64(len(k8s("a"))) + 1; r.bytes != want {
				r.Errorf("%d bytes lost, want %d", r.bytes, want)
			}
		},
		"a long line that is read": func(r *rig) {
			long := strings.Repeat("x", 3*maxLine/2)
			r.write(long)
			r.turn(2)
			r.write("\n" + k8s("b"))
			r.turn(2)
			r.want("b")
			if r.bytes != int64(len(long)+1) {
				r.Errorf("%d bytes lost, want %d", r.bytes, len(long)+1)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { f(newRig(t)) })
	}
}

// Room is what may be read in one turn, but for the piece that is begun.
func TestRoom(t *testing.T) {
	r := newRig(t)
	r.write(strings.Repeat(k8s("x"), 20000))
	n, err := r.step(r.at, r.buf, 1000, &r.list)
	if err != nil || n != maxLine {
		t.Errorf("read %d bytes: %v", n, err)
	}
	r.turn(10)
	if len(r.lines) != 20000 || r.bytes != 0 {
		t.Errorf("%d lines, %d bytes lost", len(r.lines), r.bytes)
	}
}
