package trial

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Arg is the first argument of a child of this program.
const Arg = "doctor-probe"

// Stages.
const (
	stageHost   = "trial-host"
	stageInside = "trial-inside"
	stageNested = "trial-nested"
	stageHold   = "trial-hold"
)

// Limits. What comes from inside is read up to maxAnswer, a tool's words up to
// maxWords.
const (
	maxAnswer = 64 << 10
	maxWords  = 1 << 10
	toolTime  = 10 * time.Second
	pipeTime  = time.Second      // for those who keep a tool's pipe
	insideEnd = 30 * time.Second // for all of inside
	hostEnd   = 5 * time.Second  // for host to clean up
)

// Container is where to try.
type Container struct {
	Proc *os.File // /proc/PID of its first process
	Root *os.File // of that process
	Leaf *os.File // cgroup that the process is in; nil: the root cgroup
	Top  *os.File // cgroup that is the container's; nil: not known
}

// Request says as whom to try what.
type Request struct {
	PID    int    `json:"pid"` // of the first process, as the host sees it
	As     As     `json:"as"`
	Inside Inside `json:"inside"`
}

// As is what a program started by the container's first process would have. Ids
// are the container's.
type As struct {
	UserNS      bool     `json:"userns"` // it has one of its own
	UID         uint32   `json:"uid"`
	GID         uint32   `json:"gid"`
	Groups      []uint32 `json:"groups"`
	NoGroups    bool     `json:"nogroups"` // setgroups is denied there
	Bounding    uint64   `json:"bounding"`
	Inheritable uint64   `json:"inheritable"`
	Ambient     uint64   `json:"ambient"`
	NoNewPrivs  bool     `json:"nonewprivs"`
	Filtered    bool     `json:"filtered"`    // by seccomp
	NeedFilters bool     `json:"needfilters"` // better not tried than tried without
}

// Inside is what to try.
type Inside struct {
	UIDs   [][3]uint64 `json:"uids"` // lines of the map to write by newuidmap; none: not tried
	GIDs   [][3]uint64 `json:"gids"`
	Cgroup string      `json:"cgroup"` // the container's cgroup, as it sees it; empty: not tried
	Name   string      `json:"name"`   // of the cgroup to make there
}

// Tool is what a program of the container did.
type Tool struct {
	Step
	Path  string `json:"path"` // empty: not found
	Words string `json:"words"`
}

// Report is what came of a trial.
type Report struct {
	Filters Step   `json:"filters"` // taking on seccomp filters
	Count   int    `json:"count"`   // of them
	Answer  Answer `json:"answer"`
	Left    string `json:"left"` // why the trial's cgroup could not be removed
}

// Answer is what inside found.
type Answer struct {
	UserNS      Step   `json:"userns"`  // with a mount and a pid namespace
	UIDMap      Tool   `json:"uidmap"`  // newuidmap
	GIDMap      Tool   `json:"gidmap"`  // newgidmap
	Proc        Step   `json:"proc"`    // mount
	Overlay     Step   `json:"overlay"` // mount and use
	Cgroup      Step   `json:"cgroup"`  // mkdir
	Controllers string `json:"controllers"`
	Enable      Step   `json:"enable"`
	Memory      Step   `json:"memory"` // memory.max written and read back
	PIDs        Step   `json:"pids"`
	Move        Step   `json:"move"`
	Remove      Step   `json:"remove"`
}

// Run tries, and leaves nothing behind but what Report.Left says.
func Run(ctx context.Context, c Container, r Request) (report Report, err error) {
	r.Inside.Name = "eyas-try-" + rand.Text()[:12]
	if c.Top == nil {
		r.Inside.Cgroup = ""
	}
	if r.Inside.Cgroup != "" {
		// host does it too; this is for one that was killed.
		defer func() {
			if e := clean(c.Top, r.Inside.Name); e != nil {
				report.Left = e.Error()
			}
		}()
	}
	request, err := json.Marshal(r)
	if err != nil {
		return report, err
	}
	self, err := sealedSelf()
	if err != nil {
		return report, err
	}
	defer self.Close()
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/self/fd/%d", fdSelf), Arg, stageHost)
	cmd.Args[0], cmd.Env, cmd.Dir = "eyas", []string{}, "/"
	null, err := os.Open(os.DevNull)
	if err != nil {
		return report, err
	}
	defer null.Close()
	for _, f := range []*os.File{c.Proc, c.Root, c.Leaf, c.Top} {
		if f == nil {
			f = null // so that the numbers stay
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, self)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return report, err
	}
	cmd.Cancel = stdin.Close // host ends the trial then, and cleans up
	cmd.WaitDelay = hostEnd
	out, failure := &head{left: 2 * maxAnswer}, &head{left: maxWords}
	cmd.Stdout, cmd.Stderr = out, failure
	if err := cmd.Start(); err != nil {
		return report, err
	}
	_, err = stdin.Write(append(request, '\n'))
	err = errors.Join(err, cmd.Wait())
	switch {
	case ctx.Err() != nil:
		return report, fmt.Errorf("given up: %w", ctx.Err())
	case err != nil && len(failure.b) > 0:
		return report, errors.New(strings.TrimSpace(string(failure.b)))
	case err != nil:
		return report, err
	}
	if err := json.Unmarshal(out.b, &report); err != nil {
		return report, fmt.Errorf("parse the trial's answer: %w", err)
	}
	return report, nil
}

// Main is what a child of this program does when its first argument is Arg and
// its second a stage; the rest, or false if args are no stage.
func Main(args []string, stdin io.Reader, stdout io.Writer) (isStage bool, err error) {
	if len(args) != 1 {
		return false, nil
	}
	// Children die with the thread that made them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch args[0] {
	case stageHost:
		return true, host(stdin, stdout)
	case stageInside:
		return true, inside(stdin, stdout)
	case stageNested:
		return true, nested(stdin, stdout)
	case stageHold:
		_, err := io.Copy(io.Discard, stdin)
		return true, err
	}
	return false, nil
}

// head keeps the first bytes of what is written to it.
type head struct {
	b    []byte
	left int
}

func (h *head) Write(b []byte) (int, error) {
	keep := b[:min(len(b), h.left)]
	h.left -= len(keep)
	h.b = append(h.b, keep...)
	return len(b), nil
}
