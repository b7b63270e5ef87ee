package trial

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors of host, as Run passes them.
const (
	fdProc = 3 + iota
	fdRoot
	fdLeaf
	fdTop
	fdSelf // a sealed copy of this program
)

// host runs as root on the node. It starts inside, passes on its answer, and
// takes back what is left. It gives up when stdin ends.
func host(stdin io.Reader, stdout io.Writer) (err error) {
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	var r Request
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("parse request: %w", err)
	}
	var report Report
	top := os.NewFile(fdTop, "the container's cgroup")
	report.Answer, err = attempt(r, in, &report)
	if r.Inside.Cgroup != "" {
		if e := clean(top, r.Inside.Name); e != nil {
			report.Left = e.Error()
		}
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(report)
}

func attempt(r Request, caller io.Reader, report *Report) (a Answer, err error) {
	// The pid is the process meant if that one still lives afterwards.
	pidfd, err := unix.PidfdOpen(r.PID, 0)
	if err != nil {
		return a, fmt.Errorf("open process %d: %w", r.PID, err)
	}
	if _, err := readAt(fdProc, "stat"); err != nil {
		return a, fmt.Errorf("the container's first process has ended: %w", err)
	}
	l := &launch{pidfd: pidfd, root: fdRoot, as: r.As}
	if r.As.Filtered {
		if l.filters, err = readFilters(r.PID); err != nil {
			if r.As.NeedFilters {
				return a, fmt.Errorf("not tried: its first process is root of the node, and its seccomp filters cannot be read: %w", err)
			}
			report.Filters = failed("read its seccomp filters", err)
		}
		report.Count = len(l.filters)
	}
	child, err := l.run(r)
	if err != nil {
		return a, err
	}
	return child.answer(caller)
}

// child is inside, as host sees it.
type child struct {
	*os.Process
	stdout, stderr *os.File
}

// run starts inside and tells it what to do.
func (l *launch) run(r Request) (c child, err error) {
	hear, say, err := statusPair()
	if err != nil {
		return c, err
	}
	var pipes [3][2]*os.File
	for i := range pipes {
		if pipes[i][0], pipes[i][1], err = os.Pipe(); err != nil {
			return c, err
		}
	}
	stdin, stdout, stderr := pipes[0], pipes[1], pipes[2]
	l.memfd, l.stdin, l.stdout = fdSelf, int(stdin[0].Fd()), int(stdout[1].Fd())
	l.stderr, l.status = int(stderr[1].Fd()), say
	if err := l.arguments(); err != nil {
		return c, err
	}
	if min(l.pidfd, l.memfd, l.stdin, l.stdout, l.stderr, l.status) < thirdFirstClosed {
		return c, errors.New("descriptors are not where they belong") // the third child would overwrite them
	}
	first, err := l.start()
	if err != nil {
		return c, err
	}
	for _, f := range []*os.File{stdin[0], stdout[1], stderr[1]} {
		f.Close()
	}
	unix.Close(say)
	pid, err := await(hear, first)
	if err != nil {
		return c, err
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return c, err
	}
	c = child{p, stdout[0], stderr[0]}
	if err := c.place(r.PID); err != nil {
		return c, errors.Join(err, c.end())
	}
	words, err := json.Marshal(r.Inside)
	if err != nil {
		return c, errors.Join(err, c.end())
	}
	// The blank is the word to go. It can fail only if the child is dead, which
	// shows below.
	_, _ = stdin[1].Write(append([]byte{' '}, words...))
	stdin[1].Close()
	if m, _, err := listen(hear); err != nil || m != nil {
		return c, errors.Join(err, m.err(), c.end())
	}
	return c, nil // status is closed: by the exec, or by death
}

// place puts the waiting child where the container's processes are: cgroup,
// resource limits, and in front of them for the OOM killer.
func (c child) place(like int) error {
	if st := (unix.Stat_t{}); unix.Fstat(fdLeaf, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := writeAt(fdLeaf, "cgroup.procs", strconv.Itoa(c.Pid)); err != nil {
			return fmt.Errorf("enter the container's cgroup: %w", err)
		}
	}
	if err := os.WriteFile("/proc/"+strconv.Itoa(c.Pid)+"/oom_score_adj", []byte("1000"), 0); err != nil {
		return err
	}
	for resource := range unix.RLIMIT_RTTIME + 1 {
		var limit unix.Rlimit
		// One above this program's own needs CAP_SYS_RESOURCE; the lower stays.
		if unix.Prlimit(like, resource, nil, &limit) == nil {
			_ = unix.Prlimit(c.Pid, resource, &limit, nil)
		}
	}
	return nil
}

// end kills inside and waits until it and all in its pid namespace are gone.
func (c child) end() error {
	_ = c.Kill() // may be dead
	_, err := c.Wait()
	return err
}

// answer reads what inside says until it ends, is late, or nobody wants to
// know any more.
func (c child) answer(caller io.Reader) (a Answer, err error) {
	late := time.AfterFunc(insideEnd, func() { _ = c.Kill() })
	defer late.Stop()
	go func() {
		_, _ = io.Copy(io.Discard, caller)
		_ = c.Kill() // its own Wait holds off that this is another process
	}()
	said := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(c.stderr, maxWords))
		said <- b
		_, _ = io.Copy(io.Discard, c.stderr)
	}()
	b, err := io.ReadAll(io.LimitReader(c.stdout, maxAnswer+1))
	if err != nil || len(b) > maxAnswer {
		return a, errors.Join(fmt.Errorf("the trial says more than %d bytes", maxAnswer), err, c.end())
	}
	state, err := c.Wait()
	if err != nil {
		return a, err
	}
	switch words := bytes.TrimSpace(<-said); {
	case !late.Stop():
		return a, fmt.Errorf("no answer within %s", insideEnd)
	case !state.Success() && len(words) > 0:
		return a, fmt.Errorf("the trial inside ended with %s: %s", state, words)
	case !state.Success():
		return a, fmt.Errorf("the trial inside ended with %s", state)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("parse what the trial inside says: %w", err)
	}
	return a, nil
}
