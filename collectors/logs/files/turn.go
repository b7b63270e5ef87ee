package files

import (
	"bytes"
	"errors"
	"io/fs"
	"time"
)

// open opens the file, if there is one and it is not at rest.
func (t *tail) open(now time.Time) (bool, error) {
	if now.Sub(t.looked) < lookEvery {
		return false, nil
	}
	t.looked = now
	s, err := t.root.Stat(t.path)
	t.gone = errors.Is(err, fs.ErrNotExist)
	if err != nil {
		if t.gone {
			err = nil
		}
		return false, err
	}
	if t.begun && idOf(s) == t.id && s.Size() == t.size || !t.takes(idOf(s)) {
		return false, nil
	}
	f, err := t.root.OpenFile(t.path)
	if err != nil {
		return false, err
	}
	if s, err = f.Stat(); err != nil {
		return false, errors.Join(err, f.Close())
	}
	id := idOf(s)
	if !t.takes(id) { // another one by now
		return false, f.Close()
	}
	if id != t.id || !t.begun {
		t.pos, t.skip, t.size, t.last = 0, false, 0, t.last[:0]
	}
	t.file, t.id, t.grew, t.turned = f, id, now, time.Time{}
	if !t.begun {
		t.begun = true
		t.leaveOut(s.Size())
	}
	return true, nil
}

func (t *tail) takes(id fileID) bool { return t.mine == nil || t.mine(id) }

// leaveOut goes to the end of a file that is older than what is told, by its first
// line. If that cannot be read it is read through, and old lines are left out.
func (t *tail) leaveOut(size int64) {
	buf := make([]byte, 4<<10)
	n, _ := t.file.ReadAt(buf[:min(int64(len(buf)), size)], 0)
	line, _, _ := bytes.Cut(buf[:n], []byte{'\n'})
	e, ok := t.parse(line)
	if !ok || !e.time.Before(t.since) {
		return
	}
	if n, _ = t.file.ReadAt(buf[:1], size-1); n == 1 {
		t.pos, t.size, t.skip, t.old = size, size, buf[0] != '\n', true
	}
}

// turn looks whether the path leads to another file by now, and follows that when
// nobody writes to this one any more. A file that nobody writes to is closed.
func (t *tail) turn(now time.Time, to heard) error {
	if now.Sub(t.looked) >= lookEvery {
		t.looked = now
		s, err := t.root.Stat(t.path)
		t.gone = errors.Is(err, fs.ErrNotExist)
		switch {
		case err != nil && !t.gone:
			return err
		case err == nil && idOf(s) == t.id:
			t.turned = time.Time{}
		case t.turned.IsZero() && err == nil:
			t.turned = now
		}
	}
	rests := now.Sub(t.grew)
	if !t.turned.IsZero() && now.Sub(t.turned) >= turnAfter && rests >= turnAfter {
		if t.pos < t.size {
			to.lost(t.size - t.pos)
		}
		t.close()
		t.looked = time.Time{}
		return nil
	}
	if rests >= parkAfter {
		t.close()
	}
	return nil
}
