package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

func limitChecks() []check[*Node] {
	return []check[*Node]{
		{
			id: "keys", what: "users may have enough kernel keys", look: (*Node).keys,
			why: "every container has a session keyring, counted for its host uid: \"unable to create session key: disk quota exceeded\"",
			fix: "sysctl -w kernel.keys.maxkeys=2000 kernel.keys.maxbytes=2000000, or keyring=false in the engine",
		},
		{
			id: "inotify", what: "users may have enough inotify instances and watches", look: (*Node).inotify,
			why: "counted per user namespace and uid, and for its owner above: systemd, kubelets and IDEs inside fail with \"too many open files\"",
			fix: "sysctl -w fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=524288",
		},
		{
			id: "pids", what: "the node has enough pids and threads", look: (*Node).pids,
			why: "every nested process is a process of the node",
			fix: "sysctl -w kernel.pid_max=4194304 kernel.threads-max=500000",
		},
		{
			id: "low-ports", what: "which ports and pings need no privilege", look: (*Node).lowPorts,
			why: "rootless engines cannot publish ports below the bound, nor ping outside the range; both are per network namespace, so a sandbox may differ",
			fix: "set the pod's sysctls net.ipv4.ip_unprivileged_port_start and net.ipv4.ping_group_range",
		},
		{
			id: "state-dir", what: "the history has room", look: (*Node).stateSpace,
			why: "when its file system is full the agent cannot remember who is who",
			fix: "free space, set history-max-bytes, or move state-dir",
		},
	}
}

// atLeast compares numbers below /proc/sys with what a busy node needs.
func (n *Node) atLeast(want map[string]int64, order ...string) finding {
	var seen, low []string
	for _, name := range order {
		v, err := n.proc.number("sys/" + name)
		if err != nil {
			return unreadable(err)
		}
		text := fmt.Sprintf("%s %d", strings.ReplaceAll(name, "/", "."), v)
		seen = append(seen, text)
		if v < want[name] {
			low = append(low, fmt.Sprintf("%s, want %d", text, want[name]))
		}
	}
	if len(low) > 0 {
		return warnf("%s", strings.Join(low, "; "))
	}
	return okf("%s", strings.Join(seen, ", "))
}

func (n *Node) keys(context.Context) finding {
	return n.atLeast(map[string]int64{"kernel/keys/maxkeys": 1000, "kernel/keys/maxbytes": 100_000},
		"kernel/keys/maxkeys", "kernel/keys/maxbytes")
}

func (n *Node) inotify(context.Context) finding {
	return n.atLeast(map[string]int64{"fs/inotify/max_user_instances": 512, "fs/inotify/max_user_watches": 65536},
		"fs/inotify/max_user_instances", "fs/inotify/max_user_watches")
}

func (n *Node) pids(context.Context) finding {
	return n.atLeast(map[string]int64{"kernel/pid_max": 65536, "kernel/threads-max": 32768},
		"kernel/pid_max", "kernel/threads-max")
}

func (n *Node) lowPorts(context.Context) finding {
	port, err := n.proc.number("sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return unreadable(err)
	}
	ping, err := n.proc.text("sys/net/ipv4/ping_group_range")
	if err != nil {
		return unreadable(err)
	}
	f := strings.Fields(ping)
	if len(f) != 2 {
		return unknownf("ping_group_range is %q", ping)
	}
	lo, err1 := strconv.ParseUint(f[0], 10, 64)
	hi, err2 := strconv.ParseUint(f[1], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return unreadable(err)
	}
	groups := fmt.Sprintf("ping for gids %d-%d", lo, hi)
	if lo > hi {
		groups = "ping for no gid"
	}
	return okf("ports from %d, %s", port, groups)
}

// Free space of the state directory: below the first the history is about to
// stop; below the second its default size does not fit.
const (
	spaceFail = 32 << 20
	spaceWarn = 512 << 20
)

func (n *Node) stateSpace(context.Context) finding {
	// The agent's own directory: in a pod it is not the node's.
	dir := n.stateDir
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if errors.Is(err, unix.ENOENT) && dir != "/" {
			dir = filepath.Dir(dir) // it will be made there
			continue
		}
		if err != nil {
			return unreadable(&os.PathError{Op: "statfs", Path: dir, Err: err})
		}
		return judgeSpace(dir, st.Bavail*uint64(st.Bsize), st.Files, st.Ffree)
	}
}

func judgeSpace(dir string, free, files, filesFree uint64) finding {
	text := fmt.Sprintf("%s free at %s", units.BytesSize(float64(free)), dir)
	switch {
	case free < spaceFail:
		return failf("%s", text)
	case files > 0 && filesFree < 16: // some file systems do not count inodes
		return failf("%s, but only %d inodes", text, filesFree)
	case free < spaceWarn:
		return warnf("%s", text)
	}
	return okf("%s", text)
}
