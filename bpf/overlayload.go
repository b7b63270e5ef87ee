package bpf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Attach loads and attaches every program that is not, and reports by Hooks what
// the kernel refuses. All are loaded at once, since the kernel's types are read
// for each load anew; each on its own only if that fails.
func (m *OverlayMonitor) Attach() {
	all, want := m.hooks.copied(), []*overlayHook{}
	functions, err := overlayFunctions()
	for _, h := range all {
		switch {
		case h.link != nil:
		case err != nil:
			h.state, h.reason = HookMissing, "find functions: "+oneLine(err)
		case !functions[h.function()]:
			h.state, h.reason = HookMissing, "this kernel has no "+h.function()
		default:
			want = append(want, h)
		}
	}
	m.load(want)
	for _, h := range want {
		if h.program == nil {
			continue
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: h.program})
		if err != nil {
			h.state, h.reason = HookMissing, "attach: "+refusal(err)
			continue
		}
		h.link, h.state, h.reason = l, HookUnproven, "not driven"
	}
	m.hooks.set(all)
}

// function is what the program is attached to.
func (h *overlayHook) function() string {
	_, name, _ := strings.Cut(h.target, "/")
	return name
}

// overlayFunctions returns the functions that overlay has, built in or as a
// module.
func overlayFunctions() (map[string]bool, error) {
	types := btf.NewCache()
	spec, err := types.Module("overlay")
	if err != nil {
		if spec, err = types.Kernel(); err != nil {
			return nil, err
		}
	}
	found := map[string]bool{}
	for _, p := range layeredPrograms() {
		name := (&overlayHook{overlayProgramInfo: p}).function()
		var f *btf.Func
		switch err := spec.TypeByName(name, &f); {
		case err == nil:
			found[name] = true
		case !errors.Is(err, btf.ErrNotFound):
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return found, nil
}

func (m *OverlayMonitor) load(missing []*overlayHook) {
	hooks := slices.DeleteFunc(slices.Clone(missing), func(h *overlayHook) bool { return h.program != nil })
	if len(hooks) == 0 {
		return
	}
	refused := m.loadSome(hooks...)
	if refused == nil {
		return
	}
	if !errors.Is(refused, unix.EPERM) {
		refused = nil
	}
	for _, h := range hooks {
		err := refused // is not about this program
		if err == nil {
			err = m.loadSome(h)
		}
		if err != nil {
			h.state, h.reason = HookMissing, "load: "+refusal(err)
		}
	}
}

// loadSome loads some programs, or none.
func (m *OverlayMonitor) loadSome(hooks ...*overlayHook) error {
	some := m.spec.Copy()
	programs := some.Programs
	some.Programs = map[string]*ebpf.ProgramSpec{}
	for _, h := range hooks {
		some.Programs[h.name] = programs[h.name]
	}
	coll, err := ebpf.NewCollectionWithOptions(some, ebpf.CollectionOptions{MapReplacements: m.shared.Maps})
	if err != nil {
		return err
	}
	defer coll.Close()
	for _, h := range hooks {
		h.program = coll.DetachProgram(h.name)
	}
	return nil
}

// refusal says in one line what the kernel means.
func refusal(err error) string {
	if errors.Is(err, unix.EPERM) {
		return "operation not permitted: this kernel, or what confines eyas, lets nobody put programs on its functions (those of modules also need CAP_SYS_ADMIN)"
	}
	return oneLine(err)
}
