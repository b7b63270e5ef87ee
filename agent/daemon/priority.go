package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// raisePriority sets the nice value of all threads of this process; those that
// they start inherit it. An agent that starves when a node is overloaded loses
// events just when they are wanted: it needs little time, but soon. Needs
// CAP_SYS_NICE for values below the present one.
func raisePriority(nice int) error {
	tasks, err := filepath.Glob("/proc/self/task/[0-9]*")
	if err != nil {
		return fmt.Errorf("list own threads: %w", err)
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(filepath.Base(t))
		if err != nil {
			continue
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, nice); err != nil {
			if _, gone := os.Stat(t); gone != nil {
				continue
			}
			return fmt.Errorf("set nice value %d: %w: give eyas CAP_SYS_NICE or set nice to 0", nice, err)
		}
	}
	return nil
}
