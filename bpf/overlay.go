package bpf

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// OverlayMonitor holds the programs on functions of overlay and their map. Safe
// for concurrent use, but for Attach, SelfTest and Close.
type OverlayMonitor struct {
	trampolines
	fuse *trampolines // of the same maps; see AttachFuse
}

// OverlayOptions of an OverlayMonitor. Zero values mean the defaults.
type OverlayOptions struct {
	// Rows the kernel can hold. Default 8192.
	Rows uint32
}

// OpenOverlay makes the maps; Attach does the rest. The caller closes it.
func OpenOverlay(o OverlayOptions) (*OverlayMonitor, error) {
	spec, err := loadOverlay()
	if err != nil {
		return nil, fmt.Errorf("load embedded programs: %w", err)
	}
	if o.Rows > 0 {
		spec.Maps[overlayMapOverlays].MaxEntries = o.Rows
	}
	if err := chooseStorage(spec); err != nil {
		return nil, err
	}
	if err := chooseCasts(spec); err != nil {
		return nil, err
	}
	m := &OverlayMonitor{trampolines: trampolines{spec: spec, rows: overlayMapOverlays, module: "overlay", infos: layeredPrograms()}}
	if err := m.open(); err != nil {
		return nil, err
	}
	m.fuse = m.sharing(fusePrograms())
	m.fuse.module = "fuse"
	return m, nil
}

// AttachFuse attaches the programs that count what fuse-overlayfs does, once the
// kernel has FUSE. Only a container on it can drive them.
func (m *OverlayMonitor) AttachFuse() {
	m.fuse.Attach()
	m.fuse.unproven("only a container on fuse-overlayfs can drive it")
}

// Hooks returns the state and the counters of every program that is asked for.
func (m *OverlayMonitor) Hooks() []Hook { return append(m.trampolines.Hooks(), m.fuse.asked()...) }

// Close detaches and frees everything.
func (m *OverlayMonitor) Close() error { return errors.Join(m.fuse.detach(), m.trampolines.Close()) }

// chooseStorage finds out whether this kernel can keep state with tasks.
func chooseStorage(spec *ebpf.CollectionSpec) error {
	works := storageWorks(spec.Maps[overlayMapDoing])
	if works {
		spec.Maps[overlayMapDoingByPid].MaxEntries = 1
	}
	if err := spec.Variables[overlayVarHasStorage].Set(works); err != nil {
		return fmt.Errorf("set constants: %w", err)
	}
	return nil
}

// chooseCasts finds out whether this kernel lets programs cast pointers. Without
// types of the kernel nothing loads, which is told elsewhere.
func chooseCasts(spec *ebpf.CollectionSpec) error {
	var cast *btf.Func
	kernel, err := btf.LoadKernelSpec()
	casts := err == nil && kernel.TypeByName("bpf_rdonly_cast", &cast) == nil
	if err := spec.Variables[overlayVarCasts].Set(casts); err != nil {
		return fmt.Errorf("set constants: %w", err)
	}
	return nil
}

func storageWorks(spec *ebpf.MapSpec) bool {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return false
	}
	defer m.Close()
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer unix.Close(self)
	return m.Put(int32(self), overlayUnderWay{}) == nil
}

// Rows reads all rows.
func (m *OverlayMonitor) Rows() (map[OverlayKey]Overlay, error) {
	rows := map[OverlayKey]Overlay{}
	var (
		k  overlayEyasOverlayKey
		v  overlayEyasOverlay
		it = m.shared.Maps[overlayMapOverlays].Iterate()
	)
	for it.Next(&k, &v) {
		rows[overlayKey(&k)] = overlayRow(&v)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read overlay map: %w", err)
	}
	return rows, nil
}

// Take removes a row and returns what it held; zero when there was none. A row
// comes back when its overlay is used again.
func (m *OverlayMonitor) Take(k OverlayKey) (Overlay, error) {
	key := rawOverlayKey(k)
	var v overlayEyasOverlay
	err := m.shared.Maps[overlayMapOverlays].LookupAndDelete(&key, &v)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return Overlay{}, nil
	}
	if err != nil {
		return Overlay{}, fmt.Errorf("take overlay row: %w", err)
	}
	return overlayRow(&v), nil
}
