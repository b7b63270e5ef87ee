package files

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// root is what files are below; *evidence.Root is one.
type root interface {
	OpenFile(path string) (*os.File, error)
	Stat(path string) (os.FileInfo, error)
}

// Bounds of following one file.
const (
	maxLine   = 256 << 10 // bytes of a line of a file; longer ones are dropped
	maxBehind = 64 << 20  // bytes that may wait to be read; what is more is dropped
	lookEvery = 300 * time.Millisecond
	turnAfter = 300 * time.Millisecond // how long a file that was renamed may still grow
	parkAfter = 30 * time.Second       // a file at rest is closed
	tailBytes = 32                     // kept of what was read last
)

// tail follows the file at a path: what is appended, its truncation, and the next
// file of that name. It holds nothing of a line that has no end yet. It belongs to one
// goroutine.
type tail struct {
	root  root
	path  string
	parse parser
	since time.Time         // what is older is not told
	mine  func(fileID) bool // whether nobody else reads the file; nil: nobody does

	file   *os.File
	id     fileID
	begun  bool // it was open once
	old    bool // and what is told began behind its beginning
	pos    int64
	size   int64 // when it was looked at last
	skip   bool  // pos is in a line that is dropped
	last   []byte
	grew   time.Time // something was read, or is new, last
	looked time.Time // at the path
	turned time.Time // since when the path leads to another file; zero: it does not
	gone   bool      // the path leads nowhere
}

// fileID names a file for as long as it is open.
type fileID struct{ dev, inode uint64 }

func idOf(s os.FileInfo) fileID {
	st, ok := s.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{st.Dev, st.Ino}
}

// heard takes what a tail finds, until it is full. What was lost are bytes of the file.
type heard interface {
	entry(e entry, bytes int)
	lost(bytes int64)
	full() bool
}

// step reads what is new, into buf, until room is used, to is full or nothing is left,
// and returns how much it read. An error is of the file, and passes or does not.
func (t *tail) step(now time.Time, buf []byte, room int, to heard) (n int, err error) {
	if t.file == nil {
		if ok, err := t.open(now); !ok {
			return 0, err
		}
	}
	s, err := t.file.Stat()
	if err != nil {
		return 0, err
	}
	if s.Size() < t.pos || s.Size() != t.size && !t.follows(buf) {
		t.pos, t.skip, t.last = 0, false, t.last[:0] // truncated
	}
	if s.Size() != t.size {
		t.size, t.grew = s.Size(), now
	}
	if behind := t.size - t.pos; behind > maxBehind {
		to.lost(behind)
		t.pos, t.skip = t.size, true
		t.remember(nil)
	}
	for t.pos < t.size && n < room && !to.full() {
		got, used, err := t.read(buf, to)
		n += got
		if err != nil {
			return n, err
		}
		if used == 0 {
			break // a line that has no end yet
		}
	}
	if n < room && !to.full() {
		return n, t.turn(now, to)
	}
	return n, nil
}

// read reads a piece and hands over the lines that end in it. used: how far it came.
func (t *tail) read(buf []byte, to heard) (got, used int, err error) {
	buf = buf[:min(int64(len(buf)), t.size-t.pos)]
	got, err = t.file.ReadAt(buf, t.pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return got, 0, err
	}
	for rest := buf[:got]; len(rest) > 0; rest = buf[used:got] {
		if to.full() {
			got = used // the rest is read again
			break
		}
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			if t.skip || len(rest) >= maxLine {
				to.lost(int64(len(rest)))
				used, t.skip = got, true
			}
			break
		}
		used += end + 1
		if t.skip {
			to.lost(int64(end + 1))
			t.skip = false
			continue
		}
		if e, ok := t.parse(rest[:end]); !ok {
			to.lost(int64(end + 1))
		} else if !e.time.Before(t.since) {
			to.entry(e, end+1)
		}
	}
	t.pos += int64(used)
	t.remember(buf[:used])
	return got, used, nil
}

// remember keeps the end of what was read, by which a truncated file that grew is known.
func (t *tail) remember(read []byte) {
	t.last = append(t.last[:0], read[max(len(read)-tailBytes, 0):]...)
}

// follows reports whether what was read last is still before pos.
func (t *tail) follows(buf []byte) bool {
	b := buf[:len(t.last)]
	_, err := t.file.ReadAt(b, t.pos-int64(len(b)))
	return err == nil && bytes.Equal(b, t.last) || len(b) == 0
}

// rests reports whether nothing is left to be read, for some time.
func (t *tail) rests(now time.Time, long time.Duration) bool {
	return t.file == nil || now.Sub(t.grew) >= long
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close() // it was only read
		t.file = nil
	}
}
