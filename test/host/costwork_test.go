//go:build host

package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// costOps are what BenchmarkHookCosts measures, in the worker's words. The first
// three pass no hook.
var costOps = []struct {
	name  string
	times int  // in a round
	host  bool // also of a process that is not nested
}{
	{"getppid", 20_000, false},
	{"tmpfs-pread", 5000, false},
	{"tmpfs-pwrite", 5000, false},
	{"overlay-pread", 5000, true},
	{"overlay-pwrite", 5000, true},
	{"copy-up-1MiB", 4, true},
	{"refused-sethostname", 2000, false},
	{"refused-chown", 2000, false},
}

// costs does, line by line, one round of what a line names, and tells the mean time
// of a call.
func (w overlayWorker) costs(in *bufio.Reader) error {
	goruntime.LockOSThread() // whose time it is
	ops, err := w.costRounds()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimSpace(line)
		for _, op := range costOps {
			if op.name != name {
				continue
			}
			took, err := ops[name](op.times)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Println(float64(took.Nanoseconds()) / float64(op.times))
		}
	}
}

// timed runs one call a number of times, and returns the processor time of this
// thread: Go's others are busy now and then.
func timed(call func(i int) error) func(int) (time.Duration, error) {
	return func(times int) (time.Duration, error) {
		var start, end unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &start); err != nil {
			return 0, err
		}
		for i := range times {
			if err := call(i); err != nil {
				return 0, err
			}
		}
		err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &end)
		return time.Duration(end.Nano() - start.Nano()), err
	}
}

func (w overlayWorker) costRounds() (map[string]func(int) (time.Duration, error), error) {
	buf, files := make([]byte, 4096), map[string]int{}
	for _, name := range []string{"aside", "merged/file"} {
		if err := os.WriteFile(w.at(name), make([]byte, 1<<20), 0o644); err != nil {
			return nil, err
		}
		fd, err := unix.Open(w.at(name), unix.O_RDWR|unix.O_CLOEXEC, 0) // for good
		if err != nil {
			return nil, err
		}
		files[name] = fd
	}
	pread := func(name string) func(int) (time.Duration, error) {
		return timed(func(i int) error { _, err := unix.Pread(files[name], buf, int64(i%256)*4096); return err })
	}
	pwrite := func(name string) func(int) (time.Duration, error) {
		return timed(func(i int) error { _, err := unix.Pwrite(files[name], buf, int64(i%256)*4096); return err })
	}
	return map[string]func(int) (time.Duration, error){
		"getppid":        timed(func(int) error { unix.Getppid(); return nil }),
		"tmpfs-pread":    pread("aside"),
		"tmpfs-pwrite":   pwrite("aside"),
		"overlay-pread":  pread("merged/file"),
		"overlay-pwrite": pwrite("merged/file"),
		"copy-up-1MiB":   w.copyUps,
		// Of the node's UTS namespace, and to an id that the container has not.
		"refused-sethostname": timed(func(int) error { return mustRefuse(unix.Sethostname([]byte("no")), unix.EPERM) }),
		"refused-chown":       timed(func(int) error { return mustRefuse(unix.Chown(w.at("aside"), 70_000, -1), unix.EINVAL) }),
	}, nil
}

func mustRefuse(err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%w, not %w", err, want)
	}
	return nil
}

// copyUps opens files of 1 MiB for writing, on an overlay of its own whose upper
// directory is empty.
func (w overlayWorker) copyUps(times int) (time.Duration, error) {
	for _, dir := range []string{"big", "costs/upper", "costs/work", "costs/merged"} {
		if err := os.MkdirAll(w.at(dir), 0o755); err != nil {
			return 0, err
		}
	}
	name := func(i int) string { return fmt.Sprint("file", i) }
	for i := range times {
		if err := os.WriteFile(w.at("big/"+name(i)), make([]byte, 1<<20), 0o644); err != nil {
			return 0, err
		}
	}
	o := fmt.Sprintf("userxattr,lowerdir=%s,upperdir=%s,workdir=%s", w.at("big"), w.at("costs/upper"), w.at("costs/work"))
	if err := unix.Mount("overlay", w.at("costs/merged"), "overlay", 0, o); err != nil {
		return 0, err
	}
	took, err := timed(func(i int) error {
		fd, err := unix.Open(w.at("costs/merged/"+name(i)), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	})(times)
	return took, errors.Join(err, unix.Unmount(w.at("costs/merged"), 0), os.RemoveAll(w.at("costs")))
}
