package evidence

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	maxFile   = 1 << 20  // bytes of a file that is about one container
	maxLookup = 16 << 20 // bytes read for one question, over all files
	maxErrors = 8        // errors kept of one
)

// lookup is one search through many places of a sandbox. A tenant can fill all
// of them, so what it may cost is bounded as a whole.
type lookup struct {
	root   *Root
	budget int64
	errs   []error
}

// read reads a file, and reports false if there is none or it is refused.
func (l *lookup) read(path string, limit int64) ([]byte, bool) {
	b, err := l.root.read(path, min(limit, l.budget))
	l.budget -= int64(len(b))
	if err != nil {
		if !absent(err) && len(l.errs) < maxErrors {
			l.errs = append(l.errs, err)
		}
		return nil, false
	}
	return b, true
}

// note keeps what is wrong with a file's content.
func (l *lookup) note(path string, err error) {
	if err != nil && len(l.errs) < maxErrors {
		l.errs = append(l.errs, fmt.Errorf("read %q below a sandbox's root: %w", path, err))
	}
}

// absent reports an error that only says that there is no such file.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}
