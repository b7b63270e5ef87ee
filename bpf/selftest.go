package bpf

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Drive makes one kind of event happen, so that a hook can be seen to fire. An
// error means that it could not be made here.
type Drive func() error

// SelfTest drives every loaded hook once and records whether it fired: on some
// kernels a program attaches and never runs.
//
// process must start and end a process that executes a program; cgroup must
// move a process from its cgroup to the same one. Either may be nil.
func (m *Monitor) SelfTest(process, cgroup Drive) {
	iterate := func() error {
		_, err := m.Task(uint32(os.Getpid()))
		if errors.Is(err, ErrNoProcess) {
			return fmt.Errorf("%w: is this the initial pid namespace?", err)
		}
		return err
	}
	userns := func() error {
		_, err := m.UserNSOf(uint32(os.Getpid()))
		return err
	}
	// What drives which hook; an exec also asks for capabilities.
	drives := []struct {
		drive Drive
		hooks []identityEyasProgram
	}{
		{iterate, []identityEyasProgram{identityEyasProgramEYAS_PROGRAM_TASKS}},
		{userns, []identityEyasProgram{identityEyasProgramEYAS_PROGRAM_USERNS}},
		{process, []identityEyasProgram{
			identityEyasProgramEYAS_PROGRAM_NEWTASK, identityEyasProgramEYAS_PROGRAM_EXEC,
			identityEyasProgramEYAS_PROGRAM_EXIT, identityEyasProgramEYAS_PROGRAM_CAPABLE,
			identityEyasProgramEYAS_PROGRAM_FREE,
		}},
		{cgroup, []identityEyasProgram{identityEyasProgramEYAS_PROGRAM_ATTACH}},
	}
	// What ran before the self-test has run as well; it begins anew so that a
	// hook which fires for others' sake only is told from one that fires.
	if err := m.forgetRuns(); err != nil {
		for _, h := range m.hooks {
			h.reason = oneLine(err)
		}
		return
	}
	failed := map[identityEyasProgram]error{}
	for _, d := range drives {
		err := errors.New("nothing here could drive it")
		if d.drive != nil {
			err = d.drive()
		}
		for _, i := range d.hooks {
			failed[i] = err
		}
	}
	if m.guarded && process != nil {
		m.awaitFree()
	}
	for _, h := range m.hooks {
		if h.rare() {
			failed[h.index] = errors.New("only an OOM kill does")
		}
		switch {
		case h.state == HookMissing:
		case m.ran(h.index):
			h.state, h.reason = HookActive, ""
		case failed[h.index] != nil:
			h.state, h.reason = HookUnproven, "not driven: "+oneLine(failed[h.index])
		default:
			h.state, h.reason = HookSilent, "attached, but did not fire when driven"
		}
	}
}

// freeAfter bounds the wait for a task to be freed: a grace period of RCU after
// its death, which takes milliseconds, on busy machines tens of them.
const freeAfter = 2 * time.Second

// awaitFree waits until the kernel has freed a task since the self-test began.
// It gives no sign of that but the program's own.
func (m *Monitor) awaitFree() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(freeAfter); !m.ran(identityEyasProgramEYAS_PROGRAM_FREE) && time.Now().Before(end); {
		<-tick.C
	}
}
