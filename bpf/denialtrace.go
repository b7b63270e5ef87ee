package bpf

import (
	"errors"
	"fmt"
)

// AttachSeccomp has what seccomp filters refuse told. It costs every system call of
// the processes that have a filter, on the whole node. drive must make a system
// call under a filter.
func (m *DenialMonitor) AttachSeccomp(drive Drive) {
	m.keepSeccomp = true
	m.seccomp.Attach()
	if m.seccomp.Attached() {
		m.seccomp.SelfTest(drive)
	}
}

// StartTrace has every refused call told, until StopTrace. It costs every system
// call of the node. Where a program cannot be attached, Traces says so; the error is for
// when that is the one at the end of system calls. drive is that of AttachSeccomp, and must open a file.
func (m *DenialMonitor) StartTrace(drive Drive) error {
	m.trace.Attach()
	m.seccomp.Attach()
	// The others leave it to the end of system calls to take up what they say.
	if end := m.trace.copied()[0]; end.link == nil {
		return errors.Join(fmt.Errorf("attach %s: %s", end.name, end.reason), m.StopTrace())
	}
	if err := m.shared.Variables[denialsVarTracing].Set(uint8(1)); err != nil {
		return errors.Join(fmt.Errorf("begin to trace: %w", err), m.StopTrace())
	}
	m.trace.SelfTest(drive)
	if m.seccomp.Attached() {
		m.seccomp.SelfTest(drive)
	}
	return nil
}

// Traces returns why programs of a trace do not tell; of one that is not on, nothing.
func (m *DenialMonitor) Traces() (poor []Hook) {
	for _, h := range append(m.trace.asked(), m.seccomp.asked()...) {
		if h.State != HookActive {
			poor = append(poor, h)
		}
	}
	return poor
}

// StopTrace ends what StartTrace began.
func (m *DenialMonitor) StopTrace() error {
	err := errors.Join(m.shared.Variables[denialsVarTracing].Set(uint8(0)), m.trace.detach())
	if !m.keepSeccomp {
		err = errors.Join(err, m.seccomp.detach())
	}
	return err
}

// Hooks returns the state and the counters of every program that is asked for.
func (m *DenialMonitor) Hooks() []Hook {
	all := m.trampolines.Hooks()
	return append(append(all, m.seccomp.asked()...), m.trace.asked()...)
}

// Close detaches and frees everything.
func (m *DenialMonitor) Close() error {
	return errors.Join(m.seccomp.detach(), m.trace.detach(), m.trampolines.Close())
}
