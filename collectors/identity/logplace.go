package identity

import "unicode/utf8"

// LogWriter is who wrote a line.
type LogWriter struct {
	PID  HostPID
	UID  HostUID
	GID  HostGID
	PIDs []PID // at every level, the host's first; nil: not known
}

// OwnPIDNS reports whether the container is a pid namespace, not a user namespace in
// one.
func (c *Container) OwnPIDNS() bool { return !c.byUser && c.PIDLevel > 0 }

// ByPIDNS returns the live container that has this pid namespace as its own.
func (t *Table) ByPIDNS(key NSKey) *Container { return t.links[linkKey{pid: key}] }

// IDOf returns the id that the container with this pid namespace has, or had.
func (t *Table) IDOf(pidns NSKey) string { return stableID(t.o.Boot, pidns, NSKey{}) }

// LogChain is the chain of a container as the writer of a line is known in it, and
// the writer's uid inside; nil: it is not mapped.
func (c *Container) LogChain(w LogWriter, node Node, clock Clock) (chain []Link, inner *UID) {
	chain = append(chain, nodeLink(node, ProcessRecord{PID: w.PID, UID: w.UID, GID: w.GID}))
	for _, x := range c.Chain() {
		l := containerLink(x.Record(clock))
		l.Pod = x.brief
		if x.PIDLevel < len(w.PIDs) {
			pid := w.PIDs[x.PIDLevel]
			l.PID = &pid
		}
		l.setIDs(UserNSRecord{UIDs: x.UserNS.UIDs, GIDs: x.UserNS.GIDs}, true, w.UID, w.GID)
		chain = append(chain, l)
		inner = l.UID
	}
	return chain, inner
}

// unknownChain is the chain of a container that the table never had.
func unknownChain(id string, pidns NSKey, node Node, w LogWriter) []Link {
	return []Link{
		nodeLink(node, ProcessRecord{PID: w.PID, UID: w.UID, GID: w.GID}),
		{Kind: "container", ID: id, Name: id, Level: 1, PIDNS: pidns.Inum, Unmapped: true},
	}
}

// PlaceLog says whose line it is that a writer wrote to a stream of the container
// with this pid namespace. false: the table does not know that container.
func (t *Table) PlaceLog(l *LogLine, pidns NSKey, w LogWriter, node Node, clock Clock) bool {
	l.PID, l.UID, l.PIDs = w.PID, w.UID, w.PIDs
	c := t.ByPIDNS(pidns)
	if c == nil {
		c = t.Gone(pidns)
	}
	if c == nil {
		l.Container = t.IDOf(pidns)
		l.Chain = unknownChain(l.Container, pidns, node, w)
		return false
	}
	l.Container = c.ID
	l.Chain, l.InnerUID = c.LogChain(w, node, clock)
	return true
}

// UnseenID is the id that the container with a runtime's id has, inside the one with the
// pid namespace around, if no process told of it.
func (t *Table) UnseenID(around NSKey, id string) string { return stableID(t.o.Boot, around, id) }

// PlaceUnseen does the same for a container that no process told of: it is inside the
// one with the pid namespace around, and has that name. Who wrote it is not known.
func (t *Table) PlaceUnseen(l *LogLine, around NSKey, name Name, node Node, clock Clock) {
	w := LogWriter{UID: NoID, GID: NoID}
	c := t.ByPIDNS(around)
	if c == nil {
		c = t.Gone(around)
	}
	level := 1
	if c != nil {
		l.Chain, _ = c.LogChain(w, node, clock)
		level = c.Level + 1
	} else {
		l.Chain = []Link{nodeLink(node, ProcessRecord{UID: w.UID, GID: w.GID})}
	}
	l.UID, l.Container = w.UID, t.UnseenID(around, name.ID)
	l.Chain = append(l.Chain, containerLink(ContainerRecord{
		ID: l.Container, Display: Valid((&Container{ID: l.Container, Name: name}).DisplayName()), Name: name.valid(), Level: level,
	}))
	l.Chain[len(l.Chain)-1].Unmapped = true
}

// LogAnswer is a LogLine as JSON has it. Raw is there if the body is no UTF-8; Body
// then has bytes that are none as \xNN.
type LogAnswer struct {
	Time           string    `json:"time"` // RFC 3339, ns
	Container      string    `json:"container"`
	Stream         LogStream `json:"stream"`
	Seq            uint64    `json:"seq"`
	Body           string    `json:"body"`
	Raw            []byte    `json:"raw,omitempty"` // base64
	Partial        bool      `json:"partial,omitempty"`
	Truncated      uint64    `json:"truncated,omitempty"`
	DroppedRecords uint64    `json:"dropped_records,omitempty"`
	DroppedBytes   uint64    `json:"dropped_bytes,omitempty"`
	Via            LogWay    `json:"via"`
	PID            HostPID   `json:"pid"`
	PIDs           []PID     `json:"pids"`
	UID            HostUID   `json:"uid"`
	InnerUID       *UID      `json:"inner_uid"`
	Comm           string    `json:"comm"`
	Chain          []Link    `json:"chain"`
}

// Answer returns the line as JSON has it.
func (l LogLine) Answer() LogAnswer {
	a := LogAnswer{
		Time: l.Time.UTC().Format("2006-01-02T15:04:05.000000000Z07:00"), Container: l.Container, Stream: l.Stream, Seq: l.Seq, Body: string(l.Body),
		Partial: l.Partial, Truncated: l.Truncated, DroppedRecords: l.Dropped, DroppedBytes: l.DroppedBytes, Via: l.Via,
		PID: l.PID, PIDs: l.PIDs, UID: l.UID, InnerUID: l.InnerUID, Comm: Valid(l.Comm), Chain: l.Chain,
	}
	if !utf8.Valid(l.Body) {
		a.Raw, a.Body = l.Body, Valid(a.Body)
	}
	return a
}

// About reports whether a line is of a container, or one inside it, by its id; "" is
// all.
func (l *LogLine) About(container string) bool {
	if container == "" || l.Container == container {
		return true
	}
	for i := range l.Chain {
		if l.Chain[i].ID == container {
			return true
		}
	}
	return false
}
