package stormtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/test/storm/account"
	"github.com/eyas-agent/eyas/test/storm/stormtest"
)

func start(t *testing.T, args ...string) (*stormtest.Storm, stormtest.Ready) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("creating nested pid namespaces needs root")
	}
	s, err := stormtest.Start(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	ready, err := s.Ready()
	if err != nil {
		t.Fatal(err)
	}
	return s, ready
}

// checkLive compares what the storm says is alive with /proc, for every container.
func checkLive(t *testing.T, ready stormtest.Ready, event account.Event) {
	t.Helper()
	found, totals := scan(t), stormtest.Accounts(event)
	want, got := map[int]live{}, map[int]live{}
	for _, c := range ready.Containers {
		want[c.ID] = live{Processes: totals[c.ID].LiveProcesses, Threads: totals[c.ID].LiveThreads}
		got[c.ID] = found[c.Namespaces["pid"]]
		if born := totals[c.ID].Forks - totals[c.ID].Exits(); born != totals[c.ID].LiveProcesses {
			t.Errorf("container %d: %d forks less exits, %d alive", c.ID, born, totals[c.ID].LiveProcesses)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: live tasks by container (-account +/proc):\n%s", event.Kind, diff)
	}
	if event.Proven+event.Wrapped != len(ready.Containers) {
		t.Errorf("%s: %d of %d accounts proven, %d wrapped", event.Kind, event.Proven, len(ready.Containers), event.Wrapped)
	}
}

// checkContainers compares the description of every container with the kernel's.
func checkContainers(t *testing.T, ready stormtest.Ready) {
	t.Helper()
	for _, c := range ready.Containers {
		dir := fmt.Sprintf("/proc/%d/", c.HostPID)
		seen := c
		seen.PIDLevel, seen.UserLevel = depth(t, dir+"ns/pid"), depth(t, dir+"ns/user")
		seen.HostUIDs, seen.HostGIDs = mapOf(t, dir+"uid_map"), mapOf(t, dir+"gid_map")
		seen.Namespaces = map[string]uint64{}
		for name := range c.Namespaces {
			inode, err := inodeOf(dir + "ns/" + name)
			if err != nil {
				t.Fatal(err)
			}
			seen.Namespaces[name] = inode
		}
		if diff := cmp.Diff(c, seen); diff != "" {
			t.Errorf("container %d (-storm +kernel):\n%s", c.ID, diff)
		}
		if len(c.NSPID) != c.PIDLevel+1 || c.NSPID[0] != int(c.HostPID) || c.NSPID[c.PIDLevel] != 1 {
			t.Errorf("container %d at level %d: pids %v", c.ID, c.PIDLevel, c.NSPID)
		}
	}
}

func TestRunAgreesWithTheKernel(t *testing.T) {
	forks, threads, execs := uint64(30000), uint64(10000), uint64(10000)
	if testing.Short() {
		forks, threads, execs = 3000, 1000, 1000
	}
	before := tasksBorn(t)
	s, ready := start(t, "run", "--pause-at-half",
		"--forks", fmt.Sprint(forks), "--threads", fmt.Sprint(threads), "--execs", fmt.Sprint(execs))
	checkContainers(t, ready)
	checkLive(t, ready, ready.Report)

	levels, extents := map[int]bool{}, map[int]bool{}
	targets, deepest := 0, 0
	for _, c := range ready.Containers {
		levels[c.PIDLevel] = true
		extents[len(c.UIDMap)], extents[len(c.GIDMap)] = true, true
		deepest = max(deepest, c.UserLevel)
		if c.Target {
			targets++
		}
	}
	if targets != 50 || len(levels) != 32 || deepest != 33 || !extents[1] || !extents[5] || !extents[12] || !extents[340] {
		t.Errorf("%d targets at %d levels, user level %d, extents %v", targets, len(levels), deepest, extents)
	}

	if err := s.Go(); err != nil {
		t.Fatal(err)
	}
	half, err := s.Half()
	if err != nil {
		t.Fatal(err)
	}
	checkLive(t, ready, half)
	if err := s.Go(); err != nil {
		t.Fatal(err)
	}
	done, err := s.Done()
	if err != nil {
		t.Fatal(err)
	}
	checkLive(t, ready, done)

	// Beside the load: two probes in each container, and in each target a late
	// process with two threads.
	diff := done.Sum.Sub(*ready.Report.Sum)
	probes, late := 2*uint64(len(ready.Containers)), uint64(targets)
	want := account.Totals{
		Forks: forks + probes + late, Threads: threads + 2*late, Execs: execs,
		ExitZero: diff.ExitZero, ExitCode: diff.ExitCode, ExitSignal: forks + probes - diff.ExitZero - diff.ExitCode,
		LiveProcesses: ready.Report.Sum.LiveProcesses + late, LiveThreads: ready.Report.Sum.LiveThreads + 2*late,
	}
	if d := cmp.Diff(want, diff); d != "" {
		t.Errorf("storm (-asked +account):\n%s", d)
	}
	if diff.ExitCode == 0 || diff.ExitSignal == 0 {
		t.Errorf("some kind of exit never happened: %+v", diff)
	}
	// The machine's other processes count here too, so this is a floor.
	nested, host := done.Sum.Forks+done.Sum.Threads, done.Host.Forks
	if born := tasksBorn(t) - before; born < nested+host {
		t.Errorf("kernel counted %d tasks, account has %d nested and %d on the host", born, nested, host)
	} else {
		t.Logf("kernel counted %d tasks, account has %d nested and %d on the host; storm took %.2f s", born, nested, host, done.Seconds)
	}
	if err := s.Quit(); err != nil {
		t.Fatal(err)
	}
	checkGone(t, ready)
}

// checkGone finds no task in any of the namespaces.
func checkGone(t *testing.T, ready stormtest.Ready) {
	t.Helper()
	found := scan(t)
	for _, c := range ready.Containers {
		if l, ok := found[c.Namespaces["pid"]]; ok {
			t.Errorf("container %d is left with %+v", c.ID, l)
		}
	}
}

// A killed storm takes everything along; so does the end of its input.
func TestNothingOutlivesStorm(t *testing.T) {
	for name, end := range map[string]func(*stormtest.Storm) error{
		"killed":             func(s *stormtest.Storm) error { return unix.Kill(int(s.PID()), unix.SIGKILL) },
		"killed in the rush": func(s *stormtest.Storm) error { return errors.Join(s.Go(), unix.Kill(int(s.PID()), unix.SIGKILL)) },
		"quit in the rush":   func(s *stormtest.Storm) error { return errors.Join(s.Go(), s.Quit()) },
	} {
		t.Run(name, func(t *testing.T) {
			s, ready := start(t, "run", "--containers", "8", "--levels", "1-6")
			var ends []unix.PollFd
			for _, c := range ready.Containers {
				fd, err := unix.PidfdOpen(int(c.HostPID), 0)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				ends = append(ends, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
			}
			if err := end(s); err != nil {
				t.Fatal(err)
			}
			for i := range ends {
				n, err := unix.Poll(ends[i:i+1], 20_000)
				for errors.Is(err, unix.EINTR) {
					n, err = unix.Poll(ends[i:i+1], 20_000)
				}
				if n != 1 || err != nil {
					t.Errorf("pid 1 of container %d lives on: %v", ready.Containers[i].ID, err)
				}
			}
			// Who killed storm leaves its zombies to the machine's init.
			found := scan(t)
			for _, c := range ready.Containers {
				if l := found[c.Namespaces["pid"]]; l.Processes > 0 {
					t.Errorf("container %d is left with %+v", c.ID, l)
				}
			}
		})
	}
}

func TestBurst(t *testing.T) {
	const rate, seconds = 200, 2
	s, ready := start(t, "burst", "--rate", fmt.Sprint(rate), "--seconds", fmt.Sprint(seconds))
	if err := s.Go(); err != nil {
		t.Fatal(err)
	}
	done, err := s.Done()
	if err != nil {
		t.Fatal(err)
	}
	checkLive(t, ready, done)
	target := ready.Containers[len(ready.Containers)-1].ID
	diff := stormtest.Accounts(done)[target].Sub(stormtest.Accounts(ready.Report)[target])
	want := account.Totals{
		Forks: rate*seconds + 2 + 1, Threads: 2, Execs: rate * seconds, ExitZero: rate*seconds + 2,
		LiveProcesses: 5, LiveThreads: 3,
	}
	if d := cmp.Diff(want, diff); d != "" {
		t.Errorf("burst (-asked +account):\n%s", d)
	}
	// Deadlines are absolute: the last start of a half is never early.
	if least := (rate*seconds/2 - 1) / float64(rate); done.Pace == nil || done.Pace.Seconds < least {
		t.Errorf("pace %+v, want at least %v s", done.Pace, least)
	}
	if err := s.Quit(); err != nil {
		t.Fatal(err)
	}
}

func TestMany(t *testing.T) {
	s, ready := start(t, "many", "--processes", "2000", "--containers", "10")
	checkLive(t, ready, ready.Report)
	if got, want := ready.Report.Sum.LiveProcesses, uint64(2000+11); got != want {
		t.Errorf("%d processes, want %d", got, want)
	}
	if err := s.Quit(); err != nil {
		t.Fatal(err)
	}
	checkGone(t, ready)
}

func TestHostileBytesAreThere(t *testing.T) {
	cgroup := cgroupParent(t)
	s, ready := start(t, "hostile", "--cgroup", cgroup)
	checkLive(t, ready, ready.Report)
	cases := 0
	for _, c := range ready.Containers {
		if c.Hostile == nil {
			continue
		}
		cases++
		got := *c.Hostile
		dir := fmt.Sprintf("/proc/%d/", c.HostPID)
		comm, err := os.ReadFile(dir + "comm")
		if err != nil {
			t.Fatal(err)
		}
		cmdline, err := os.ReadFile(dir + "cmdline")
		if err != nil {
			t.Fatal(err)
		}
		if len(cmdline) < 4096 {
			t.Errorf("case %s: argv has %d bytes", got.Case, len(cmdline))
		}
		got.Comm = bytes.TrimSuffix(comm, []byte("\n"))
		got.Argv = bytes.Split(bytes.TrimSuffix(cmdline, []byte{0}), []byte{0})
		got.Hostname = hostnameOf(t, dir)
		procs, err := os.ReadFile(filepath.Clean(cgroup) + "/" + string(c.Hostile.Cgroup) + "/cgroup.procs")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains("\n"+string(procs), fmt.Sprintf("\n%d\n", c.HostPID)) {
			t.Errorf("case %s: its cgroup holds %q, not %d", got.Case, procs, c.HostPID)
		}
		if diff := cmp.Diff(*c.Hostile, got); diff != "" {
			t.Errorf("case %s (-storm +kernel):\n%s", got.Case, diff)
		}
	}
	if cases < 6 {
		t.Errorf("%d hostile cases", cases)
	}
	if err := s.Quit(); err != nil {
		t.Fatal(err)
	}
}

// hostnameOf asks a thread that enters the UTS namespace and is then thrown away.
func hostnameOf(t *testing.T, dir string) []byte {
	t.Helper()
	type answer struct {
		name []byte
		err  error
	}
	answers := make(chan answer)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		var uts unix.Utsname
		fd, err := unix.Open(dir+"ns/uts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.Setns(fd, unix.CLONE_NEWUTS), unix.Uname(&uts), unix.Close(fd))
		}
		name, _, _ := bytes.Cut(uts.Nodename[:], []byte{0})
		answers <- answer{name, err}
	}()
	a := <-answers
	if a.err != nil {
		t.Fatal(a.err)
	}
	return a.name
}
