//go:build host

package prepare

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// agentVar makes this binary the agent of a test: see runAgent.
const agentVar = "EYAS_PREPARE_AGENT"

// script is what an agent does, and when it is killed.
type script struct {
	Dir, Mount string
	KillAt     int  // the fault point at which it kills itself; 0: none
	Tell       bool // tell of fault points, so that the parent can kill
	Calls      []call
}

type call struct {
	Do    string // prepare, late, release, reconcile, reserve, hand over
	PID   identity.HostPID
	ID    string
	Force bool
}

// answer is a line of the agent's.
type answer struct {
	Call  int
	Lease ledger.Lease
	Err   string
}

// killing is a context whose every look is a fault point: Delegate and
// Undelegate look between any two steps.
type killing struct {
	context.Context
	fault func(string)
}

func (k killing) Err() error {
	k.fault("between steps")
	return k.Context.Err()
}

// runAgent does a script. kill -9 of itself is what ends it at a fault point.
func runAgent() {
	var s script
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		panic(err)
	}
	points := 0
	fault := func(string) {
		if points++; points == s.KillAt {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
		if s.Tell {
			_, _ = os.Stdout.WriteString(".\n")
		}
	}
	o := agentOptions(s.Dir, s.Mount)
	o.fault = fault
	ctx := killing{context.Background(), fault}
	p, err := Open(o)
	if err != nil {
		panic(err)
	}
	out := json.NewEncoder(os.Stdout)
	for i, c := range s.Calls {
		var r Result
		var err error
		switch c.Do {
		case "prepare":
			r, err = p.PreparePID(ctx, PIDRequest{PID: c.PID, Profile: "dev"})
		case "late":
			r, err = p.PrepareLate(ctx, untold(c.ID, 0), c.PID)
		case "release":
			r, err = p.Release(ctx, c.ID, ReleaseOptions{Force: c.Force})
		case "reconcile":
			_, err = p.Reconcile(ctx)
		case "reserve":
			r, err = p.Reserve(ctx, untold(c.ID, c.PID))
		case "hand over":
			r, err = p.HandOver(ctx, c.ID, Place{PID: c.PID}, Profiles()[0])
		}
		a := answer{Call: i, Lease: r.Lease}
		if err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			panic(err)
		}
	}
}

// run runs an agent and returns what it said. after > 0: it is killed from
// outside when it has told of that many fault points, wherever it is by then.
func (r *rig) run(killAt, after int, calls ...call) (answers []answer, killed bool) {
	r.Helper()
	in, err := json.Marshal(script{Dir: r.dir, Mount: r.mount, KillAt: killAt, Tell: after > 0, Calls: calls})
	if err != nil {
		r.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), agentVar+"=1")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(in)), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	told := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "." {
			if told++; told == after {
				_ = cmd.Process.Kill()
			}
			continue
		}
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			r.Fatalf("%s: %v", lines.Text(), err)
		}
		answers = append(answers, a)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == unix.SIGKILL {
			return answers, true
		}
	}
	if err != nil {
		r.Fatalf("agent: %v", err)
	}
	return answers, false
}
