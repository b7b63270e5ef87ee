package bpf

import (
	"errors"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

type overlayProgramInfo struct {
	index  overlayEyasOverlayProgram
	name   string
	target string
	loss   string
}

func layeredPrograms() []overlayProgramInfo {
	return []overlayProgramInfo{
		{overlayEyasOverlayProgramEYAS_OVERLAY_READ, "overlay_read", "fexit/ovl_read_iter", "reads of overlays"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_READ_START, "overlay_read_start", "fentry/ovl_read_iter", "how long reads of overlays take"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_WRITE, "overlay_write", "fexit/ovl_write_iter", "writes to overlays"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_WRITE_START, "overlay_write_start", "fentry/ovl_write_iter", "how long writes to overlays take"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_SPLICE_READ, "overlay_splice_read", "fexit/ovl_splice_read", "splices from overlays, such as sendfile (before 6.5 they are reads)"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_SPLICE_WRITE, "overlay_splice_write", "fexit/ovl_splice_write", "splices to overlays"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_COPY_RANGE, "overlay_copy_range", "fexit/ovl_copy_file_range", "copies by copy_file_range within overlays"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_OPEN, "overlay_open", "fexit/ovl_open", "opens of files of overlays"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_MMAP, "overlay_mmap", "fexit/ovl_mmap", "mappings of files of overlays"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_CREATE, "overlay_create", "fexit/ovl_create_object", "files made in overlays"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_REMOVE, "overlay_remove", "fexit/ovl_do_remove", "removals in overlays, and whiteouts"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_REMOVE_START, "overlay_remove_start", "fentry/ovl_do_remove", "whiteouts in overlays"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_WHITEOUT, "overlay_whiteout", "fexit/ovl_cleanup_and_whiteout", "whiteouts in overlays"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_COPY_UP, "overlay_copy_up", "fexit/ovl_copy_up_one", "copy-ups"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_COPY_UP_START, "overlay_copy_up_start", "fentry/ovl_copy_up_one", "copy-ups"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_COPY_UP_DATA, "overlay_copy_up_data", "fexit/ovl_copy_up_file", "bytes copied up"},
		{overlayEyasOverlayProgramEYAS_OVERLAY_COPY_UP_META, "overlay_copy_up_meta", "fexit/ovl_copy_up_metadata", "copy-ups without content, and of directories"},
	}
}

// overlayHook is one program.
type overlayHook struct {
	overlayProgramInfo
	program *ebpf.Program
	link    link.Link
	state   HookState
	reason  string
}

// overlayHooks may be read while they are attached: all is replaced, never
// changed.
type overlayHooks struct {
	mu  sync.Mutex
	all []*overlayHook
}

func (h *overlayHooks) reset() {
	for _, info := range layeredPrograms() {
		h.all = append(h.all, &overlayHook{overlayProgramInfo: info, state: HookMissing, reason: "not attached yet"})
	}
}

// copied is for changes, and set makes them seen.
func (h *overlayHooks) copied() []*overlayHook {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*overlayHook, len(h.all))
	for i, k := range h.all {
		c := *k
		all[i] = &c
	}
	return all
}

func (h *overlayHooks) set(all []*overlayHook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = all
}

func (h *overlayHooks) close() error {
	var errs []error
	for _, k := range h.copied() {
		if k.link != nil {
			errs = append(errs, k.link.Close())
		}
		if k.program != nil {
			errs = append(errs, k.program.Close())
		}
	}
	h.set(nil)
	return errors.Join(errs...)
}

// Missing says why the programs that are not attached are not.
func (m *OverlayMonitor) Missing(reason string) {
	all := m.hooks.copied()
	for _, h := range all {
		if h.link == nil {
			h.state, h.reason = HookMissing, reason
		}
	}
	m.hooks.set(all)
}

// SelfTest drives the attached programs and records whether they ran. drive
// must read, write, splice, map, create and remove files of an overlay, and
// have files copied up.
func (m *OverlayMonitor) SelfTest(drive Drive) {
	seen := m.shared.Variables[overlayVarSeen]
	var ran [overlayEyasOverlayProgramEYAS_OVERLAY_PROGRAMS]uint8
	err := seen.Set(ran)
	if err == nil {
		err = drive()
	}
	if read := seen.Get(&ran); read != nil {
		err = errors.Join(err, read)
	}
	all := m.hooks.copied()
	for _, h := range all {
		switch {
		case h.link == nil:
		case ran[h.index] != 0:
			h.state, h.reason = HookActive, ""
		case err != nil:
			h.state, h.reason = HookUnproven, "not driven: "+oneLine(err)
		default:
			h.state, h.reason = HookSilent, "attached, but did not fire when driven"
		}
	}
	m.hooks.set(all)
}

// Hooks returns the state and the counters of every program.
func (m *OverlayMonitor) Hooks() []Hook {
	var lost [overlayEyasOverlayProgramEYAS_OVERLAY_PROGRAMS]uint64
	_ = m.shared.Variables[overlayVarLost].Get(&lost) // of a map that this process holds
	all := m.hooks.copied()
	out := make([]Hook, 0, len(all))
	for _, h := range all {
		k := Hook{Name: h.name, Target: h.target, State: h.state, Reason: h.reason, Loss: h.loss, LostCounts: lost[h.index]}
		if h.program != nil {
			if s, err := h.program.Stats(); err == nil {
				k.RunCount, k.RunNanos, k.Missed = s.RunCount, uint64(s.Runtime), s.RecursionMisses
			}
		}
		out = append(out, k)
	}
	return out
}

// Attached reports whether any program is.
func (m *OverlayMonitor) Attached() bool {
	for _, h := range m.hooks.copied() {
		if h.link != nil {
			return true
		}
	}
	return false
}
