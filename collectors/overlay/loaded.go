package overlay

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// ErrNotLoaded means that nobody has used overlay since boot: there is nothing
// to count.
var ErrNotLoaded = errors.New("the kernel has not loaded overlay: nothing here uses it yet")

// Loaded reports whether the kernel has overlay, built in or as a module.
func Loaded(proc string) bool { return loaded(proc, "overlay") }

func loaded(proc, name string) bool {
	b, err := os.ReadFile(filepath.Join(proc, "filesystems"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 0 && f[len(f)-1] == name {
			return true
		}
	}
	return false
}
