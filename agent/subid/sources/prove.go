package sources

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Namespace is a user namespace that the caller knows to exist.
type Namespace struct {
	Name string // printable: for evidence
	UIDs identity.UIDMap
	GIDs identity.GIDMap
}

// Prover proves that nobody uses a range. It looks at
//
//   - every thread: its real, effective, saved and file system uid and gid, and
//     its groups;
//   - the user namespace of every process: what it maps;
//   - user namespaces without a process, which a file descriptor, a bind mount
//     or a child namespace keeps: procfs does not show them, so Known must;
//   - every idmapped mount in a mount namespace (see mounts).
//
// Not covered: ids in what is no task, namespace or mount, that is credentials
// kept by open files and io_uring personalities, System V IPC, keys, files on
// disk; mounts in no mount namespace (detached, lazily unmounted, or kept by an
// overlay for its layers); and privileged processes of the host that take an id
// of the range only after they were looked at.
type Prover struct {
	// Proc is procfs of the host's pid namespace.
	Proc string
	// Known returns the user namespaces that other witnesses know, with or
	// without processes. nil: there is no such witness, and no proof.
	Known func() ([]Namespace, error)

	now    func() time.Time
	mounts func(proc string) ([]idmappedMount, error)
}

// NewProver returns a Prover for the running kernel.
func NewProver(proc string, known func() ([]Namespace, error)) *Prover {
	return &Prover{Proc: proc, Known: known, now: time.Now, mounts: idmappedMounts}
}

// Prove answers for one range.
func (p *Prover) Prove(r subid.Range) subid.Proof { return p.ProveAll([]subid.Range{r})[0] }

// ProveAll answers for many ranges with one look at the machine.
func (p *Prover) ProveAll(ranges []subid.Range) []subid.Proof {
	t := newTargets(ranges, p.now())
	// Processes come first: what one of them makes before it ends, a namespace
	// or a mount, is still there when those are looked at.
	p.checkReader(t)
	p.walk(t, func(pid int) error { return p.look(pid, t) })
	p.known(t)
	p.checkMounts(t)
	return t.proofs
}

// The kernel's fixed inode numbers of the initial namespaces
// (include/linux/proc_ns.h).
const (
	initPIDNS  = "pid:[4026531836]"
	initUserNS = "user:[4026531837]"
)

// checkReader says why this process cannot see all there is.
func (p *Prover) checkReader(t *targets) {
	unsupported := func(format string, args ...any) {
		t.all(subid.Evidence{Answer: subid.Unsupported, Text: fmt.Sprintf(format, args...)})
	}
	for _, ns := range []struct{ link, want, fix string }{
		{"self/ns/pid", initPIDNS, "use the host's pid namespace (hostPID: true) and its procfs"},
		{"self/ns/user", initUserNS, "run in the host's user namespace"},
	} {
		path := filepath.Join(p.Proc, ns.link)
		got, err := os.Readlink(path)
		if err != nil {
			unsupported("read own view: %v: %s", err, ns.fix)
		} else if got != ns.want {
			unsupported("%s is %s, not the host's %s: %s", path, quote(got), ns.want, ns.fix)
		}
	}
	// hidepid hides processes without a sign from who lacks this capability.
	text, err := readFile(filepath.Join(p.Proc, "self", "status"), maxStatus)
	if err != nil {
		unsupported("read own capabilities: %v", err)
		return
	}
	if s, err := parseStatus(text); err != nil {
		unsupported("parse own status: %v", err)
	} else if s.caps&(1<<unix.CAP_SYS_PTRACE) == 0 {
		unsupported("processes may be hidden from this one: give it CAP_SYS_PTRACE")
	}
}

// known asks the other witness.
func (p *Prover) known(t *targets) {
	if p.Known == nil {
		t.all(subid.Evidence{Answer: subid.Unsupported, Text: "nobody watches user namespaces without a process: run the agent"})
		return
	}
	namespaces, err := p.Known()
	if err != nil {
		t.doubt("list known user namespaces: %v", err)
		return
	}
	for _, ns := range namespaces {
		for _, m := range [][]identity.Extent{ns.UIDs, ns.GIDs} {
			t.holds(holds(m), func() string { return "user namespace " + quote(ns.Name) + " maps it" })
		}
	}
}

// targets are the ranges to prove, with what was found of each.
type targets struct {
	ranges []subid.Range
	proofs []subid.Proof
	// blocks that a range touches: most ids are in none, and cost one look.
	blocks [1 << 16]bool
}

func newTargets(ranges []subid.Range, at time.Time) *targets {
	t := &targets{ranges: ranges, proofs: make([]subid.Proof, len(ranges))}
	for i, r := range ranges {
		t.proofs[i] = subid.Proof{Range: r, Liveness: subid.Released, At: at}
		if err := r.Validate(); err != nil {
			t.proofs[i].Add(subid.Evidence{Answer: subid.Unsupported, Text: err.Error()})
			continue
		}
		for b := uint64(r.Start) / subid.BlockSize; b <= (r.End()-1)/subid.BlockSize; b++ {
			t.blocks[b] = true
		}
	}
	return t
}

func (t *targets) all(e subid.Evidence) {
	for i := range t.proofs {
		t.proofs[i].Add(e)
	}
}

func (t *targets) doubt(format string, args ...any) {
	t.all(subid.Evidence{Answer: subid.Indeterminate, Text: fmt.Sprintf(format, args...)})
}

// holds finds the ranges that share an id with held.
func (t *targets) holds(held []subid.Range, text func() string) {
	for _, h := range held {
		for i, r := range t.ranges {
			if r.Overlaps(h) {
				t.proofs[i].Add(subid.Evidence{Answer: subid.Alive, Text: text()})
			}
		}
	}
}

// has finds the ranges that an id is in.
func (t *targets) has(id uint32, text func() string) {
	if t.blocks[id/subid.BlockSize] {
		t.holds([]subid.Range{{Start: id, Count: 1}}, text)
	}
}
