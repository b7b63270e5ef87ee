package bpf

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// LogBox names a container by its pid namespace, for good.
type LogBox struct {
	PIDNS uint32
	Start uint64 // of its first process, ns since boot
}

// LogSelection says what of a pid namespace is told.
type LogSelection uint32

// Selections; both may be.
const (
	LogSelf   = LogSelection(logsEyasLogSelectEYAS_LOG_SELF)
	LogInside = LogSelection(logsEyasLogSelectEYAS_LOG_INSIDE) // of those inside, however deep
)

// What goes with them: a stream that is not told, or nothing at all, neither of the
// container nor of those inside it, whatever is said of others.
const (
	LogNoStdout = LogSelection(logsEyasLogSelectEYAS_LOG_NO_STDOUT)
	LogNoStderr = LogSelection(logsEyasLogSelectEYAS_LOG_NO_STDERR)
	LogNone     = LogSelection(logsEyasLogSelectEYAS_LOG_NONE)
)

// Tells reports whether a stream is told.
func (s LogSelection) Tells(fd uint32) bool {
	no := LogNoStdout
	if fd == LogStderr {
		no = LogNoStderr
	}
	return s&no == 0
}

// LogStdout and LogStderr are the values of a Log's FD.
const (
	LogStdout = uint32(logsEyasLogFdEYAS_LOG_STDOUT)
	LogStderr = uint32(logsEyasLogFdEYAS_LOG_STDERR)
)

// LogChunk is the most bytes in one Log.
const LogChunk = 16384

// Log is a write to a container's stream, or a piece of one.
type Log struct {
	Box     LogBox
	FD      uint32 // LogStdout, LogStderr
	Time    uint64 // ns since boot
	PID     uint32 // host pid
	Start   uint64 // of the process, ns since boot
	UID     uint32 // effective, host ids
	GID     uint32
	PIDs    []uint32 // at the outermost levels, the host's first
	Levels  int      // how many there are
	Comm    string   // bytes of the sandbox: hostile, as is Data
	Data    []byte
	Dropped LogDrops // of the stream, until then
}

// LogDrops count what a container wrote that was not told.
type LogDrops struct{ Records, Bytes uint64 }

// LogStream are the counters of a stream; they only grow.
type LogStream struct {
	FD             uint32
	Records, Bytes uint64 // told
	Dropped        LogDrops
	// Missing are bytes that are neither, because the kernel skipped a run, or they went by
	// sendfile or splice; the next write makes them dropped.
	Missing uint64
}

func decodeLog(b []byte) (Log, error) {
	const fixed = int(unsafe.Sizeof(logsEyasLogRecord{}))
	if len(b) < fixed {
		return Log{}, fmt.Errorf("decode log: %w: %d bytes, need %d", ErrMalformed, len(b), fixed)
	}
	r := readAs[logsEyasLogRecord](b)
	if uint64(r.Len) > uint64(len(b)-fixed) {
		return Log{}, fmt.Errorf("decode log: %w: %d bytes, need %d", ErrMalformed, len(b), fixed+int(r.Len))
	}
	comm := unsafe.Slice((*byte)(unsafe.Pointer(&r.Comm[0])), len(r.Comm))
	l := Log{
		Box: LogBox{PIDNS: r.Box.Pidns, Start: r.Box.Start}, FD: r.Fd, Time: r.Time, PID: r.Pid, Start: r.Start, UID: r.Uid, GID: r.Gid,
		Levels: int(r.Levels), Comm: unix.ByteSliceToString(comm), Data: b[fixed : fixed+int(r.Len)],
		Dropped: LogDrops{Records: r.DroppedRecords, Bytes: r.DroppedBytes},
	}
	l.PIDs = append(l.PIDs, r.Pids[:min(l.Levels, len(r.Pids))]...)
	return l, nil
}

func rawBox(b LogBox) logsEyasLogBox { return logsEyasLogBox{Start: b.Start, Pidns: b.PIDNS} }

// SelectAll sets what is told of all containers: LogSelf of outermost ones,
// LogInside of the others.
func (m *LogMonitor) SelectAll(s LogSelection) error {
	if err := m.shared.Variables[logsVarEverything].Set(uint32(s)); err != nil {
		return fmt.Errorf("select all logs: %w", err)
	}
	return nil
}

