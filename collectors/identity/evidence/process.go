package evidence

import (
	"time"

	"github.com/prometheus/procfs"
)

// SameProcess reports whether a pid is still the process that began at start, in
// ns since boot. Start times of /proc are in 10 ms ticks.
func SameProcess(proc string, pid int, start uint64) bool {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return false
	}
	x, err := fs.Proc(pid)
	if err != nil {
		return false
	}
	stat, err := x.Stat()
	return err == nil && stat.Starttime == start/uint64(10*time.Millisecond)
}
