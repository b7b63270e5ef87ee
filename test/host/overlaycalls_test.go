//go:build host

package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// callsScript is I/O by a program whose system calls are its own choice.
const callsScript = `
cd /mnt/merged
b=/mnt/busybox
$b cat read dir/inner >cat
$b dd if=read of=dd bs=7777 count=20 2>/dev/null
$b cp dd cp
$b tail -c 12345 read >tail
$b head -c 54321 read >>tail
$b tar cf tar tail cp
$b gzip -c tar >gz
$b gunzip -c gz | $b md5sum >sum
echo more >>up0
echo all >up1
$b sort up0 sum tail >sorted
echo done
read end
`

// calls does I/O in every way that system calls have, and then has busybox do
// what it does, in a pid namespace below, which lives until the test is over.
func (w overlayWorker) calls(in *bufio.Reader) error {
	// From memory: executing a file of the machine's may read an overlay of its.
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.at("busybox"), program, 0o755); err != nil {
		return err
	}
	fmt.Println("ready")
	if !told(in) {
		return nil
	}
	if err := w.directCalls(); err != nil {
		return err
	}
	c := exec.Command(w.at("busybox"), "sh", "-e", "-c", callsScript)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	end, err := c.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "done\n" {
		return fmt.Errorf("the script says %q, %w", line, err)
	}
	fmt.Println("ready")
	told(in)
	_, err = io.WriteString(end, "end\n")
	return errors.Join(err, c.Wait())
}

// directCalls makes each call once or a few times, some of them in vain.
func (w overlayWorker) directCalls() error {
	in, err := unix.Open(w.at("merged/read"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	out, err := unix.Open(w.at("merged/direct"), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	aside, err := unix.Open(w.at("aside"), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(aside)
	buf := make([]byte, 10_000)
	some := [][]byte{buf[:1000], buf[:2345], buf[:1]}
	at := new(int64)
	for _, call := range []struct {
		name string
		want int // 0: any
		do   func() (int, error)
	}{
		{"read", 10_000, func() (int, error) { return unix.Read(in, buf) }},
		{"pread", 4097, func() (int, error) { return unix.Pread(in, buf[:4097], 5) }},
		{"readv", 3346, func() (int, error) { return unix.Readv(in, some) }},
		{"preadv", 3346, func() (int, error) { return unix.Preadv(in, some, 77) }},
		{"preadv2", 3345, func() (int, error) { return unix.Preadv2(in, some[:2], 78, 0) }},
		{"write", 10_000, func() (int, error) { return unix.Write(out, buf) }},
		{"pwrite", 4097, func() (int, error) { return unix.Pwrite(out, buf[:4097], 9000) }},
		{"writev", 3346, func() (int, error) { return unix.Writev(out, some) }},
		{"pwritev", 3346, func() (int, error) { return unix.Pwritev(out, some, 12_000) }},
		{"pwritev2", 3345, func() (int, error) { return unix.Pwritev2(out, some[:2], 30_000, 0) }},
		{"write elsewhere", 10_000, func() (int, error) { return unix.Write(aside, buf) }},
		{"read elsewhere", 5000, func() (int, error) { return unix.Pread(aside, buf[:5000], 0) }},
		{"sendfile from", 200_001, func() (int, error) { return unix.Sendfile(aside, in, nil, 200_001) }},
		{"sendfile to", 8_000, func() (int, error) { *at = 7; return unix.Sendfile(out, aside, at, 8_000) }},
		{"sendfile from and to", 70_000, func() (int, error) { return unix.Sendfile(out, in, nil, 70_000) }},
		{"copy_file_range", 0, func() (int, error) { *at = 0; return unix.CopyFileRange(in, at, out, nil, 300_003, 0) }},
	} {
		n, err := call.do()
		if err != nil || n <= 0 || call.want > 0 && n != call.want {
			return fmt.Errorf("%s: %d bytes, not %d, %w", call.name, n, call.want, err)
		}
	}
	if err := spliceOver(in, out, 100_000); err != nil {
		return err
	}
	return inVain(in, out, w)
}

// inVain are calls that read nothing: at the end of a file, which counts as a
// call, and with errors, which do not.
func inVain(in, out int, w overlayWorker) error {
	if n, err := unix.Pread(in, make([]byte, 10), 5<<20); n != 0 || err != nil {
		return fmt.Errorf("read past the end: %d, %w", n, err)
	}
	var errs []error
	for want, call := range map[syscall.Errno]func() (int, error){
		unix.EBADF: func() (int, error) { return unix.Write(in, []byte("no")) },
		unix.EFAULT: func() (int, error) {
			n, _, err := unix.Syscall(unix.SYS_READ, uintptr(in), 1, 100)
			return int(n), err
		},
		unix.EINVAL: func() (int, error) { return unix.Pread(out, make([]byte, 10), -5) },
		unix.EISDIR: func() (int, error) {
			dir, err := unix.Open(w.at("merged/dir"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return 0, err
			}
			defer unix.Close(dir)
			return unix.Read(dir, make([]byte, 10))
		},
	} {
		if n, err := call(); !errors.Is(err, want) {
			errs = append(errs, fmt.Errorf("a call that is to fail with %w: %d, %w", want, n, err))
		}
	}
	return errors.Join(errs...)
}
