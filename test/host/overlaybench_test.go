//go:build host

package host

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/bpf"
)

const overlayReads = 50_000

// BenchmarkOverlayRead is what the hooks cost a cached read of 4 KiB: of a nested
// process, which is counted, and of one that is not.
func BenchmarkOverlayRead(b *testing.B) {
	m, err := bpf.OpenOverlay(bpf.OverlayOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	nested := overlayReader(b, syscall.CLONE_NEWPID)
	host := overlayReader(b, 0)
	for b.Loop() {
		bare, bareHost := nested(), host()
		m.Attach()
		if !m.Attached() {
			b.Skip(m.Hooks()[0].Reason)
		}
		with, withHost := nested(), host()
		b.ReportMetric(bare, "bare-ns/read")
		b.ReportMetric(with, "counted-ns/read")
		b.ReportMetric((with-bare)/bare*100, "counted-%")
		b.ReportMetric(withHost-bareHost, "filtered-ns/read")
	}
}

// overlayReader returns what measures the mean time of a read, ns: the median of
// nine rounds.
func overlayReader(b *testing.B, flags uintptr) func() float64 {
	b.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = []string{overlayWorkEnv + "=bench"}
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := c.Wait(); err != nil {
			b.Errorf("overlay reader: %v", err)
		}
	})
	lines := bufio.NewReader(out)
	round := func() float64 {
		b.Helper()
		line, err := lines.ReadString('\n')
		if err != nil {
			b.Fatalf("overlay reader: %v", err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			b.Fatal(err)
		}
		return float64(n) / overlayReads
	}
	round() // the first fills the caches
	return func() float64 {
		all := make([]float64, 9)
		for i := range all {
			if _, err := io.WriteString(in, "go\n"); err != nil {
				b.Fatal(err)
			}
			all[i] = round()
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
}

// bench reads 4 KiB of a cached file, overlayReads times for each line, and tells
// how long that took.
func (w overlayWorker) bench(in *bufio.Reader) error {
	fd, err := unix.Open(w.at("merged/read"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for buf := make([]byte, 4096); ; {
		start := time.Now()
		for i := range overlayReads {
			if _, err := unix.Pread(fd, buf, int64(i%256)*4096); err != nil {
				return err
			}
		}
		fmt.Println(time.Since(start).Nanoseconds())
		if !told(in) {
			return nil
		}
	}
}
