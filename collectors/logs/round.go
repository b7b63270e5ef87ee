package logs

import (
	"bytes"
	"context"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/logs/files"
)

// round reads what the kernel tells within a tick, and delivers it. Who is gone is
// asked before: all that it wrote is then in the ring.
func (c *Collector) round(ctx context.Context, now time.Time, rows bool) error {
	if rows {
		if err := c.findGone(ctx, now); err != nil {
			return err
		}
	}
	c.read = 0
	err := c.src.Read(now.Add(c.o.Tick), func(l *bpf.Log) bool {
		c.take(l, now)
		return c.read < maxBatch
	})
	if err != nil {
		return err
	}
	c.flush(time.Now())
	if rows && c.read < maxBatch { // else the ring may not be empty
		if err := c.bury(); err != nil {
			return err
		}
	}
	c.deliver(ctx)
	return nil
}

func (c *Collector) stream(b bpf.LogBox, fd uint32, now time.Time) *stream {
	x := c.boxes[b]
	if x == nil {
		x = &box{streams: map[uint32]*stream{}, first: now}
		c.boxes[b] = x
	}
	s := x.streams[fd]
	if s == nil {
		s = &stream{}
		x.streams[fd] = s
	}
	return s
}

func (c *Collector) take(l *bpf.Log, now time.Time) {
	s := c.stream(l.Box, l.FD, now)
	s.heard = now
	before := len(s.pending)
	s.add(l, c.emit(l.Box, l.FD))
	if c.held += len(s.pending) - before; c.held > maxPending {
		c.held -= len(s.pending)
		s.flush(c.emit(l.Box, l.FD))
	}
	c.read += len(l.Data) + overhead
}

func (c *Collector) emit(b bpf.LogBox, fd uint32) func(part, writer) {
	return func(p part, w writer) {
		p.body = bytes.Clone(c.o.Redact.apply(p.body))
		c.batch = append(c.batch, raw{b, fd, p, w})
	}
}

// flush ends beginnings of lines that have waited for long enough.
func (c *Collector) flush(now time.Time) {
	for b, x := range c.boxes {
		for fd, s := range x.streams {
			if len(s.pending) > 0 && now.Sub(s.heard) > c.o.Flush {
				c.held -= len(s.pending)
				s.flush(c.emit(b, fd))
			}
		}
	}
}

// findGone marks the containers that are gone, and counts what the kernel has of all.
func (c *Collector) findGone(ctx context.Context, now time.Time) error {
	all, err := c.src.Streams()
	if err != nil {
		return err
	}
	for b, streams := range all {
		if c.boxes[b] == nil {
			c.boxes[b] = &box{streams: map[uint32]*stream{}, first: now}
		}
		for _, s := range streams {
			c.stream(b, s.FD, now)
		}
	}
	if err := c.o.Table.Sync(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	news := false
	c.choose.Lock()
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		news = c.unnoted(t, all, now)
		for b, x := range c.boxes {
			switch {
			case t.ByPIDNS(keyOf(b)) != nil:
			case t.Gone(keyOf(b)) != nil:
				x.gone = true
			default: // not told yet, or long gone
				x.gone = now.Sub(x.first) > unknownFor
			}
		}
	})
	c.choose.Unlock()
	if news {
		return c.src.Adopt()
	}
	return nil
}

// bury counts what the kernel has, and ends and forgets those that are gone.
func (c *Collector) bury() error {
	all, err := c.src.Streams()
	if err != nil {
		return err
	}
	for b, x := range c.boxes {
		if x.gone {
			missing(all[b])
		}
	}
	c.count(all)
	gone := map[bpf.LogBox]bool{}
	for b, x := range c.boxes {
		if !x.gone || !c.src.Drained(b) {
			continue
		}
		gone[b] = true
		for fd, s := range x.streams {
			c.held -= len(s.pending)
			final := s.seen
			for _, row := range all[b] {
				if row.FD == fd {
					final = row.Dropped
				}
			}
			s.end(final, c.emit(b, fd))
		}
		delete(c.boxes, b)
	}
	if len(gone) == 0 {
		return nil
	}
	return c.src.Forget(gone)
}

// streamName is the name of a descriptor's stream.
func streamName(fd uint32) identity.LogStream {
	if fd == bpf.LogStderr {
		return identity.Stderr
	}
	return identity.Stdout
}

// deliver finds whose the lines are, keeps them and hands them to the sinks.
func (c *Collector) deliver(ctx context.Context) {
	if len(c.batch) == 0 {
		return
	}
	// A container that wrote and is not known is one whose birth was not read yet.
	_ = c.o.Table.Sync(ctx) // at the end of the agent, what is known will do
	lines := make([]identity.LogLine, len(c.batch))
	type who struct {
		box bpf.LogBox
		w   writer
	}
	placed := map[who]*identity.LogLine{}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		node := c.o.Node
		node.PIDNS, node.UserNS = t.Initial()
		for i := range c.batch {
			r := &c.batch[i]
			l := &lines[i]
			if p := placed[who{r.box, r.writer}]; p != nil {
				*l = *p
			} else {
				c.place(t, l, r, node)
				placed[who{r.box, r.writer}] = l
			}
			l.Time, l.Stream, l.Seq, l.Body, l.Partial = c.o.Clock.At(r.part.time), streamName(r.fd), r.part.seq, r.part.body, r.part.partial
			l.Dropped, l.DroppedBytes = r.part.dropped.Records, r.part.dropped.Bytes
			l.Via, l.Comm = c.via, r.writer.comm
			c.countLine(t, r.box)
		}
	})
	clear(c.batch)
	c.batch = c.batch[:0]
	c.store.put(lines)
	for _, s := range c.o.Sinks {
		s.Put(lines)
	}
}

// unseer knows containers that the table does not; *files.Source is one.
type unseer interface {
	Unseen(bpf.LogBox) (files.Unseen, bool)
}

func (c *Collector) unseen(b bpf.LogBox) (files.Unseen, bool) {
	if u, ok := c.src.(unseer); ok && b.PIDNS == 0 {
		return u.Unseen(b)
	}
	return files.Unseen{}, false
}

// place says whose line it is. A file does not tell who wrote it.
func (c *Collector) place(t *identity.Table, l *identity.LogLine, r *raw, node identity.Node) {
	defer c.namePod(l)
	w := identity.LogWriter{UID: identity.NoID, GID: identity.NoID}
	if c.via == identity.LogKernel {
		w = c.logWriter(t, r.writer)
	}
	if u, ok := c.unseen(r.box); ok {
		t.PlaceUnseen(l, u.Parent, u.Name, node, c.o.Clock)
		return
	}
	t.PlaceLog(l, keyOf(r.box), w, node, c.o.Clock)
}

// logWriter completes what a record tells of its writer: of deep ones, not all pids.
func (c *Collector) logWriter(t *identity.Table, w writer) identity.LogWriter {
	out := identity.LogWriter{PID: identity.HostPID(w.pid), UID: identity.HostUID(w.uid), GID: identity.HostGID(w.gid)}
	if w.levels <= len(w.pids) {
		for _, p := range w.pids[:w.levels] {
			out.PIDs = append(out.PIDs, identity.PID(p))
		}
	} else if p := t.Process(out.PID); p != nil {
		out.PIDs = append([]identity.PID{identity.PID(w.pid)}, p.PIDs...)
	}
	return out
}
