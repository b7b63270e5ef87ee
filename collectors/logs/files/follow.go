package files

import (
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// follow is a file that is followed, and whose it is.
type follow struct {
	tail
	runtime string // whose store it is in
	id      string // the runtime's of the container
	found   time.Time
	seen    time.Time // in its store, last
	turn    time.Time // was read, last
	took    fileID    // of Source.readers
	own     bool      // a store that is the sandbox's alone has it
	filled  time.Time // since when something is to be read, and nobody knows whose; zero: not so

	box     bpf.LogBox // zero: not known yet
	was     bpf.LogBox // that was forgotten
	adopted bool       // it is told by the runtime's id
	latest  time.Time  // of what was told, last
	asked   int        // how often for its name
	told    bpf.LogSelection
	next    *child // a container of the same id that began later
	streams [bpf.LogStderr + 1]bpf.LogStream
	poured  time.Time // into the bucket, last
	bucket  float64   // bytes that may be read

	clock identity.Clock
	now   time.Time
	out   []bpf.Log
	left  []boxEnd // whose it was before
	bytes int      // that out takes
}

// boxEnd is what was told of a container in all, once out is handed over.
type boxEnd struct {
	box     bpf.LogBox
	streams []bpf.LogStream
}

func (f *follow) rows() []bpf.LogStream {
	return []bpf.LogStream{f.streams[bpf.LogStdout], f.streams[bpf.LogStderr]}
}

func (f *follow) put(box bpf.LogBox, sel bpf.LogSelection) {
	f.box, f.told, f.next, f.filled, f.asked = box, sel, nil, time.Time{}, 0
	clear(f.streams[:])
	for fd := range f.streams {
		f.streams[fd].FD = uint32(fd)
	}
}

// fill fills the bucket.
func (f *follow) fill(now time.Time, rate, burst float64) {
	if f.poured.IsZero() {
		f.bucket = burst
	} else {
		f.bucket = min(f.bucket+rate*now.Sub(f.poured).Seconds(), burst)
	}
	f.poured = now
}

// entry implements heard.
func (f *follow) entry(e entry, _ int) {
	if f.next != nil && !e.time.Before(f.next.first) {
		f.left = append(f.left, boxEnd{f.box, f.rows()})
		f.put(f.next.box, f.next.selected)
		f.adopted = false
	}
	f.latest = e.time
	if !f.told.Tells(e.fd) {
		return
	}
	text := make([]byte, len(e.text), len(e.text)+1)
	copy(text, e.text)
	if e.end {
		text = append(text, '\n')
	}
	if len(text) == 0 {
		return
	}
	s := &f.streams[e.fd]
	s.Records++
	s.Bytes += uint64(len(text))
	f.out = append(f.out, bpf.Log{Box: f.box, FD: e.fd, Time: f.moment(e.time), Data: text, Dropped: s.Dropped})
	f.bytes += len(text) + overhead
}

// full implements heard: lines that are short in the file take more in memory.
func (f *follow) full() bool { return f.bytes >= maxBatch }

// moment is a time of a file in ns since boot. One that cannot be is now's.
func (f *follow) moment(t time.Time) uint64 {
	if t.Before(f.clock.Boot) || t.After(f.now.Add(time.Minute)) {
		t = f.now
	}
	return uint64(t.Sub(f.clock.Boot))
}

// lost implements heard. Of which stream it was, is not known.
func (f *follow) lost(bytes int64) {
	fd := bpf.LogStdout
	if !f.told.Tells(fd) {
		fd = bpf.LogStderr
	}
	d := &f.streams[fd].Dropped
	d.Records, d.Bytes = d.Records+1, d.Bytes+uint64(bytes)
}

// child is a container right in a sandbox.
type child struct {
	box      bpf.LogBox
	id       string
	names    []string // ids that it may have with its runtime
	init     identity.ProcessKey
	first    time.Time
	gone     bool
	named    bool
	selected bpf.LogSelection
}

// view is what is known of a sandbox and of what is in it.
type view struct {
	at       time.Time           // all that happened until then is in it
	key      string              // of the sandbox, "" of the node
	around   identity.ProcessKey // first process of what is around it
	pidns    identity.NSKey
	init     identity.ProcessKey // its first process
	inside   bpf.LogSelection    // of a container that nobody knows
	children map[string][]child  // right in it, by each of their names, the latest last
	known    map[string]bool     // names of all containers of the node
	unnamed  bool                // there is one right in it that may get a name yet
}

// find returns the container with an id, and the next one of that id. Engines give
// the first twelve digits as host name.
func (v *view) find(id string, forgotten func(bpf.LogBox) bool) (found, next *child) {
	for _, name := range []string{id, id[:min(len(id), 12)]} {
		all := v.children[name]
		for i := range all {
			switch {
			case forgotten(all[i].box):
			case found == nil:
				found = &all[i]
			case all[i].box != found.box:
				next = &all[i]
			}
		}
		if found != nil {
			return found, next
		}
	}
	return nil, nil
}
