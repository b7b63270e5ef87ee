package bpf

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// OverlayMonitor holds the programs on functions of overlay and their map. Safe
// for concurrent use, but for Attach, SelfTest and Close.
type OverlayMonitor struct {
	spec   *ebpf.CollectionSpec
	shared *ebpf.Collection
	hooks  overlayHooks
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
	only := spec.Copy()
	only.Programs = nil
	shared, err := ebpf.NewCollection(only)
	if err != nil {
		return nil, fmt.Errorf("create maps: %w", err)
	}
	m := &OverlayMonitor{spec: spec, shared: shared}
	m.hooks.reset()
	return m, nil
}

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

// Entries is the number of rows.
func (m *OverlayMonitor) Entries() (n int, err error) {
	var k, next overlayEyasOverlayKey
	var at any // nil: the first
	for {
		err := m.shared.Maps[overlayMapOverlays].NextKey(at, &next)
		if errors.Is(err, ebpf.ErrKeyNotExist) || n > m.Capacity() { // a removed key begins anew
			return n, nil
		}
		if err != nil {
			return 0, fmt.Errorf("count overlay rows: %w", err)
		}
		k, n = next, n+1
		at = &k
	}
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

// Capacity is the number of rows the kernel can hold.
func (m *OverlayMonitor) Capacity() int { return int(m.shared.Maps[overlayMapOverlays].MaxEntries()) }

// Close detaches and frees everything.
func (m *OverlayMonitor) Close() error {
	err := m.hooks.close()
	m.shared.Close()
	return err
}
