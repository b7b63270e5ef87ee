//go:build host

package host

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// step is a container of a chain: what the runtime says of it, and a process
// in it.
type step struct {
	name, runtime, id string
	member            int
}

// ids are of one process at one level.
type ids struct{ PID, UID, GID uint32 }

// rung is a step of an answer.
type rung struct {
	Name, Runtime, ContainerID string
	ids
}

func rungs(id identity.Identity) []rung {
	var out []rung
	for _, k := range id.Chain[1:] {
		r := rung{Name: k.Name, Runtime: k.Runtime, ContainerID: k.ContainerID}
		if k.PID != nil && k.UID != nil && k.GID != nil {
			r.ids = ids{uint32(*k.PID), uint32(*k.UID), uint32(*k.GID)}
		}
		out = append(out, r)
	}
	return out
}

// check compares every answer about a process with its chain; own is what the
// process told of itself. It returns a function that does so when it is dead.
func (w *workload) check(pid int, own ids, chain ...step) (dead func()) {
	w.t.Helper()
	var want []rung
	for _, s := range chain {
		want = append(want, rung{s.name, s.runtime, s.id, w.inside(s.member, pid)})
	}
	if got := want[len(want)-1].ids; got != own {
		w.t.Fatalf("the innermost /proc says %+v, the process %+v", got, own)
	}
	number := strconv.Itoa(pid)
	var id identity.Identity
	w.named(func() error {
		id = identity.Identity{}
		w.ask(&id, "whois", "pid", number)
		if diff := cmp.Diff(want, rungs(id), cmp.AllowUnexported(rung{})); diff != "" {
			return fmt.Errorf("pid %d differs (-inside +eyas):\n%s", pid, diff)
		}
		return nil
	})
	if id.State != "live" || int(id.Host.PID) != pid {
		w.t.Errorf("pid %d: state %s, pid %d", pid, id.State, id.Host.PID)
	}
	w.checkLine(number, chain)
	w.checkWayBack(id)
	w.checkTree(id)
	return func() {
		w.t.Helper()
		w.named(func() error {
			var now identity.Identity
			w.ask(&now, "whois", "pid", number)
			if now.State != "exited" {
				return fmt.Errorf("pid %d is %s", pid, now.State)
			}
			if diff := cmp.Diff(id.Chain, now.Chain); diff != "" {
				return fmt.Errorf("pid %d: chain (-alive +dead):\n%s", pid, diff)
			}
			return nil
		})
	}
}

// named waits until an answer is as it should be: names are found soon after
// the start, not at it.
func (w *workload) named(ask func() error) {
	w.t.Helper()
	w.eventually("answer", ask)
}

func (w *workload) ask(out any, args ...string) {
	w.t.Helper()
	text, stderr, code := w.a.eyas(append(args, "-o", "json")...)
	if code != 0 {
		w.t.Fatalf("%v: %s", args, stderr)
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		w.t.Fatal(err)
	}
}

// inside is what a member of a container sees of a process: the container's own
// procfs is read from within its namespaces.
func (w *workload) inside(member, pid int) ids {
	w.t.Helper()
	there, ok1 := readFacts(member)
	f, ok2 := readFacts(pid)
	if !ok1 || !ok2 {
		w.t.Fatalf("pid %d or %d is gone", member, pid)
	}
	inner := f.NSpid[len(there.NSpid)-1]
	c := exec.Command("nsenter", "--target", strconv.Itoa(member), "--user", "--pid", "--mount", "--",
		"cat", fmt.Sprintf("/proc/%d/status", inner))
	c.Env = []string{"PATH=/bin:/usr/bin"}
	out, err := c.CombinedOutput()
	if err != nil {
		w.t.Fatalf("look from inside: %v: %s", err, out)
	}
	got := ids{PID: inner}
	for _, line := range strings.Split(string(out), "\n") {
		key, v, _ := strings.Cut(line, ":\t")
		fields := strings.Fields(v)
		switch key {
		case "Name":
			if v != f.Comm {
				w.t.Fatalf("pid %d is %q inside, %q on the host", inner, v, f.Comm)
			}
		case "Uid":
			got.UID = num(fields[1])
		case "Gid":
			got.GID = num(fields[1])
		}
	}
	return got
}

