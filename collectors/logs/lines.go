package logs

import (
	"bytes"
	"time"

	"github.com/eyas-agent/eyas/bpf"
)

// MaxLine is the most bytes of a line; what is longer comes in parts.
const MaxLine = 16 << 10

// part is a line, or a part of one. Its body is good until the next call.
type part struct {
	body    []byte
	time    uint64 // when its last byte was written, ns since boot
	seq     uint64
	partial bool
	dropped bpf.LogDrops // right before it
}

// stream makes lines of what is written to one of a container's streams.
type stream struct {
	pending []byte    // the beginning of a line
	last    writer    // who wrote its end
	time    uint64    // when
	heard   time.Time // when that was read
	seq     uint64
	seen    bpf.LogDrops // as far as the kernel told
	untold  bpf.LogDrops // lost since the last part
	counted bpf.LogStream
}

// writer is who wrote a record.
type writer struct {
	pid, uid, gid uint32
	levels        int
	comm          string
	pids          [8]uint32
}

func writerOf(l *bpf.Log) writer {
	w := writer{pid: l.PID, uid: l.UID, gid: l.GID, levels: l.Levels, comm: l.Comm}
	copy(w.pids[:], l.PIDs)
	return w
}

// add takes a record over. What was lost in the middle of a line ends its part.
func (s *stream) add(l *bpf.Log, emit func(part, writer)) {
	if s.lose(l.Dropped) {
		s.flush(emit)
	}
	s.untold = plus(s.untold, minus(l.Dropped, s.seen))
	s.seen = later(s.seen, l.Dropped)
	s.last, s.time = writerOf(l), l.Time
	for rest := l.Data; len(rest) > 0; {
		line := rest
		end := bytes.IndexByte(rest, '\n')
		if end >= 0 {
			line, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		for room := MaxLine - len(s.pending); len(line) > room; room = MaxLine {
			s.pending = append(s.pending, line[:room]...)
			line = line[room:]
			s.flush(emit)
		}
		switch {
		case end < 0:
			s.pending = append(s.pending, line...)
		case len(s.pending) == 0:
			s.emit(line, false, emit)
		default:
			s.pending = append(s.pending, line...)
			s.emit(s.pending, false, emit)
			s.pending = s.pending[:0]
		}
	}
}

// lose reports whether the kernel lost something since the last record.
func (s *stream) lose(now bpf.LogDrops) bool {
	return now.Records > s.seen.Records || now.Bytes > s.seen.Bytes
}

// flush emits the beginning of a line as a part.
func (s *stream) flush(emit func(part, writer)) {
	if len(s.pending) == 0 {
		return
	}
	s.emit(s.pending, true, emit)
	s.pending = s.pending[:0]
}

// end emits what is left when the container is gone. Losses after the last line
// come with a part without a body.
func (s *stream) end(final bpf.LogDrops, emit func(part, writer)) {
	s.flush(emit)
	s.untold = plus(s.untold, minus(final, s.seen))
	s.seen = later(s.seen, final)
	if s.untold != (bpf.LogDrops{}) {
		s.emit(nil, true, emit)
	}
}

func (s *stream) emit(body []byte, partial bool, emit func(part, writer)) {
	s.seq++
	emit(part{body: body, time: s.time, seq: s.seq, partial: partial, dropped: s.untold}, s.last)
	s.untold = bpf.LogDrops{}
}

func plus(a, b bpf.LogDrops) bpf.LogDrops {
	return bpf.LogDrops{Records: a.Records + b.Records, Bytes: a.Bytes + b.Bytes}
}

// minus is what a has more than b: records of two CPUs may come in either order.
func minus(a, b bpf.LogDrops) (d bpf.LogDrops) {
	if a.Records > b.Records {
		d.Records = a.Records - b.Records
	}
	if a.Bytes > b.Bytes {
		d.Bytes = a.Bytes - b.Bytes
	}
	return d
}

func later(a, b bpf.LogDrops) bpf.LogDrops {
	return bpf.LogDrops{Records: max(a.Records, b.Records), Bytes: max(a.Bytes, b.Bytes)}
}
