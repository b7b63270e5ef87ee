package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
)

// LogMonitor holds the programs that tell what containers write to their standard
// streams, their maps and their ring. Read belongs to one goroutine; the rest is
// safe for concurrent use, but for Attach, SelfTest and Close.
type LogMonitor struct {
	trampolines
	reader    *ringbuf.Reader
	raw       ringbuf.Record
	malformed uint64

	mu      sync.Mutex // guards what follows
	each    *ebpf.Program
	eachErr string // why there is none
	eachRan bool
}

// LogOptions of a LogMonitor. Zero values mean the defaults.
type LogOptions struct {
	RingBytes uint32 // size of the ring; default 8 MiB
	Rate      uint64 // bytes a second that a container may write; default 1 MiB
	Burst     uint64 // bytes that it may write at once, above that; default 4 MiB
	Boxes     uint32 // containers the kernel can hold; default 8192
}

// OpenLogs makes the maps; Attach does the rest. The caller closes it.
func OpenLogs(o LogOptions) (*LogMonitor, error) {
	spec, err := loadLogs()
	if err != nil {
		return nil, fmt.Errorf("load embedded programs: %w", err)
	}
	if o.Rate == 0 {
		o.Rate = 1 << 20
	}
	if o.Burst == 0 {
		o.Burst = 4 << 20
	}
	if o.Boxes > 0 {
		spec.Maps[logsMapLogBoxes].MaxEntries = o.Boxes
		spec.Maps[logsMapLogStreams].MaxEntries, spec.Maps[logsMapLogFiles].MaxEntries = 2*o.Boxes, 2*o.Boxes
	}
	ring := ringSize(o.RingBytes)
	spec.Maps[logsMapLogEvents].MaxEntries = ring
	kib := max(1024*uint64(time.Second)/o.Rate, 1)
	if err := errors.Join(
		spec.Variables[logsVarLogWakeupBytes].Set(uint64(ring/8)),
		spec.Variables[logsVarKibNs].Set(kib), spec.Variables[logsVarBurstNs].Set(o.Burst/1024*kib),
	); err != nil {
		return nil, fmt.Errorf("set constants: %w", err)
	}
	m := &LogMonitor{trampolines: trampolines{spec: spec, rows: logsMapLogBoxes, infos: logPrograms(), target: syscallFunction}, eachErr: NotYet}
	if err := m.open(); err != nil {
		return nil, err
	}
	if m.reader, err = ringbuf.NewReader(m.shared.Maps[logsMapLogEvents]); err != nil {
		return nil, errors.Join(fmt.Errorf("open log ring: %w", err), m.trampolines.Close())
	}
	return m, nil
}

// Attach loads and attaches every program that is not. Where none can be on a
// function, no container's streams are looked for.
func (m *LogMonitor) Attach() {
	m.trampolines.Attach()
	for _, h := range m.trampolines.Hooks() {
		if h.Name == logsProgLogsBegin && h.State == HookMissing { // these are for its notes, and load where it does not
			m.drop(logsProgLogsExit, logsProgLogsFree)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.each != nil {
		return
	}
	if !m.Attached() {
		m.eachErr = "no program that would tell what they write could be attached"
		return
	}
	one := m.spec.Copy()
	one.Programs = map[string]*ebpf.ProgramSpec{logsProgLogsEach: one.Programs[logsProgLogsEach]}
	coll, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{MapReplacements: m.shared.Maps})
	if err != nil {
		m.eachErr = "load: " + refusal(err)
		return
	}
	defer coll.Close()
	m.each = coll.DetachProgram(logsProgLogsEach)
}

// SelfTest drives the programs; drive must write, writev and exec. Where those of
// logbegun.h run, which the kernel never skips, what adds up at each write is not needed.
func (m *LogMonitor) SelfTest(drive Drive) {
	m.trampolines.SelfTest(drive)
	if m.notes() {
		m.drop(logsProgLogsSum, logsProgLogsSumv)
	}
	_ = m.Adopt() // the hook's state says it
}

// Adopt notes the streams of containers that run already and are selected.
func (m *LogMonitor) Adopt() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.each == nil {
		return fmt.Errorf("look for streams: %s", m.eachErr)
	}
	l, err := link.AttachIter(link.IterOptions{Program: m.each})
	if err != nil {
		return fmt.Errorf("look for streams: %w", err)
	}
	defer l.Close()
	r, err := l.Open()
	if err != nil {
		return fmt.Errorf("look for streams: %w", err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("look for streams: %w", err)
	}
	m.eachRan = true
	return nil
}

// Read hands every record that is in the ring to f and returns once the ring has
// been empty at or after the deadline, or when f returns false. A Log is good
// until f returns. A closed LogMonitor yields os.ErrClosed.
func (m *LogMonitor) Read(deadline time.Time, f func(*Log) bool) error {
	m.reader.SetDeadline(deadline)
	for {
		if err := m.reader.ReadInto(&m.raw); err != nil {
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ringbuf.ErrFlushed):
				return nil
			case errors.Is(err, ringbuf.ErrClosed):
				return os.ErrClosed
			}
			return fmt.Errorf("read log ring: %w", err)
		}
		r, err := decodeLog(m.raw.RawSample)
		if err != nil {
			m.malformed++ // of another build
			continue
		}
		if !f(&r) {
			return nil
		}
	}
}

// Drained reports true: what a container wrote that is gone is in the ring.
func (m *LogMonitor) Drained(LogBox) bool { return true }

// Flush makes Read hand over what is in the ring and return.
func (m *LogMonitor) Flush() error { return m.reader.Flush() }

// Close detaches and frees everything, and unblocks Read.
func (m *LogMonitor) Close() error {
	err := errors.Join(m.reader.Close(), m.trampolines.Close())
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.each != nil {
		err = errors.Join(err, m.each.Close())
		m.each = nil
	}
	return err
}
