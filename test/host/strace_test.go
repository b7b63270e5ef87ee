//go:build host

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// straceCalls are the system calls that move bytes of files, and what their result
// adds up to when the first or the second file of their arguments is on the
// overlay. sendfile has the one that is written first.
var straceCalls = map[string][2]struct{ bytes, calls string }{
	"read": {{readBytes, reads}}, "pread64": {{readBytes, reads}}, "readv": {{readBytes, reads}},
	"preadv": {{readBytes, reads}}, "preadv2": {{readBytes, reads}},
	"write": {{writeBytes, writes}}, "pwrite64": {{writeBytes, writes}}, "writev": {{writeBytes, writes}},
	"pwritev": {{writeBytes, writes}}, "pwritev2": {{writeBytes, writes}},
	"splice": {{bytes: spliceFrom}, {bytes: spliceTo}}, "sendfile": {{bytes: spliceTo}, {bytes: spliceFrom}},
	"copy_file_range": {{}, {rangeBytes, ranges}},
}

var (
	straceLine = regexp.MustCompile(`^(\w+)\((.*)\) += (\d+)`)
	straceFile = regexp.MustCompile(`\d<([^>]*)>`)
)

// startStrace follows a process and its children; what it returns ends it and says
// what they did on the overlay.
func startStrace(t *testing.T, pid int) func() map[string]float64 {
	t.Helper()
	names := make([]string, 0, len(straceCalls))
	for name := range straceCalls {
		names = append(names, name)
	}
	log := filepath.Join(t.TempDir(), "log") // one for each thread: no line is torn
	var stderr lockedBuffer
	c := exec.Command("strace", "-ff", "-y", "-s", "0", "-e", "signal=none", "-e", "trace="+strings.Join(names, ","), "-o", log, "-p", strconv.Itoa(pid))
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatalf("%v: run test/deps test", err)
	}
	done := make(chan struct{})
	go func() { _ = c.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = c.Process.Kill() // may be dead
		<-done
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := poll(ctx, done, func() error { return traced(pid) }); err != nil {
		t.Fatalf("strace follows nobody: %v: %s", err, stderr.String())
	}
	return func() map[string]float64 {
		t.Helper()
		if err := c.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatalf("end strace: %v: %s", err, stderr.String())
		}
		<-done
		n, err := sumStrace(log)
		if err != nil {
			t.Fatalf("%v: %s", err, stderr.String())
		}
		return n
	}
}

// traced is an error while a thread of the process has no tracer.
func traced(pid int) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		return errors.New("no thread") // the pattern is fine
	}
	for _, path := range threads {
		status, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.Contains(string(status), "TracerPid:\t0\n") {
			return fmt.Errorf("%s: no tracer", path)
		}
	}
	return nil
}

func sumStrace(log string) (map[string]float64, error) {
	files, err := filepath.Glob(log + ".*")
	if err != nil {
		return nil, err
	}
	sum := map[string]float64{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			m := straceLine.FindStringSubmatch(line)
			if m == nil {
				continue // an error, or what the end of the process cut short
			}
			n, err := strconv.ParseFloat(m[3], 64)
			if err != nil {
				return nil, err
			}
			for i, file := range straceFile.FindAllStringSubmatch(m[2], 2) {
				of := straceCalls[m[1]][i]
				if strings.HasPrefix(file[1], "/mnt/merged/") && of.bytes != "" {
					sum[of.bytes] += n
					if of.calls != "" {
						sum[of.calls]++
					}
				}
			}
		}
	}
	return sum, nil
}
