package identity

import "time"

// StatsRow is one live container's numbers at a moment, of those right in it
// where nothing else is said. What is not counted here is null, not 0. Counters
// (…_total) only grow as long as Since stays the same.
type StatsRow struct {
	Time        time.Time `json:"time"`
	Since       time.Time `json:"since"` // when the agent began to count
	ID          string    `json:"id"`
	Parent      string    `json:"parent,omitempty"` // id
	Name        string    `json:"name"`             // raw, as are Runtime and ContainerID
	Runtime     string    `json:"runtime"`
	ContainerID string    `json:"container_id,omitempty"`
	Pod         *Pod      `json:"pod,omitempty"` // of an outermost container
	Level       int       `json:"level"`
	Processes   int       `json:"processes"`
	Threads     int       `json:"threads"`
	Zombies     int       `json:"zombies"`
	Forks       uint64    `json:"forks_total"`
	Execs       uint64    `json:"execs_total"`
	Denials     *uint64   `json:"denials,omitempty"` // cumulative
	// Of its cgroup and those below; null when it has none of its own.
	PIDs     *StatsUse      `json:"pids"`     // tasks
	Memory   *StatsUse      `json:"memory"`   // bytes
	Pressure *StatsPressure `json:"pressure"` // null also when the kernel tells none
	Overlay  *StatsOverlay  `json:"overlay"`
}

// StatsUse is what is used of a limit; null is no limit.
type StatsUse struct {
	Current uint64  `json:"current"`
	Max     *uint64 `json:"max"`
}

// StatsPressure is the share of the last 10 s, in percent, in which some task
// stood still for lack of the resource (avg10 of "some").
type StatsPressure struct {
	CPU    *float64 `json:"cpu"`
	Memory *float64 `json:"memory"`
	IO     *float64 `json:"io"`
}

// StatsOverlay are bytes through the layered file system, of the depth with the
// most where overlays lie upon overlays.
type StatsOverlay struct {
	Read     uint64 `json:"read_bytes_total"`
	Written  uint64 `json:"write_bytes_total"`
	CopiedUp uint64 `json:"copy_up_bytes_total"`
}

// DescribeStats makes a row that says whose it is.
func DescribeStats(c ContainerRecord) StatsRow {
	l := containerLink(c)
	return StatsRow{ID: c.ID, Parent: c.Parent, Name: l.Name, Runtime: l.Runtime, ContainerID: l.ContainerID, Pod: l.Pod, Level: c.Level}
}
