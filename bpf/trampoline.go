package bpf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// trampolines are programs on functions of the kernel (fentry, fexit) that share
// maps, and what became of each. They may be read while they are attached: all is
// replaced, never changed.
type trampolines struct {
	spec   *ebpf.CollectionSpec
	shared *ebpf.Collection // the maps, no programs
	rows   string           // the map with what they tell
	module string           // whose functions they are, if it is one; else the kernel's
	// target is the function for what the program's section names. nil: the same.
	target func(section string) string
	infos  []trampolineInfo
	// filterable: what drives them are system calls that a seccomp filter may answer.
	filterable bool

	mu  sync.Mutex
	all []*trampoline
}

type trampolineInfo struct {
	index  uint32 // in the object's seen and lost
	name   string
	target string // fentry/…, fexit/…, lsm/… or tp_btf/…
	loss   string
}

// NotYet is the reason of a hook before it is attached, or refused.
const NotYet = "not attached yet"

type trampoline struct {
	trampolineInfo
	program *ebpf.Program
	link    link.Link
	state   HookState
	reason  string
	rare    bool // nobody here can drive it: it is unproven until somebody else does
}

// open makes the maps; Attach does the rest.
func (t *trampolines) open() error {
	only := t.spec.Copy()
	only.Programs = nil
	shared, err := ebpf.NewCollection(only)
	if err != nil {
		return fmt.Errorf("create maps: %w", err)
	}
	t.shared = shared
	t.begin()
	return nil
}

// begin makes what Attach attaches.
func (t *trampolines) begin() {
	for _, info := range t.infos {
		if t.target != nil {
			kind, function, _ := strings.Cut(info.target, "/")
			function = t.target(function)
			info.target = kind + "/" + function
			t.spec.Programs[info.name].AttachTo = function
		}
		t.all = append(t.all, &trampoline{trampolineInfo: info, state: HookMissing, reason: NotYet})
	}
}

// sharing returns trampolines of other programs with the same maps.
func (t *trampolines) sharing(infos []trampolineInfo) *trampolines {
	more := &trampolines{spec: t.spec, shared: t.shared, rows: t.rows, infos: infos}
	more.begin()
	return more
}

// copied is for changes, and set makes them seen.
func (t *trampolines) copied() []*trampoline {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*trampoline, len(t.all))
	for i, k := range t.all {
		c := *k
		all[i] = &c
	}
	return all
}

func (t *trampolines) set(all []*trampoline) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = all
}

// Attach loads and attaches every program that is not, and reports by Hooks what
// the kernel refuses. All are loaded at once, since the kernel's types are read
// for each load anew; each on its own only if that fails.
func (t *trampolines) Attach() {
	all, want := t.copied(), []*trampoline{}
	functions, err := t.functions()
	for _, h := range all {
		switch {
		case h.link != nil:
		case err != nil:
			h.state, h.reason = HookMissing, "find functions: "+oneLine(err)
		case functions[h.function()] != nil:
			h.state, h.reason = HookMissing, functions[h.function()].Error()
		default:
			want = append(want, h)
		}
	}
	t.load(want)
	for _, h := range want {
		if h.program == nil {
			continue
		}
		l, err := h.attach()
		if err != nil {
			h.state, h.reason = HookMissing, "attach: "+refusal(err)
			continue
		}
		h.link, h.state, h.reason = l, HookUnproven, "not driven"
	}
	t.set(all)
}

// functions returns which of the functions there are: the error says why not. Those
// of a module may be built in.
func (t *trampolines) functions() (map[string]error, error) {
	types := btf.NewCache()
	var (
		spec *btf.Spec
		err  error
	)
	if t.module != "" {
		spec, err = types.Module(t.module)
	}
	if spec == nil || err != nil {
		if spec, err = types.Kernel(); err != nil {
			return nil, err
		}
	}
	found := map[string]error{}
	lookup := func(name string, f **btf.Func) error {
		err := spec.TypeByName(name, f)
		if t.module == "" || !errors.Is(err, btf.ErrNotFound) {
			return err
		}
		kernel, err := types.Kernel() // a module's has only its own
		if err != nil {
			return err
		}
		return kernel.TypeByName(name, f)
	}
	for _, h := range t.copied() {
		name := h.function()
		if strings.HasPrefix(h.target, "tp_btf/") { // a tracepoint: to load tells
			found[name] = nil
			continue
		}
		var f *btf.Func
		switch err := lookup(name, &f); {
		case err == nil:
			found[name] = nil
		case errors.Is(err, btf.ErrNotFound):
			found[name] = errors.New("this kernel has no " + name)
		default:
			found[name] = err // several functions of that name
		}
	}
	return found, nil
}

func (t *trampolines) load(missing []*trampoline) {
	hooks := slices.DeleteFunc(slices.Clone(missing), func(h *trampoline) bool { return h.program != nil })
	if len(hooks) == 0 {
		return
	}
	refused := t.loadSome(hooks...)
	if refused == nil {
		return
	}
	if !errors.Is(refused, unix.EPERM) {
		refused = nil
	}
	for _, h := range hooks {
		err := refused // is not about this program, unless it is on no function
		if err == nil || strings.HasPrefix(h.target, "tp_btf/") {
			err = t.loadSome(h)
		}
		if err != nil {
			h.state, h.reason = HookMissing, "load: "+refusal(err)
		}
	}
}

// loadSome loads some programs, or none.
func (t *trampolines) loadSome(hooks ...*trampoline) error {
	some := t.spec.Copy()
	programs := some.Programs
	some.Programs = map[string]*ebpf.ProgramSpec{}
	for _, h := range hooks {
		some.Programs[h.name] = programs[h.name]
	}
	coll, err := ebpf.NewCollectionWithOptions(some, ebpf.CollectionOptions{MapReplacements: t.shared.Maps})
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
	var log *ebpf.VerifierError
	if errors.As(err, &log) && slices.ContainsFunc(log.Log, func(line string) bool { return strings.Contains(line, "use helper bpf_probe_read") }) {
		return "this kernel lets programs read no memory (lockdown=confidentiality)"
	}
	if errors.Is(err, unix.EPERM) {
		return "operation not permitted: this kernel, or what confines eyas, lets nobody put programs on its functions (those of modules also need CAP_SYS_ADMIN)"
	}
	return oneLine(err)
}

// Close detaches and frees everything.
func (t *trampolines) Close() error {
	err := t.detach()
	t.set(nil)
	t.shared.Close()
	return err
}

// detach is the opposite of Attach.
func (t *trampolines) detach() error {
	var errs []error
	all := t.copied()
	for _, k := range all {
		if k.link != nil {
			errs = append(errs, k.link.Close())
		}
		if k.program != nil {
			errs = append(errs, k.program.Close())
		}
		k.link, k.program, k.state, k.reason, k.rare = nil, nil, HookMissing, NotYet, false
	}
	t.set(all)
	return errors.Join(errs...)
}
