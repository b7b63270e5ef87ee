// Package account is what a storm says about itself: the JSON lines on its
// standard output, and the arithmetic on them. The command writes these types,
// package stormtest reads them; the package touches nothing.
//
// Everything is counted by the innermost pid namespace of the task:
//
//   - a fork is a new process (a thread-group leader) born in the container. A
//     clone(CLONE_NEWPID) child counts in the new container, not its parent's;
//   - a thread is a new task that is not a leader;
//   - an exec is a successful execve(2);
//   - an exit is the death of a whole process, its kind being what wait(2)
//     reports, whichever of its tasks died first.
package account

// HostPID is a process id in the pid namespace storm was started in.
type HostPID int

// Totals is the exact account of one container. Processes and Threads are what
// is alive; the rest has been counted since the container was born.
type Totals struct {
	Forks      uint64 `json:"forks"`
	Threads    uint64 `json:"threads"`
	Execs      uint64 `json:"execs"`
	ExitZero   uint64 `json:"exit_zero"`
	ExitCode   uint64 `json:"exit_code"`   // exit status other than 0
	ExitSignal uint64 `json:"exit_signal"` // killed by a signal

	LiveProcesses uint64 `json:"live_processes"`
	LiveThreads   uint64 `json:"live_threads"` // without the leaders
}

// Add returns the sum of two accounts, field by field.
func (t Totals) Add(o Totals) Totals {
	return Totals{
		Forks: t.Forks + o.Forks, Threads: t.Threads + o.Threads, Execs: t.Execs + o.Execs,
		ExitZero: t.ExitZero + o.ExitZero, ExitCode: t.ExitCode + o.ExitCode, ExitSignal: t.ExitSignal + o.ExitSignal,
		LiveProcesses: t.LiveProcesses + o.LiveProcesses, LiveThreads: t.LiveThreads + o.LiveThreads,
	}
}

// Sub returns what was counted after o: the counters' difference beside t's own
// live state, which is a state and no counter.
func (t Totals) Sub(o Totals) Totals {
	return Totals{
		Forks: t.Forks - o.Forks, Threads: t.Threads - o.Threads, Execs: t.Execs - o.Execs,
		ExitZero: t.ExitZero - o.ExitZero, ExitCode: t.ExitCode - o.ExitCode, ExitSignal: t.ExitSignal - o.ExitSignal,
		LiveProcesses: t.LiveProcesses, LiveThreads: t.LiveThreads,
	}
}

// Exits is the number of processes that died.
func (t Totals) Exits() uint64 { return t.ExitZero + t.ExitCode + t.ExitSignal }

// Extent is one line of an id map: Count ids from Inside in the namespace are
// those from Outside in its parent (user_namespaces(7)).
type Extent struct {
	Inside  uint32 `json:"inside"`
	Outside uint32 `json:"outside"`
	Count   uint32 `json:"count"`
}

// Container describes a node of the tree that has a pid namespace of its own.
// The numbers of its namespaces are those the host sees in /proc/PID/ns.
type Container struct {
	ID        int     `json:"id"`
	Parent    int     `json:"parent"` // 0 is the host
	HostPID   HostPID `json:"host_pid"`
	StartTime uint64  `json:"start_time"` // field 22 of /proc/PID/stat, clock ticks
	PIDLevel  int     `json:"pid_level"`  // pid namespaces between it and the host's, itself included
	UserLevel int     `json:"user_level"`
	Execed    bool    `json:"execed"` // its pid 1 has executed a program of its own

	// NSPID is the pid at each level, the host's first, 1 last.
	NSPID      []int             `json:"nspid"`
	Namespaces map[string]uint64 `json:"namespaces"` // inode number by name: pid, user, mnt, uts, ipc, cgroup, net

	// OwnUser tells whether it was cloned into a new user namespace. The maps are
	// those written for the user namespace it lives in, relative to the parent of
	// that; none in the host's.
	OwnUser bool     `json:"own_user"`
	UIDMap  []Extent `json:"uid_map,omitempty"`
	GIDMap  []Extent `json:"gid_map,omitempty"`

	// HostUIDs and HostGIDs are the same maps with the host's ids outside: what
	// /proc/PID/uid_map and gid_map show to a reader in the host's user namespace.
	HostUIDs []Extent `json:"host_uids"`
	HostGIDs []Extent `json:"host_gids"`

	// Target tells whether the storm goes over it; the rest are there because
	// a deeper one needs an ancestor.
	Target  bool     `json:"target"`
	Hostile *Hostile `json:"hostile,omitempty"`
}

// Hostile holds the exact bytes a hostile container was given.
type Hostile struct {
	Case     string   `json:"case"`
	Comm     []byte   `json:"comm"` // as the kernel keeps it: 15 bytes at most
	Argv     [][]byte `json:"argv"`
	Hostname []byte   `json:"hostname"`
	Cgroup   []byte   `json:"cgroup,omitempty"` // last part of the cgroup's path
}

// Line is the account of one container in an event.
type Line struct {
	ID int `json:"id"`
	Totals
}

// Pace says how well a rate was kept.
type Pace struct {
	Rate        float64 `json:"rate"`         // wanted, processes per second
	Achieved    float64 `json:"achieved"`     // kept, processes per second
	Seconds     float64 `json:"seconds"`      // from the first start to the last death
	LateSeconds float64 `json:"late_seconds"` // worst delay of a start behind its deadline
}

// The kinds of events, in the order they come.
const (
	EventContainer = "container" // one per container, before ready
	EventReady     = "ready"
	EventHalf      = "half"
	EventDone      = "done"
	EventGone      = "gone" // nothing is left
)

// Event is one line of output.
type Event struct {
	Kind      string     `json:"event"`
	Container *Container `json:"container,omitempty"`

	// Accounts has every container; Host is what storm's own processes did in
	// the pid namespace it was started in, kept apart because they are nested nowhere.
	Accounts []Line  `json:"accounts,omitempty"`
	Host     *Totals `json:"host,omitempty"`
	Sum      *Totals `json:"sum,omitempty"` // of Accounts
	Pace     *Pace   `json:"pace,omitempty"`

	// Proven counts the containers whose account the kernel's own pid counter
	// confirmed just before the event, Wrapped those where it had passed pid_max.
	Proven  int     `json:"proven,omitempty"`
	Wrapped int     `json:"wrapped,omitempty"`
	Seconds float64 `json:"seconds,omitempty"` // since "go", or since the start for ready
}