// checkLine demands the chain in the form that people read.
func (w *workload) checkLine(pid string, chain []step) {
	w.t.Helper()
	var names []string
	for _, s := range chain {
		names = append(names, s.runtime+":"+s.name)
	}
	out, stderr, code := w.a.eyas("whois", "pid", pid)
	line, _, _ := strings.Cut(out, "\n")
	if want := "pid " + pid + ": " + strings.Join(names, " ▸ "); code != 0 || line != want {
		w.t.Errorf("whois says %q, want %q; %s", line, want, stderr)
	}
}

// checkWayBack asks for the process, and for its uid, as each level knows them.
func (w *workload) checkWayBack(id identity.Identity) {
	w.t.Helper()
	var names, shorts []string
	for _, k := range id.Chain[1:] {
		names, shorts = append(names, k.Name), append(shorts, k.ID)
		ways := []string{strings.Join(shorts, "/"), k.ID}
		if strings.Contains(k.Name, w.number) { // others may be a build's or a command's, too
			ways = append(ways, strings.Join(names, "/"))
		}
		if k.ContainerID != "" {
			ways = append(ways, k.ContainerID)
		}
		for _, in := range ways {
			var back identity.Identity
			w.ask(&back, "whois", "--in", in, "pid", fmt.Sprint(*k.PID))
			if back.Host.PID != id.Host.PID {
				w.t.Errorf("pid %d in %s is pid %d on the host, want %d", *k.PID, in, back.Host.PID, id.Host.PID)
			}
			var out identity.IDAnswer
			w.ask(&out, "whois", "--in", in, "uid", fmt.Sprint(*k.UID))
			if out.ID == nil || *out.ID != uint32(id.Host.UID) {
				w.t.Errorf("uid %d in %s is %v on the host, want %d", *k.UID, in, out.ID, id.Host.UID)
			}
		}
	}
	inner := id.Chain[len(id.Chain)-1]
	var owners identity.IDAnswer
	w.ask(&owners, "whois", "uid", fmt.Sprint(id.Host.UID))
	for _, o := range owners.Owners {
		last := o.Chain[len(o.Chain)-1]
		if last.ID == inner.ID && last.UID != nil && *last.UID == *inner.UID && slices.Contains(o.Processes, id.Host.PID) {
			return
		}
	}
	w.t.Errorf("host uid %d is nobody's uid %d in %s: %+v", id.Host.UID, *inner.UID, inner.ID, owners.Owners)
}

// checkTree demands that each step of a chain stands below the one before it.
func (w *workload) checkTree(id identity.Identity) {
	w.t.Helper()
	var nodes []identity.TreeNode
	w.ask(&nodes, "tree")
	if len(nodes) == 1 && nodes[0].Kind == "node" {
		nodes = nodes[0].Children
	}
	for _, k := range id.Chain[1:] {
		i := slices.IndexFunc(nodes, func(n identity.TreeNode) bool { return n.ID == k.ID })
		if i < 0 {
			w.t.Errorf("the tree lacks %s where it should be: %+v", k.ID, nodes)
			return
		}
		nodes = nodes[i].Children
	}
}

// compare holds the answer about every nested process of the lab against /proc.
func (w *workload) compare(least int) {
	w.t.Helper()
	c := checker{a: w.a}
	boot := tracker.BootClock().Boot
	nested := nestedPIDs()
	for _, pid := range w.members() {
		if slices.Contains(nested, pid) {
			c.one(w.t, pid, boot)
		}
	}
	if c.compared < least {
		w.t.Errorf("%d processes compared with /proc, there are at least %d", c.compared, least)
	}
}
