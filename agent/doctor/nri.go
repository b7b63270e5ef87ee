package doctor

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func nriChecks() []check[*Node] {
	return []check[*Node]{
		{
			id: "nri-socket", what: "the runtime offers NRI", look: (*Node).nriSocket,
			why: "only an NRI plugin sees a container between create and start, the moment to prepare it without a race",
			fix: "containerd 1.7: set disable = false in [plugins.\"io.containerd.nri.v1.nri\"]; CRI-O: enable_nri = true",
		},
		{
			id: "nri-config", what: "containerd's NRI is on and patient", look: (*Node).nriConfig,
			why: "NRI fails open: a plugin slower than the time-out is dropped, and containers start without it",
			fix: "in [plugins.\"io.containerd.nri.v1.nri\"] set disable = false, plugin_request_timeout = \"2s\" or more, plugin_registration_timeout = \"5s\" or more",
		},
		{
			id: "nri-connected", what: "the runtime tells the agent of containers", look: (*Node).nriConnected,
			why: "sandboxes that start while nobody hears of them are not prepared, and nothing fails",
			fix: "see the checks before this one, eyas agent's keys nri and nri-socket, and the agent's log",
		},
		{
			id: "nri-unprepared", what: "every sandbox that runs is prepared", look: (*Node).nriUnprepared,
			why: "containers inside such a sandbox lack ids, a cgroup of their own, or both",
			fix: "the agent's log says why for each of them; then restart the pod, or set late in its profile",
		},
	}
}

const nriSocketPath = "/var/run/nri/nri.sock"

func (n *Node) nriSocket(ctx context.Context) finding {
	path := nriSocketPath
	if h, err := n.agent(ctx); err == nil && h.Runtime != nil {
		path = h.Runtime.Socket // the agent may be told another
	}
	st, err := n.root.stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && !n.kubernetes():
		return mootf("no kubelet here, and no %s", path)
	case errors.Is(err, os.ErrNotExist):
		return warnf("no %s", path)
	case err != nil:
		return unreadable(err)
	case st.Mode&unix.S_IFMT != unix.S_IFSOCK:
		return failf("%s is no socket", path)
	}
	return okf("%s", path)
}

func (n *Node) nriConfig(context.Context) finding {
	if _, installed := n.findTool("containerd"); !installed {
		return mootf("no containerd here")
	}
	b, err := n.root.read("etc/containerd/config.toml", 1<<20)
	if errors.Is(err, os.ErrNotExist) {
		return okf("no config.toml: the defaults (on since 2.0)")
	}
	if err != nil {
		return unreadable(err)
	}
	return parseNRI(string(b)).judge()
}

func (n *Node) nriConnected(ctx context.Context) finding {
	h, err := n.agent(ctx)
	switch {
	case err != nil:
		return unreadable(err)
	case h.Runtime == nil:
		return mootf("the agent is told not to: nri is off, or it cannot prepare containers")
	case h.Runtime.Connected:
		return okf("connected to %s", h.Runtime.Socket)
	case !n.root.exists(h.Runtime.Socket) && !n.kubernetes():
		return mootf("no %s", h.Runtime.Socket)
	}
	return failf("not connected to %s", h.Runtime.Socket)
}

func (n *Node) nriUnprepared(ctx context.Context) finding {
	h, err := n.agent(ctx)
	switch {
	case err != nil:
		return unreadable(err)
	case h.Runtime == nil || !h.Runtime.Connected:
		return mootf("the agent does not hear from a runtime")
	case h.Runtime.Unprepared == 0:
		return okf("all")
	}
	more := ""
	if h.Runtime.Unprepared > len(h.Runtime.Names) {
		more = ", …"
	}
	return failf("%d not: %s%s", h.Runtime.Unprepared, strings.Join(h.Runtime.Names, ", "), more)
}

// nriSettings are what a config.toml says; empty: nothing.
type nriSettings struct{ disable, request, registration string }

// parseNRI reads three keys of one table. A TOML library would read all of the
// file, but it is a dependency for three keys, and containerd writes them one
// to a line, as people do. What stands in an imported file is not seen.
func parseNRI(text string) (s nriSettings) {
	const plugin = "io.containerd.nri.v1.nri"
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		if strings.HasPrefix(line, "[") {
			table := strings.Map(func(r rune) rune {
				if strings.ContainsRune("[] \t\"'", r) {
					return -1
				}
				return r
			}, line)
			inside = table == "plugins."+plugin
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !found {
			continue
		}
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), "\"'")
		switch {
		case key == "disabled_plugins" && strings.Contains(value, plugin):
			s.disable = "true"
		case !inside:
		case key == "disable" && s.disable == "":
			s.disable = value
		case key == "plugin_request_timeout":
			s.request = value
		case key == "plugin_registration_timeout":
			s.registration = value
		}
	}
	return s
}

func (s nriSettings) judge() finding {
	if s.disable == "true" {
		return warnf("disabled")
	}
	for _, t := range []struct {
		key, value string
		least      time.Duration
	}{{"plugin_request_timeout", s.request, 2 * time.Second}, {"plugin_registration_timeout", s.registration, 5 * time.Second}} {
		if t.value == "" {
			continue // the default, which is least
		}
		d, err := time.ParseDuration(t.value)
		switch {
		case err != nil:
			return unknownf("%s = %q is no duration", t.key, t.value)
		case d < t.least:
			return warnf("%s is only %s", t.key, d)
		}
	}
	return okf("on, time-outs %s and %s", orDefault(s.request, "2s"), orDefault(s.registration, "5s"))
}

func orDefault(s, d string) string {
	if s == "" {
		return d + " (default)"
	}
	return s
}
