//go:build host

package host

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bpftraceScript counts by the functions that every file system's files go through,
// in one mount namespace (NS). MINE and OVERLAY(file) are conditions. A file that is
// copied up is spliced from one layer to the other, as sendfile(2) does; a
// copy_file_range on an overlay has one on the layers within.
const bpftraceScript = `
interval:ms:200 { printf("first\n"); }
kprobe:vfs_read, kprobe:vfs_readv /MINE && OVERLAY(arg0)/ { @reading[tid] = 1; }
kretprobe:vfs_read, kretprobe:vfs_readv /@reading[tid]/ {
	if ((int64)retval >= 0) { @sum["READBYTES"] = sum(retval); @count["READS"] = count(); }
	@reading[tid] = 0;
}
kprobe:vfs_write, kprobe:vfs_writev /MINE && OVERLAY(arg0)/ { @writing[tid] = 1; }
kretprobe:vfs_write, kretprobe:vfs_writev /@writing[tid]/ {
	if ((int64)retval >= 0) { @sum["WRITEBYTES"] = sum(retval); @count["WRITES"] = count(); }
	@writing[tid] = 0;
}
kprobe:do_splice /MINE/ {
	if (OVERLAY(arg0)) { @from[tid] = 1; }
	if (OVERLAY(arg2)) { @to[tid] = 1; }
}
kprobe:do_splice_direct /MINE && !@ranging[tid]/ {
	@up[tid] = 1;
	if (OVERLAY(arg0)) { @from[tid] = 1; @up[tid] = 0; }
	if (OVERLAY(arg2)) { @to[tid] = 1; @up[tid] = 0; }
}
kretprobe:do_splice, kretprobe:do_splice_direct /MINE/ {
	if (@from[tid] && (int64)retval > 0) { @sum["SPLICEFROM"] = sum(retval); }
	if (@to[tid] && (int64)retval > 0) { @sum["SPLICETO"] = sum(retval); }
	if (@up[tid] && (int64)retval > 0) { @sum["COPIEDUP"] = sum(retval); }
	@from[tid] = 0; @to[tid] = 0; @up[tid] = 0;
}
kprobe:vfs_copy_file_range /MINE/ {
	if (OVERLAY(arg2)) { @ranging[tid] = 1; } else { if (@ranging[tid]) { @ranging[tid] = 2; } }
}
kretprobe:vfs_copy_file_range /@ranging[tid]/ {
	if (@ranging[tid] == 2) {
		@ranging[tid] = 1;
	} else {
		if ((int64)retval >= 0) { @sum["RANGEBYTES"] = sum(retval); @count["RANGES"] = count(); }
		@ranging[tid] = 0;
	}
}
interval:ms:200 { printf("last\n"); }
`

// bpftraceProgram is the script for a mount namespace.
func bpftraceProgram(mntns string) string {
	return strings.NewReplacer(
		"MINE", "((struct task_struct *)curtask)->nsproxy->mnt_ns->ns.inum == "+mntns,
		"OVERLAY(arg0)", "((struct file *)arg0)->f_inode->i_sb->s_magic == 0x794c7630",
		"OVERLAY(arg2)", "((struct file *)arg2)->f_inode->i_sb->s_magic == 0x794c7630",
	).Replace(bpftraceScript)
}

// bpftraceKeys are the script's names of numbers.
var bpftraceKeys = map[string]string{
	"READBYTES": readBytes, "READS": reads, "WRITEBYTES": writeBytes, "WRITES": writes, "SPLICEFROM": spliceFrom, "SPLICETO": spliceTo,
	"COPIEDUP": copiedUp, "RANGEBYTES": rangeBytes, "RANGES": ranges,
}

// startBpftrace counts what the processes in the mount namespace of one do on
// overlays; what it returns ends it and says what that was. Or it says why not.
func startBpftrace(t *testing.T, pid int) (count func() map[string]float64, refusal string) {
	t.Helper()
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		t.Fatal(err)
	}
	var stderr lockedBuffer
	c := exec.Command("bpftrace", "-f", "json", "-B", "line", "-e", bpftraceProgram(strings.Trim(ns, "mnt:[]")))
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatalf("%v: run test/deps test", err)
	}
	ready := make(chan struct{})
	done := make(chan map[string]float64, 1)
	go func() {
		done <- readBpftrace(out, ready)
		_ = c.Wait() // it is killed, or has said why it ends
	}()
	t.Cleanup(func() { _ = c.Process.Kill() }) // may be dead
	select {
	case <-ready:
	case <-done:
		return nil, strings.Join(strings.Fields(stderr.String()), " ")
	case <-time.After(5 * time.Minute):
		t.Fatalf("bpftrace does not get ready: %s", stderr.String())
	}
	return func() map[string]float64 {
		t.Helper()
		if err := c.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatalf("end bpftrace: %v: %s", err, stderr.String())
		}
		select {
		case n := <-done:
			return n
		case <-time.After(time.Minute):
			t.Fatalf("bpftrace does not end: %s", stderr.String())
			return nil
		}
	}, ""
}

// readBpftrace reads to the end what bpftrace says. It closes ready when the first
// and the last probe of the script are there, and so all between, in whatever
// order they are attached.
func readBpftrace(out io.Reader, ready chan<- struct{}) map[string]float64 {
	n, ticks := map[string]float64{}, map[string]bool{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var line struct {
			Type string
			Data json.RawMessage
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		switch line.Type {
		case "printf":
			if len(ticks) < 2 {
				ticks[string(line.Data)] = true
				if len(ticks) == 2 {
					close(ready)
				}
			}
		case "map":
			// The other maps have other keys, and are nothing here.
			var byName map[string]map[string]float64
			if json.Unmarshal(line.Data, &byName) == nil {
				for _, m := range []string{"@sum", "@count"} {
					for k, v := range byName[m] {
						n[bpftraceKeys[k]] = v
					}
				}
			}
		}
	}
	return n
}

// lockdown is the kernel's mode.
func lockdown(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil {
		return err.Error()
	}
	_, mode, _ := strings.Cut(string(text), "[")
	mode, _, _ = strings.Cut(mode, "]")
	return mode
}
