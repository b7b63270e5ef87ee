package evidence

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ReadFile returns the content of a regular file of at most limit bytes, below
// the root whatever the tenant does meanwhile.
func (r *Root) ReadFile(path string, limit int64) ([]byte, error) { return r.read(path, limit) }

// Look opens a path below the root only to be looked at (O_PATH), which acts on
// nothing; a link as last component is itself what is looked at. The caller
// closes it.
func (r *Root) Look(path string) (*os.File, error) {
	f, err := r.open(path, unix.O_PATH)
	if err != nil {
		return nil, fmt.Errorf("look at %q below a sandbox's root: %w", path, err)
	}
	return f, nil
}
