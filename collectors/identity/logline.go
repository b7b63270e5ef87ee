package identity

import "time"

// LogLine is a line that a nested container wrote to one of its standard streams,
// or a part of one. Body and Comm are bytes of the sandbox: hostile.
type LogLine struct {
	Time      time.Time // when its last byte was written, by the kernel; of a file, as its runtime wrote it
	Container string    // id
	Stream    LogStream
	Seq       uint64 // of the container's stream, from 1, without gaps but for those that Dropped tells
	Body      []byte // without the newline; the bytes as they were written
	// Partial: more of the line follows, or would have: it is longer than a line may be, was flushed on time or at
	// death, or was cut by a loss. One without a Body tells of nothing but what was lost at the end.
	Partial bool
	// Truncated is how many bytes of the line, behind Body, were not copied.
	Truncated uint64
	// Dropped is how many records, and DroppedBytes how many bytes, of the stream
	// were lost right before this line.
	Dropped, DroppedBytes uint64
	Via                   LogWay
	PID                   HostPID // who wrote it; 0: not known
	PIDs                  []PID   // the same at every level
	UID                   HostUID // effective; NoID: not known
	InnerUID              *UID    // the same inside; nil: not mapped, or not known
	Comm                  string
	Chain                 []Link // from the node to the container
}

// LogStream is a standard stream.
type LogStream string

// Standard streams. What is written to a terminal is stdout.
const (
	Stdout LogStream = "stdout"
	Stderr LogStream = "stderr"
)

// LogWay is how a line came to eyas.
type LogWay string

// Ways: the kernel's programs, or the file of the container's own runtime.
const (
	LogKernel LogWay = "kernel"
	LogFile   LogWay = "file"
)
