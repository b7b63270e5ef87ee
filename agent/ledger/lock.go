package ledger

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// HeldError means that another process has the ledger open.
type HeldError struct {
	Path   string // the lock's file
	Holder string // who wrote into it last, e.g. "pid 812 since 2026-01-02T03:04:05Z"; may be empty
}

func (e *HeldError) Error() string {
	who := e.Holder
	if who == "" {
		who = "another process"
	}
	return fmt.Sprintf("ledger is held by %s: stop that agent, or use another state-dir (lock %s)", who, e.Path)
}

// holderBytes is the size of the text in the lock's file. It never changes, so
// that a full disk cannot leave half of it.
const holderBytes = 64

// lock takes the ledger for this process. The kernel lets go of it with the
// last copy of the description, so a crash leaves no lock.
func lock(path string, now time.Time) (*os.File, error) {
	for range 16 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open lock of the ledger: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			defer f.Close()
			return nil, &HeldError{path, holder(f)}
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock ledger %s: %w", path, err)
		}
		// A lock on a file that was removed meanwhile keeps nobody out.
		if same(f, path) {
			text := fmt.Sprintf("pid %d since %s", os.Getpid(), now.UTC().Format(time.RFC3339))
			if _, err := f.WriteAt(fmt.Appendf(nil, "%-*s\n", holderBytes-1, text), 0); err != nil {
				_ = f.Truncate(0) // a name is a courtesy, a wrong one is not
			}
			return f, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("lock ledger %s: the file is replaced all the time", path)
}

func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// holder reads who has the lock, "" if that cannot be read.
func holder(f *os.File) string {
	b := make([]byte, holderBytes)
	n, _ := f.ReadAt(b, 0)
	s := strings.TrimSpace(string(b[:n]))
	if !strings.HasPrefix(s, "pid ") || checkText(s, holderBytes) != nil {
		return ""
	}
	return s
}
