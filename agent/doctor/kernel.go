package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/exporter/api"
)

func kernelChecks() []check[*Node] {
	return []check[*Node]{
		{
			id: "kernel-version", what: "Linux is new enough", look: (*Node).kernelVersion,
			why: "eyas needs 6.1; hostUsers: false needs 6.3, the first with idmapped tmpfs",
			fix: "upgrade the node's kernel",
		},
		{
			id: "kernel-btf", what: "the kernel describes its types (BTF)", look: (*Node).kernelBTF,
			why: "without BTF no program of eyas can be loaded",
			fix: "use a kernel with CONFIG_DEBUG_INFO_BTF=y",
		},
		{
			id: "pid-namespace", what: "doctor sees all processes", look: (*Node).pidNamespace,
			why: "from another pid namespace only a part of the node is seen",
			fix: "run in the host's pid namespace: hostPID: true, or --pid=host",
		},
	}
}

func (n *Node) kernelVersion(context.Context) finding {
	s, err := n.proc.text("sys/kernel/osrelease")
	if err != nil {
		return unreadable(err)
	}
	v, found := parseVersion(s)
	switch {
	case !found:
		return unknownf("release %q has no version", s)
	case v.less(version{6, 1}):
		return failf("%s, eyas needs 6.1", s)
	case v.less(version{6, 3}):
		return warnf("%s: enough for eyas, not for hostUsers: false (6.3)", s)
	}
	return okf("%s", s)
}

func (n *Node) kernelBTF(context.Context) finding {
	st, err := n.sys.stat("kernel/btf/vmlinux")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return failf("no /sys/kernel/btf/vmlinux")
	case err != nil:
		return unreadable(err)
	}
	return okf("%d KiB", st.Size>>10)
}

// initPIDNS is the inode of the initial pid namespace: PROC_PID_INIT_INO.
const initPIDNS = "pid:[4026531836]"

func (n *Node) pidNamespace(context.Context) finding {
	ns, err := os.Readlink(filepath.Join(n.procRoot, "self/ns/pid"))
	if err != nil {
		return unreadable(err)
	}
	if ns != initPIDNS {
		return failf("in %s, the host's is %s", ns, initPIDNS)
	}
	return okf("the host's")
}

func agentChecks() []check[*Node] {
	return []check[*Node]{
		{
			id: "bpf-hooks", what: "every BPF program of the agent fires", look: (*Node).hooks,
			why: "a hook that is missing or silent costs what it tells; see eyas_hook_state",
			fix: "the agent's log names each hook and the kernel's reason; run eyas agent if none runs",
		},
		{
			id: "agent-reconcile", what: "the agent's table equals the kernel", look: (*Node).reconcile,
			why: "answers are as good as the last comparison with the kernel; drift must stay 0",
			fix: "look at the agent's log and CPU time; restart it if it is stuck",
		},
	}
}

func (n *Node) hooks(ctx context.Context) finding {
	h, err := n.agent(ctx)
	if err != nil {
		return unreadable(err)
	}
	works, poor, later := []string{}, []string{}, 0
	for _, k := range alike(h.Hooks) {
		switch {
		case k.State == "unproven" && k.Rare: // waits for what it tells of
			works = append(works, k.names...)
		case k.State == "missing" && k.Reason == bpf.NotYet:
			later += len(k.names)
		case k.State != "active":
			is := "is"
			if len(k.names) > 1 {
				is = "are"
			}
			poor = append(poor, fmt.Sprintf("%d %s %s (%s): %s; without: %s", len(k.names), is, k.State, k.Reason, someOf(k.names), someOf(k.losses)))
		case k.Reason != "":
			poor = append(poor, fmt.Sprintf("%s does not tell %s", strings.Join(k.names, ", "), k.Reason))
		default:
			works = append(works, k.names...)
		}
	}
	if h.Logs != nil && h.Logs.Via == "file" {
		poor = append(poor, fmt.Sprintf("lines of logs come from the files of the runtimes in sandboxes (%s)", h.Logs.Why))
	}
	switch {
	case len(h.Hooks) == 0:
		return unknownf("the agent names no hooks")
	case len(poor) == 0 && later > 0:
		return unknownf("%d of %d active, the others are being attached: ask again", len(works), len(h.Hooks))
	case len(poor) == 0:
		return okf("all %d active: %s", len(works), strings.Join(works, ", "))
	}
	if later > 0 {
		poor = append(poor, fmt.Sprintf("%d still to be attached", later))
	}
	return warnf("%d of %d fully active; %s", len(works), len(h.Hooks), strings.Join(poor, "; "))
}

// someOf joins the first of many.
func someOf(all []string) string {
	const most = 5
	if len(all) <= most+1 {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}

// hooksAlike are hooks in one state for one reason, such as a kernel that
// refuses a kind of program.
type hooksAlike struct {
	api.Hook
	names, losses []string
}

func alike(hooks []api.Hook) (all []*hooksAlike) {
	for _, k := range hooks {
		i := slices.IndexFunc(all, func(o *hooksAlike) bool { return o.State == k.State && o.Reason == k.Reason })
		if i < 0 {
			i = len(all)
			all = append(all, &hooksAlike{Hook: k})
		}
		all[i].names = append(all[i].names, k.Name)
		if !slices.Contains(all[i].losses, k.Loss) {
			all[i].losses = append(all[i].losses, k.Loss)
		}
	}
	return all
}

func (n *Node) reconcile(ctx context.Context) finding {
	h, err := n.agent(ctx)
	if err != nil {
		return unreadable(err)
	}
	if h.LastReconcile.IsZero() {
		return unknownf("no comparison yet")
	}
	ago := n.now().Sub(h.LastReconcile).Round(time.Second)
	switch {
	// Reconciles may be late on a busy node; three intervals are not lateness.
	case h.ReconcileInterval > 0 && ago > 3*h.ReconcileInterval+10*time.Second:
		return failf("last compared %s ago, though every %s", ago, h.ReconcileInterval)
	case h.Drift > 0:
		return warnf("last compared %s ago, %d wrong entries since the agent's start", ago, h.Drift)
	}
	return okf("last compared %s ago, no drift", ago)
}

// version is major and minor.
type version [2]int

func (v version) less(w version) bool { return v[0] < w[0] || v[0] == w[0] && v[1] < w[1] }
func (v version) String() string      { return fmt.Sprintf("%d.%d", v[0], v[1]) }

// parseVersion finds the first N.N in a line such as "runc version 1.1.5+ds1".
func parseVersion(s string) (version, bool) {
	isDigit := func(c byte) bool { return '0' <= c && c <= '9' }
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			continue
		}
		j := i
		for j < len(s) && isDigit(s[j]) {
			j++
		}
		k := j + 1
		for k < len(s) && isDigit(s[k]) {
			k++
		}
		if j < len(s) && s[j] == '.' && k > j+1 {
			major, err1 := strconv.Atoi(s[i:j])
			minor, err2 := strconv.Atoi(s[j+1 : k])
			if err1 == nil && err2 == nil {
				return version{major, minor}, true
			}
		}
		i = j
	}
	return version{}, false
}
