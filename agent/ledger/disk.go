package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// disk is all that the ledger does to files, so that tests can let every
// operation fail. Paths are absolute.
type disk interface {
	List(dir string, limit int) ([]fs.DirEntry, error) // an error if there are more than limit
	Read(path string) ([]byte, error)                  // at most maxFile+1 bytes
	Create(path string) (diskFile, error)              // fails if it exists
	Rename(from, to string) error
	Remove(path string) error
	Mkdir(dir string) error
	SyncDir(dir string) error // on a description of its own
}

// diskFile is a file that is being written.
type diskFile interface {
	io.WriteCloser
	Sync() error
}

// osDisk is the operating system.
type osDisk struct{}

func (osDisk) List(dir string, limit int) ([]fs.DirEntry, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(limit + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > limit {
		return nil, fmt.Errorf("%s has more than %d files: remove those that are not leases", dir, limit)
	}
	return entries, nil
}

func (osDisk) Read(path string) ([]byte, error) {
	// Not blocking: the name may have become a pipe since it was listed.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func (osDisk) Create(path string) (diskFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err // not f: a nil *os.File is not a nil diskFile
	}
	return f, nil
}

func (osDisk) Rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) Remove(path string) error     { return os.Remove(path) }

func (osDisk) Mkdir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (osDisk) SyncDir(dir string) error {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
