package trial

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// inside runs in the container, as its user, and has nothing of the node.
func inside(stdin io.Reader, stdout io.Writer) error {
	if os.Getpid() != 1 {
		return errors.New("not in a pid namespace of its own") // nothing is tried by mistake
	}
	// Others of its user need not look into it. Its children are dumpable again
	// by their exec, because newuidmap goes by the owner of /proc/PID.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make undumpable: %w", err)
	}
	var in Inside
	if err := json.NewDecoder(stdin).Decode(&in); err != nil {
		return fmt.Errorf("parse request: %w", err)
	}
	var a Answer
	in.nest(&a)
	in.delegate(&a)
	return json.NewEncoder(stdout).Encode(a)
}

// nestedCaps are what root of a user namespace needs for its mounts.
var nestedCaps = []uintptr{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SYS_ADMIN}

// stage is a child of this program with pipes.
type stage struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startStage(name string, flags uintptr, caps []uintptr) (*stage, error) {
	c := exec.Command("/proc/self/exe", Arg, name)
	c.Env, c.Dir = []string{"GOMAXPROCS=1"}, "/"
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, AmbientCaps: caps, Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return &stage{c, in, bufio.NewReader(io.LimitReader(out, maxAnswer))}, nil
}

func (s *stage) end() {
	_ = s.in.Close()
	_ = s.Process.Kill() // may be dead
	_ = s.Wait()
}

// nest makes the user namespace, has its ids mapped, and hears how mounts in it
// went.
func (in Inside) nest(a *Answer) {
	skipAll(&a.UIDMap.Step, &a.GIDMap.Step, &a.Proc, &a.Overlay)
	s, err := startStage(stageNested, unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWIPC, nestedCaps)
	if err != nil {
		a.UserNS = failed("make a user, mount and pid namespace", err)
		// Which of them?
		if s, err := startStage(stageHold, unix.CLONE_NEWUSER, nil); err != nil {
			a.UserNS = failed("make a user namespace", err)
		} else {
			s.end()
		}
		return
	}
	defer s.end()
	var hello greeting
	if err := s.hear(&hello); err != nil {
		a.UserNS = failed("hear of the nested process", err)
		return
	}
	a.UIDMap = mapIDs("newuidmap", hello.PID, in.UIDs)
	a.GIDMap = mapIDs("newgidmap", hello.PID, in.GIDs)
	var m mounts
	err = json.NewEncoder(s.in).Encode(mapped{a.UIDMap.OK(), a.GIDMap.OK(), os.Geteuid(), os.Getegid()})
	if err = errors.Join(err, s.hear(&m)); err != nil {
		m.Proc = failed("hear of the nested process", err)
		m.Overlay = m.Proc
	}
	a.Proc, a.Overlay = m.Proc, m.Overlay
}

func skipAll(steps ...*Step) {
	for _, s := range steps {
		s.Skipped = true
	}
}

func (s *stage) hear(v any) error {
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// toolDirs are where engines find newuidmap by the usual PATH.
var toolDirs = []string{"/usr/local/bin/", "/usr/bin/", "/bin/"}

// mapIDs runs a program of the container, with what this process has: nothing
// but the container's own.
func mapIDs(name string, pid int, lines [][3]uint64) (t Tool) {
	if len(lines) == 0 {
		t.Skipped = true
		return t
	}
	for _, dir := range toolDirs {
		if info, err := os.Stat(dir + name); err == nil && info.Mode().IsRegular() {
			t.Path = dir + name
			break
		}
	}
	if t.Path == "" {
		t.Step = Step{Error: "not installed", Errno: int(unix.ENOENT)}
		return t
	}
	args := []string{strconv.Itoa(pid)}
	for _, l := range lines {
		for _, n := range l {
			args = append(args, strconv.FormatUint(n, 10))
		}
	}
	words, err := runTool(t.Path, args)
	t.Words = words
	t.Step = attemptStep("run "+name, err)
	return t
}

func runTool(path string, args []string) (words string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), toolTime)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	c.Env, c.Dir = []string{}, "/"
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.WaitDelay = pipeTime // a child of its that keeps the pipe ends with this one's namespace
	c.Stdin = os.Stdin     // at its end by now
	out := &head{left: maxWords}
	c.Stdout, c.Stderr = out, out
	err = c.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("no answer within %s", toolTime)
	}
	return strings.TrimSpace(string(out.b)), err
}
