package logs

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// renewEvery is how often it is looked whether a file was renamed.
const renewEvery = time.Second

// File is a file that is written to by one goroutine. When it is renamed or removed,
// as by logrotate, it is made anew within a second; no line is split between both.
type File struct {
	path   string
	f      *os.File
	looked time.Time
}

// OpenFile opens a file to append to, or makes it, for its owner alone.
func OpenFile(path string) (*File, error) {
	o := &File{path: path, looked: time.Now()}
	var err error
	if o.f, err = o.open(); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *File) open() (*os.File, error) {
	return os.OpenFile(o.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// Write implements io.Writer.
func (o *File) Write(p []byte) (int, error) { return o.f.Write(p) }

// Renew makes the file anew if its path does not lead to it any more. If that cannot be,
// the old one stays.
func (o *File) Renew(now time.Time) error {
	if now.Sub(o.looked) < renewEvery {
		return nil
	}
	o.looked = now
	was, err := o.f.Stat()
	if err != nil {
		return err
	}
	is, err := os.Stat(o.path)
	if err == nil && os.SameFile(was, is) {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := o.open()
	if err != nil {
		return fmt.Errorf("make logs-output anew: %w", err)
	}
	old := o.f
	o.f = f
	return old.Close()
}

// Close closes the file.
func (o *File) Close() error { return o.f.Close() }