// Select sets what is told of a container and of those that will start inside;
// those that run already are noted by Adopt. 0: nothing from then on starts to be.
func (m *LogMonitor) Select(b LogBox, s LogSelection) error {
	key := rawBox(b)
	err := m.shared.Maps[logsMapLogSelected].Put(&key, uint32(s))
	if s == 0 {
		err = m.shared.Maps[logsMapLogSelected].Delete(&key)
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("select logs of pid namespace %d: %w", b.PIDNS, err)
	}
	return nil
}

// Streams reads the counters of all streams of the containers that are told of; some
// have none.
func (m *LogMonitor) Streams() (map[LogBox][]LogStream, error) {
	rows := map[LogBox][]LogStream{}
	var (
		box  logsEyasLogBox
		full uint64
		all  = m.shared.Maps[logsMapLogBoxes].Iterate()
	)
	for all.Next(&box, &full) {
		rows[LogBox{PIDNS: box.Pidns, Start: box.Start}] = nil
	}
	if err := all.Err(); err != nil {
		return nil, fmt.Errorf("read containers with logs: %w", err)
	}
	var (
		k  logsEyasLogKey
		v  logsEyasLogStream
		it = m.shared.Maps[logsMapLogStreams].Iterate()
	)
	for it.Next(&k, &v) {
		b := LogBox{PIDNS: k.Box.Pidns, Start: k.Box.Start}
		s := LogStream{FD: v.Fd, Records: v.Records, Bytes: v.Bytes, Dropped: LogDrops{Records: v.DroppedRecords, Bytes: v.DroppedBytes}}
		if known := v.Bytes + v.DroppedBytes; v.Written > known {
			s.Missing = v.Written - known
		}
		rows[b] = append(rows[b], s)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read log streams: %w", err)
	}
	return rows, nil
}

// Unwatch ends what is told of a container's streams, as far as s does not tell them.
// They are not noted again: a first process keeps its streams.
func (m *LogMonitor) Unwatch(b LogBox, s LogSelection) error {
	var (
		k    logsEyasLogKey
		v    logsEyasLogStream
		over []logsEyasLogKey
		it   = m.shared.Maps[logsMapLogStreams].Iterate()
	)
	for it.Next(&k, &v) {
		if k.Box == rawBox(b) && (s&LogNone != 0 || !s.Tells(v.Fd)) {
			over = append(over, k)
		}
	}
	errs := []error{it.Err()}
	for i := range over {
		errs = append(errs, m.remove(logsMapLogStreams, &over[i]))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("end log streams of pid namespace %d: %w", b.PIDNS, err)
	}
	return nil
}

// Forget removes the rows of containers that are gone.
func (m *LogMonitor) Forget(gone map[LogBox]bool) error {
	var (
		k     logsEyasLogKey
		v     logsEyasLogStream
		dead  []logsEyasLogKey
		files = map[logsEyasLogInode]bool{}
		it    = m.shared.Maps[logsMapLogStreams].Iterate()
		errs  []error
	)
	for it.Next(&k, &v) {
		if gone[LogBox{PIDNS: k.Box.Pidns, Start: k.Box.Start}] {
			dead = append(dead, k)
		} else {
			files[k.File] = true
		}
	}
	errs = append(errs, it.Err())
	for i := range dead {
		errs = append(errs, m.remove(logsMapLogStreams, &dead[i]))
		if !files[dead[i].File] {
			errs = append(errs, m.remove(logsMapLogFiles, &dead[i].File))
		}
	}
	for b := range gone {
		key := rawBox(b)
		errs = append(errs, m.remove(logsMapLogBoxes, &key), m.remove(logsMapLogSelected, &key))
	}
	if len(dead) > 0 {
		errs = append(errs, m.restoreFiles())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("forget log streams: %w", err)
	}
	return nil
}

func (m *LogMonitor) remove(from string, key any) error {
	if err := m.shared.Maps[from].Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// restoreFiles notes the files of all streams: a container may have begun to share
// one while it was removed.
func (m *LogMonitor) restoreFiles() error {
	var (
		k  logsEyasLogKey
		v  logsEyasLogStream
		it = m.shared.Maps[logsMapLogStreams].Iterate()
	)
	for it.Next(&k, &v) {
		if err := m.shared.Maps[logsMapLogFiles].Put(&k.File, uint32(1)); err != nil {
			return err
		}
	}
	return it.Err()
}
