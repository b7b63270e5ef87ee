package daemon

import (
	"context"
	"errors"
	"os"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/kube"
	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// Look takes one snapshot of the kernel, for an answer without a daemon. The
// history of an agent that no longer runs is read if there is one. It needs the
// privileges of the agent and writes nothing; the caller calls the function
// returned when done.
func Look(ctx context.Context, stateDir string) (*answers.Answers, func() error, error) {
	c := DefaultConfig()
	if err := Preflight(c.ProcRoot); err != nil {
		return nil, nil, err
	}
	boot, err := BootID(c.ProcRoot)
	if err != nil {
		return nil, nil, err
	}
	clock := tracker.BootClock()
	var closers []func() error
	closeAll := func() error {
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i]())
		}
		return errors.Join(errs...)
	}
	memory, err := tracker.OpenMemory(tracker.MemoryOptions{Dir: stateDir, Boot: boot, ReadOnly: true, Clock: clock, Log: zerolog.Nop()})
	switch {
	case err == nil:
		closers = append(closers, memory.Close)
	case errors.Is(err, os.ErrNotExist):
		memory = nil // no agent ever ran here
	default:
		return nil, nil, err
	}
	hierarchy, err := cgroups.Open(c.ProcRoot)
	if err != nil {
		hierarchy = nil // paths will be missing
	} else {
		closers = append(closers, hierarchy.Close)
	}
	monitor, err := bpf.Open(bpf.Options{SnapshotOnly: true})
	if err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	closers = append(closers, monitor.Close)
	o := tracker.Options{
		Source: monitor, Table: newTable(boot, ReadNode(c.ProcRoot, boot).Name, hierarchy, memory), Clock: clock, Log: zerolog.Nop(),
		Namer: &tracker.Namer{Proc: c.ProcRoot, Log: zerolog.Nop()},
	}
	if known := kube.ReadLastKnown(stateDir); known != nil {
		o.Pods = known
	}
	t := tracker.New(o)
	if err := t.Once(ctx); err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	root, _ := HostRoot(c.ProcRoot) // with an error there are no records to be read
	pods, err := watchKubelet(c, root, boot, memory, zerolog.Nop())
	if err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	a := &answers.Answers{Tracker: t, Names: o.Pods, Kubelet: pods, Node: ReadNode(c.ProcRoot, boot), Clock: clock, Proc: c.ProcRoot}
	if memory != nil {
		a.History = memory
	}
	return a, closeAll, nil
}

func newTable(boot, nodename string, hierarchy *cgroups.Hierarchy, memory *tracker.History) *identity.Table {
	o := identity.Options{Boot: boot, Nodename: nodename, CgroupRoot: cgroupRoot}
	if hierarchy != nil {
		o.CgroupPath = hierarchy.Path
	}
	if memory != nil {
		o.Generation = memory.Generation
	}
	return identity.NewTable(o)
}
