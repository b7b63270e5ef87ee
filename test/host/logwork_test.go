//go:build host

package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// logWorkEnv makes this program one that writes: costs, moved, or flood and quiet with how
// long.
const logWorkEnv = "EYAS_LOG_WORK"

// logWriter is this program as such, nested as the first process of a pid namespace or
// not at all.
func logWriter(work string, nested bool) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = []string{logWorkEnv + "=" + work, "GOGC=off"}
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if nested {
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	}
	return c
}

func logWork() error {
	work, long, _ := strings.Cut(os.Getenv(logWorkEnv), " ")
	switch work {
	case "costs":
		return logCosts()
	case "moved":
		return logMoved()
	}
	d, err := time.ParseDuration(long)
	if err != nil {
		return err
	}
	rest := time.NewTicker(10 * time.Millisecond)
	defer rest.Stop()
	line := []byte(strings.Repeat("x", 99) + "\n")
	for i, end := 0, time.Now().Add(d); time.Now().Before(end); i++ {
		copy(line, fmt.Sprintf("%012d", i))
		if _, err := unix.Write(1, line); err != nil {
			return err
		}
		if work == "quiet" {
			<-rest.C
		}
	}
	return nil
}

// logMoved has the kernel move 1000 bytes to stdout by sendfile, and as many by splice,
// between two lines.
func logMoved() error {
	file, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	part := []byte(strings.Repeat("x", 1000))
	_, err = unix.Pwrite(file, part, 0)
	_, werr := w.Write(part)
	_, first := unix.Write(1, []byte("first\n"))
	_, send := unix.Sendfile(1, file, nil, len(part))
	_, splice := unix.Splice(int(r.Fd()), nil, 1, nil, len(part), 0)
	_, last := unix.Write(1, []byte("last\n"))
	return errors.Join(err, werr, first, send, splice, last)
}

// logOps are what BenchmarkLogCosts measures: writes of so many bytes, as many as a pipe
// takes.
var logOps = []struct {
	name  string
	bytes int
	times int
}{
	{"pipe-100", 100, 150}, // a page each, at most
	{"pipe-4000", 4000, 15},
	{"file-100", 100, 2000},
}

// logCosts does, line by line, one round of what a line names, and tells the mean time of
// a call. Its stdout is a pipe of which 3 is the other end; 4 is for what it tells.
func logCosts() error {
	goruntime.LockOSThread() // whose time it is
	file, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	in, tells := bufio.NewReader(os.Stdin), os.NewFile(4, "tells")
	buf := make([]byte, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for _, op := range logOps {
			if op.name != strings.TrimSpace(line) {
				continue
			}
			write := func(int) error { _, err := unix.Write(1, buf[:op.bytes]); return err }
			if strings.HasPrefix(op.name, "file") {
				write = func(int) error { _, err := unix.Pwrite(file, buf[:op.bytes], 0); return err }
			}
			took, err := timed(write)(op.times)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(op.name, "file") {
				for left := op.bytes * op.times; left > 0; {
					n, err := unix.Read(3, buf)
					if err != nil {
						return err
					}
					left -= n
				}
			}
			fmt.Fprintln(tells, float64(took.Nanoseconds())/float64(op.times))
		}
	}
}

// startLogCosts returns what measures the mean time of a write, ns: the median of nine
// rounds.
func startLogCosts(b *testing.B, nested bool) (pid int, measure func(op string) float64) {
	b.Helper()
	c := logWriter("costs", nested)
	in, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	tells, told, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	c.Stdout, c.ExtraFiles = w, []*os.File{r, told}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	for _, f := range []*os.File{r, w, told} {
		f.Close()
	}
	b.Cleanup(func() {
		in.Close()
		if err := errors.Join(c.Wait(), tells.Close()); err != nil {
			b.Errorf("log work: %v", err)
		}
	})
	lines := bufio.NewReader(tells)
	return c.Process.Pid, func(op string) float64 {
		b.Helper()
		return median(9, func() float64 {
			if _, err := fmt.Fprintln(in, op); err != nil {
				b.Fatal(err)
			}
			line, err := lines.ReadString('\n')
			if err != nil {
				b.Fatalf("%s: %v", op, err)
			}
			ns, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
			if err != nil {
				b.Fatal(err)
			}
			return ns
		})
	}
}
