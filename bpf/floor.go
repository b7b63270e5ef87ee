package bpf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Floor is a program that does nothing, on every tracepoint that hooks are
// attached to. What the kernel's statistics say of its runs is what they add to
// those of a hook: their clock, as cold as it is there. For benchmarks.
type Floor struct {
	programs map[string]*ebpf.Program // by hook
	links    []link.Link
}

// Floor attaches the programs; statistics must be on. The caller closes it.
func (m *Monitor) Floor() (_ *Floor, err error) {
	spec, err := loadIdentity()
	if err != nil {
		return nil, fmt.Errorf("load embedded programs: %w", err)
	}
	m.size(spec)
	f := &Floor{programs: map[string]*ebpf.Program{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	for _, h := range programs(m.guarded) {
		if h.iterator {
			continue
		}
		spec.Programs["nothing"].AttachTo = strings.TrimPrefix(h.target, "tp_btf/")
		p, err := m.loadAs(spec, "nothing", modes{})
		if errors.Is(err, ebpf.ErrNotSupported) {
			continue // the kernel has no such tracepoint
		}
		if err != nil {
			return nil, fmt.Errorf("load floor of %s: %w", h.name, err)
		}
		f.programs[h.name] = p
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		if err != nil {
			return nil, fmt.Errorf("attach floor of %s: %w", h.name, err)
		}
		f.links = append(f.links, l)
	}
	return f, nil
}

// Clock returns the mean time of a run that does nothing, ns, by hook; hooks
// that did not run are left out.
func (f *Floor) Clock() (map[string]float64, error) {
	out := map[string]float64{}
	for name, p := range f.programs {
		s, err := p.Stats()
		if err != nil {
			return nil, fmt.Errorf("read statistics of the floor: %w", err)
		}
		if s.RunCount > 0 {
			out[name] = float64(s.Runtime.Nanoseconds()) / float64(s.RunCount)
		}
	}
	return out, nil
}

// Close detaches and frees the programs.
func (f *Floor) Close() error {
	var errs []error
	for _, l := range f.links {
		errs = append(errs, l.Close())
	}
	for _, p := range f.programs {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
