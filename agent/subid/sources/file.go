package sources

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Bounds of what is read. A file beyond them is an error that names it.
const (
	maxFile    = 32 << 20 // a table of 500,000 users
	maxLine    = 1 << 20  // a group with all of them
	maxEntries = 1 << 20
	maxRecord  = 64 << 10  // a file with a few lines
	maxStatus  = 2 << 20   // 65536 supplementary groups (NGROUPS_MAX)
	maxIDMap   = 64 << 10  // 340 extents of three numbers
	maxMounts  = 256 << 20 // fs.mount-max is 100,000 mounts in a namespace
	maxQuoted  = 64
)

// readFile returns a regular file of at most limit bytes. What is none is not
// waited for: a FIFO would be.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err // an *fs.PathError: names operation and file
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	var b bytes.Buffer
	if n := st.Size(); n > 0 && n <= limit {
		b.Grow(int(n) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("read %s: more than %d bytes", path, limit)
	}
	return b.Bytes(), nil
}

// gone: the process ended while it was read.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) }

// eachLine calls f with the number of each line that is not empty.
func eachLine(text []byte, f func(n int, line []byte) error) error {
	for n := 1; len(text) > 0; n++ {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		if len(line) > maxLine {
			return fmt.Errorf("line %d: more than %d bytes", n, maxLine)
		}
		if n > maxEntries {
			return fmt.Errorf("line %d: more than %d lines", n, maxEntries)
		}
		if len(line) == 0 {
			continue
		}
		if err := f(n, line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

// number reads a decimal id.
func number(b []byte) (uint32, error) {
	v, err := strconv.ParseUint(string(b[:min(len(b), 11)]), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is no number from 0 to 4294967295", quote(b))
	}
	return uint32(v), nil
}

// quote makes foreign text printable, and short.
func quote[T []byte | string](s T) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(string(s[:maxQuoted])) + "…"
	}
	return strconv.QuoteToASCII(string(s))
}
