// Package daemon wires the agent together: configuration, the kernel side, the
// tracker, the history, and the two servers, under one errgroup.
//
// What enters: a Config. What leaves: a running agent, until its context ends.
// It writes below state-dir and creates the socket; see preflight.go for what
// it asks of the machine.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	promcollectors "github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/eyas-agent/eyas/agent/delegation"
	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/processes"
	"github.com/eyas-agent/eyas/collectors/self"
	"github.com/eyas-agent/eyas/collectors/tracker"
	"github.com/eyas-agent/eyas/collectors/vfs"
	"github.com/eyas-agent/eyas/exporter/api"
	"github.com/eyas-agent/eyas/exporter/metrics"
)

// Run runs the agent until ctx ends. An error says what failed and what to
// change; nil is a clean stop.
func Run(ctx context.Context, c Config, version string, log zerolog.Logger) (err error) {
	if err := Preflight(c.ProcRoot); err != nil {
		return err
	}
	// A tenth of the live heap as garbage is cheap at these sizes, and half of
	// the memory a node would otherwise lend.
	debug.SetGCPercent(40)
	if c.Nice != 0 {
		if err := raisePriority(c.Nice); err != nil {
			log.Warn().Err(err).Msg("events may be lost when the node is overloaded")
		}
	}
	boot, err := BootID(c.ProcRoot)
	if err != nil {
		return err
	}
	clock, node := tracker.BootClock(), ReadNode(c.ProcRoot, boot)
	root := openHost(c, log)

	var closers []func() error
	defer func() {
		for i := len(closers) - 1; i >= 0; i-- {
			err = errors.Join(err, closers[i]())
		}
	}()
	memory, err := tracker.OpenMemory(tracker.MemoryOptions{
		Dir: c.StateDir, Boot: boot, MaxAge: c.HistoryMaxAge, MaxBytes: c.HistoryMaxBytes, Clock: clock,
		Log: log.With().Str("room", "history").Logger(),
	})
	if err != nil {
		return err
	}
	closers = append(closers, memory.Close)
	pods, err := watchKubelet(c, root, boot, memory, log.With().Str("room", "kubelet").Logger())
	if err != nil {
		return err
	}

	var listener net.Listener
	if c.Listen != "" {
		if listener, err = metrics.Listen(c.Listen); err != nil {
			return err
		}
		defer listener.Close() // also when the server never ran
	}
	socket, err := api.Listen(c.Socket)
	if err != nil {
		return err
	}
	defer socket.Close()

	hierarchy, err := cgroups.Open(c.ProcRoot)
	if err != nil {
		log.Warn().Err(err).Msg("cgroup paths and limits will be missing")
		hierarchy = nil
	} else {
		closers = append(closers, hierarchy.Close)
	}
	monitor, err := bpf.Open(bpf.Options{RingBytes: uint32(c.RingBytes), RunStats: c.BPFStats})
	if err != nil {
		return err
	}
	closers = append(closers, monitor.Close)
	monitor.SelfTest(driveProcess, func() error { return driveCgroup(c.ProcRoot, hierarchy) })
	logHooks(monitor, log)

	kills := newKills(clock, hierarchy, memory)
	pod, err := openKube(c, version, log)
	if err != nil {
		return err
	}
	t := tracker.New(tracker.Options{
		Source: monitor, Pods: pod.names(), Deaths: kills, Table: newTable(boot, node.Name, hierarchy, memory), Memory: podsFirst{memory, pods},
		Namer: &tracker.Namer{Proc: c.ProcRoot, Log: log.With().Str("room", "namer").Logger()},
		Clock: clock, Reconcile: c.ReconcileInterval, Log: log.With().Str("room", "tracker").Logger(),
	})
	ask := &answers.Answers{Tracker: t, History: memory, Kubelet: pods, Node: node, Clock: clock, Proc: c.ProcRoot}

	prepLog := log.With().Str("room", "prepare").Logger()
	preparer, prepErr := openPreparer(c, root, boot, hierarchy, namespacesOf(t), prepLog)
	if prepErr != nil {
		prepLog.Error().Err(prepErr).Msg("containers cannot be prepared here")
	} else {
		closers = append(closers, preparer.Close)
	}
	var checks *doctor.Collector // there is one before the plugin runs
	plugin, err := openNRI(c, root, preparer, hierarchy, pod.tell(), func() { checks.Again() }, log)
	if err != nil {
		return err
	}

	boundary := &nsdelegate{
		read: func() (delegation.MountOptions, error) { return delegation.ReadMountOptions(c.ProcRoot) },
		log:  prepLog,
	}
	mount := ""
	if hierarchy != nil {
		mount = hierarchy.Mount()
	}
	deep, err := openTrampolines(c, version, t, node, clock, mount, log)
	if err != nil {
		return err
	}
	closers = append(closers, deep.close)
	deep.answer(ask, plugin)
	health := func() api.Health {
		return deep.logWay(readHealth(deep.hooks(monitor), t, plugin, c.ReconcileInterval, boundary))
	}
	checks = doctor.NewCollector(doctor.NewNode(doctor.NodeOptions{
		Proc: c.ProcRoot, StateDir: c.StateDir, Kubelet: c.KubeletRoot,
		Agent: func(context.Context) (api.Health, error) { return health(), nil },
	}))
	boundary.changed = checks.Again
	pod.follow(checks)
	ask.Names = pod.names()

	counts := processes.New(processes.Options{Counter: monitor, Table: t, MaxNested: c.MaxNestedSeries, Log: log})
	ask.Numbers = numbers(counts, deep)
	plain := vfs.New(vfs.Options{Table: t, Clock: clock, MaxNested: c.MaxNestedSeries, Proc: c.ProcRoot, Log: log.With().Str("room", "vfs").Logger()})
	all := append(deep.collectors(self.Options{Monitor: monitor, Tracker: t, Memory: memory, Version: version}),
		counts, plain, checks, boundary, kills,
		promcollectors.NewGoCollector(),
		promcollectors.NewProcessCollector(promcollectors.ProcessCollectorOpts{}),
	)
	var limits *cgroups.Collector
	if hierarchy != nil {
		limits = openCgroups(c, hierarchy, t, log)
		ask.Numbers.Cgroups, all = limits, append(all, limits)
	}
	all = append(all, pod.collectors()...)
	if preparer != nil {
		all = append(all, preparer)
	}
	if plugin != nil {
		all = append(all, plugin)
	}
	exposition, err := metrics.NewExposition(all...)
	if err != nil {
		return err
	}

	var failed atomic.Pointer[error]
	g, ctx := errgroup.WithContext(ctx)
	run := func(name string, f func(context.Context) error) {
		g.Go(func() error {
			if err := f(ctx); err != nil {
				err = fmt.Errorf("%s: %w", name, err)
				failed.Store(&err)
				return err
			}
			return nil
		})
	}
	healthy := func() error {
		if e := failed.Load(); e != nil {
			return *e
		}
		return nil
	}
	ready := func() error {
		select {
		case <-t.Ready():
			return healthy()
		default:
			return errors.New("the first snapshot is not taken yet")
		}
	}
	scrapes, err := metrics.Handler(exposition, healthy, ready, log)
	if err != nil {
		return err
	}
	run("tracker", t.Run)
	run("namer", t.RunNamer)
	run("command lines", func(ctx context.Context) error { return t.RunArgs(ctx, c.ProcRoot) })
	run("history", memory.Run)
	deep.run(run, t.Ready())
	run("vfs", plain.Run)
	if limits != nil {
		run("cgroups", limits.Run)
	}
	run("kubelet's pods", pods.Run)
	pod.run(run, t)
	if preparer != nil {
		run("leases", func(ctx context.Context) error { return runPreparer(ctx, preparer, t.Ready(), prepLog) })
	}
	if plugin != nil {
		run("nri", plugin.Run)
	}
	run("history restart", func(ctx context.Context) error {
		select {
		case <-t.Ready():
			return memory.CloseDead(t)
		case <-ctx.Done():
			return nil
		}
	})
	status := api.Status{Version: version, PID: os.Getpid(), Started: time.Now().UTC()}
	queries := withPreparer(api.WithHealth(api.Handler(ask, status, log), health, log), preparer, prepErr)
	run("query API", serve(socket, gate(t.Ready(), queries)))
	run("doctor", func(ctx context.Context) error { return runChecks(ctx, t.Ready(), checks) })
	run("nsdelegate", func(ctx context.Context) error { return boundary.run(ctx, lookForNSDelegate) })
	if listener != nil {
		run("metrics", serve(listener, scrapes))
	}
	log.Info().Str("socket", c.Socket).Str("listen", c.Listen).Str("state_dir", c.StateDir).Msg("eyas agent runs")
	return g.Wait()
}
