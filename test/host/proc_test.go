//go:build host

package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// facts are what /proc says of one process: the oracle. It shares no code with
// the agent.
type facts struct {
	PID     int
	Start   uint64 // ticks of 10 ms
	NSpid   []uint32
	UID     uint32 // effective
	GID     uint32
	Threads uint32
	PPID    uint32
	Comm    string
	PIDNS   uint32
	UserNS  uint32
	MntNS   uint32
	Cgroup  string // v2
	UIDMap  string
	GIDMap  string
	Zombie  bool
}

// readFacts returns false for a process that is gone.
func readFacts(pid int) (facts, bool) {
	f := facts{PID: pid}
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return f, false
	}
	rest := stat[strings.LastIndexByte(string(stat), ')')+2:]
	fields := strings.Fields(string(rest))
	f.Zombie = fields[0] == "Z" || fields[0] == "X"
	f.Start, _ = strconv.ParseUint(fields[19], 10, 64)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return f, false
	}
	for _, line := range strings.Split(string(status), "\n") {
		key, v, _ := strings.Cut(line, ":\t")
		w := strings.Fields(v)
		switch key {
		case "NSpid":
			for _, x := range w {
				f.NSpid = append(f.NSpid, num(x))
			}
		case "Uid":
			f.UID = num(w[1])
		case "Gid":
			f.GID = num(w[1])
		case "Threads":
			f.Threads = num(w[0])
		case "PPid":
			f.PPID = num(w[0])
		}
	}
	comm, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return f, false
	}
	f.Comm = strings.TrimSuffix(string(comm), "\n")
	for name, to := range map[string]*uint32{"pid": &f.PIDNS, "user": &f.UserNS, "mnt": &f.MntNS} {
		var st unix.Stat_t
		if err := unix.Stat(dir+"/ns/"+name, &st); err != nil {
			return f, false
		}
		*to = uint32(st.Ino)
	}
	cgroup, err := os.ReadFile(dir + "/cgroup")
	if err != nil {
		return f, false
	}
	for _, line := range strings.Split(string(cgroup), "\n") {
		if p, ok := strings.CutPrefix(line, "0::"); ok {
			f.Cgroup = p
		}
	}
	uids, err1 := os.ReadFile(dir + "/uid_map")
	gids, err2 := os.ReadFile(dir + "/gid_map")
	f.UIDMap, f.GIDMap = squeeze(string(uids)), squeeze(string(gids))
	return f, err1 == nil && err2 == nil
}

func num(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		panic(fmt.Sprintf("number of /proc: %q", s))
	}
	return uint32(n)
}

// squeeze makes a map's lines comparable: one blank between numbers.
func squeeze(s string) string {
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	return strings.Join(lines, "\n")
}

// nestedPIDs lists the processes of /proc whose pid or user namespace is not
// the initial one.
func nestedPIDs() []int {
	var own [2]unix.Stat_t
	for i, n := range []string{"pid", "user"} {
		if err := unix.Stat("/proc/self/ns/"+n, &own[i]); err != nil {
			panic(err)
		}
	}
	dirs, _ := os.ReadDir("/proc")
	var out []int
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		var p, u unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/pid", pid), &p) != nil || unix.Stat(fmt.Sprintf("/proc/%d/ns/user", pid), &u) != nil {
			continue
		}
		if p.Ino != own[0].Ino || u.Ino != own[1].Ino {
			out = append(out, pid)
		}
	}
	return out
}

// asFacts turns an answer into what /proc would say, as far as it goes.
func asFacts(id identity.Identity, boot time.Time, maps map[uint32]identity.NSAnswer) facts {
	f := facts{
		PID: int(id.Host.PID), Start: uint64(id.Host.StartTime.Sub(boot) / (10 * time.Millisecond)),
		UID: uint32(id.Host.UID), GID: uint32(id.Host.GID), Threads: id.Threads, PPID: uint32(id.PPID),
		Comm: id.Comm, MntNS: id.MntNS, Cgroup: id.Cgroup,
	}
	for _, p := range id.PIDs {
		f.NSpid = append(f.NSpid, uint32(p))
	}
	f.PIDNS = id.Chain[len(id.Chain)-1].PIDNS
	f.UserNS = id.UserNSs[len(id.UserNSs)-1].UserNS
	if m, ok := maps[f.UserNS]; ok {
		f.UIDMap, f.GIDMap = mapText(m.HostUIDMap), mapText(m.HostGIDMap)
	} else if len(id.UserNSs) == 1 {
		f.UIDMap, f.GIDMap = "0 0 4294967295", "0 0 4294967295"
	}
	return f
}

func mapText[I, H ~uint32](m identity.Map[I, H]) string {
	var lines []string
	for _, e := range m {
		lines = append(lines, fmt.Sprintf("%d %d %d", e.First, e.Host, e.Count))
	}
	return strings.Join(lines, "\n")
}
