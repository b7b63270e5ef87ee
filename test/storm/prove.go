package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/eyas-agent/eyas/test/storm/account"
)

// prove asks the kernel whether the accounts are right. A pid namespace hands
// out its pids one by one (idr_alloc_cyclic in kernel/pid.c), so in a namespace
// that has not wrapped the pid of its newest task is the number of tasks,
// processes and threads alike, ever born in it and in the namespaces below. Each
// container forks one probe, which goes to its account, and whose pid must be
// the sum over its subtree. Nothing else may be going on in the storm.
func (s *storm) prove(ctx context.Context) (proven, wrapped int, err error) {
	pidMax, err := readUint("/proc/sys/kernel/pid_max")
	if err != nil {
		return 0, 0, err
	}
	for _, n := range s.containers() {
		answer, err := n.worker.call(ctx, "probe")
		if err != nil {
			return 0, 0, err
		}
		pids, err := parseInts(strings.Fields(answer))
		if err != nil {
			return 0, 0, fmt.Errorf("probe container %d: %w", n.ID, err)
		}
		n.totals = n.totals.Add(account.Totals{Forks: 1, ExitZero: 1})
		if len(pids) <= n.PIDLevel {
			return 0, 0, fmt.Errorf("probe container %d: pids %v, want level %d", n.ID, pids, n.PIDLevel)
		}
		counted := s.born(n)
		switch born := uint64(pids[len(pids)-1]); {
		case born == counted:
			proven++
		case counted >= pidMax:
			wrapped++
		default:
			return 0, 0, fmt.Errorf("prove container %d (pid level %d): account has %d tasks, the kernel's pid counter %d",
				n.ID, n.PIDLevel, counted, born)
		}
	}
	return proven, wrapped, nil
}

// born is the number of tasks ever born in a container and below it.
func (s *storm) born(root *node) uint64 {
	var sum uint64
	for _, n := range s.containers() {
		for at := n; at != nil; at = at.up {
			if at == root {
				sum += n.totals.Forks + n.totals.Threads
				break
			}
		}
	}
	return sum
}

// describe reads what the host sees of a container.
func (s *storm) describe(n *node) (account.Container, error) {
	c := account.Container{
		ID: n.ID, HostPID: n.worker.pid, PIDLevel: n.PIDLevel, UserLevel: n.UserLevel, Execed: n.Exec,
		OwnUser: n.Form.User, UIDMap: n.UIDMap, GIDMap: n.GIDMap, HostUIDs: n.HostUIDs, HostGIDs: n.HostGIDs, Target: n.Target, Hostile: n.hostile,
		Namespaces: map[string]uint64{},
	}
	if n.up != nil {
		c.Parent = n.up.ID
	}
	dir := fmt.Sprintf("/proc/%d/", c.HostPID)
	for _, name := range []string{"pid", "user", "mnt", "uts", "ipc", "cgroup", "net"} {
		link, err := os.Readlink(dir + "ns/" + name)
		if err != nil {
			return c, fmt.Errorf("read namespace: %w", err)
		}
		if c.Namespaces[name], err = parseNamespace(link); err != nil {
			return c, err
		}
	}
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return c, fmt.Errorf("read start time: %w", err)
	}
	if c.StartTime, err = parseStartTime(string(stat)); err != nil {
		return c, err
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return c, fmt.Errorf("read pids: %w", err)
	}
	if c.NSPID, err = parseNSpid(string(status)); err != nil {
		return c, err
	}
	return c, nil
}

// parseNamespace takes the inode number out of "pid:[4026531836]".
func parseNamespace(link string) (uint64, error) {
	_, number, ok := strings.Cut(link, ":[")
	number, closed := strings.CutSuffix(number, "]")
	inode, err := strconv.ParseUint(number, 10, 64)
	if !ok || !closed || err != nil {
		return 0, fmt.Errorf("parse namespace link %q", link)
	}
	return inode, nil
}

// parseStartTime takes field 22 of proc_pid_stat(5). The second field is the
// comm, which may hold anything, so counting starts behind its last ")".
func parseStartTime(stat string) (uint64, error) {
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("parse stat: %d fields behind the comm", len(fields))
	}
	ticks, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse start time: %w", err)
	}
	return ticks, nil
}

// parseNSpid takes the pids of a process at each level out of its status. The
// comm in the Name line is escaped by the kernel, so it cannot fake another line.
func parseNSpid(status string) ([]int, error) {
	for line := range strings.Lines(status) {
		if pids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return parseInts(strings.Fields(pids))
		}
	}
	return nil, fmt.Errorf("parse status: no NSpid line")
}

func readUint(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read number: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", path, err)
	}
	return n, nil
}
