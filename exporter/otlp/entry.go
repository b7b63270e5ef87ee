package otlp

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// entry is a line in the queue. The names are those of the file on disk.
type entry struct {
	Line identity.LogLine `json:"line"`
	Seen time.Time        `json:"seen"` // when it was put
	size int64
}

// batch is what is sent, stored or dropped together.
type batch struct {
	entries []entry
	Count
	key []byte // on disk; nil: it is from memory
}

func newBatch(entries []entry) batch {
	b := batch{entries: entries}
	for i := range entries {
		b.add(Count{1, entries[i].size})
	}
	return b
}

// Bounds of a batch, and of a line's body.
const (
	maxRecords = 512
	maxBytes   = 1 << 20
	maxBody    = 128 << 10 // two of them fit in the smallest queue
)

// What an entry and a link take without their text. The array that holds the
// entries may be twice as large as needed.
const (
	entryBytes = 768
	linkBytes  = 168
	podBytes   = 120
)

// newEntries copies the lines, as far as their bytes belong to others.
func newEntries(lines []identity.LogLine, now time.Time) []entry {
	entries := make([]entry, len(lines))
	for i, l := range lines {
		if n := len(l.Body) - maxBody; n > 0 {
			l.Body, l.Truncated = l.Body[:maxBody], l.Truncated+uint64(n)
		}
		l.Body = bytes.Clone(l.Body)
		l.Comm = strings.Clone(identity.Valid(l.Comm))
		if l.Time.Before(time.Unix(0, 0)) || l.Time.After(time.Unix(0, math.MaxInt64)) {
			l.Time = time.Time{}
		}
		size := int64(entryBytes + len(l.Body) + len(l.Comm) + 4*len(l.PIDs) + len(l.Container))
		for _, k := range l.Chain {
			size += int64(linkBytes + len(k.ID) + len(k.Name) + len(k.Runtime) + len(k.ContainerID) + len(k.Image) + len(k.PodUID))
			if p := k.Pod; p != nil {
				size += int64(podBytes + len(p.Namespace) + len(p.Name) + len(p.UID) + len(p.Container))
			}
		}
		entries[i] = entry{Line: l, Seen: now, size: size}
	}
	return slices.Clip(entries)
}
