package manifests

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The profile is one that runtimes take, and lets through what nesting needs and
// nothing that reaches the node's kernel past its user namespace.
func TestSeccomp(t *testing.T) {
	d := json.NewDecoder(bytes.NewReader(seccomp))
	d.DisallowUnknownFields()
	var p specs.LinuxSeccomp
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	if p.DefaultAction != specs.ActErrno {
		t.Errorf("by default it does %s", p.DefaultAction)
	}
	for _, a := range []specs.Arch{specs.ArchX86_64, specs.ArchAARCH64} {
		if !slices.Contains(p.Architectures, a) {
			t.Errorf("it is not for %s", a)
		}
	}
	allowed := map[string]bool{}
	for _, s := range p.Syscalls {
		for _, name := range s.Names {
			switch s.Action {
			case specs.ActAllow:
				allowed[name] = true
			case specs.ActErrno:
			default:
				t.Errorf("%s: action %s", name, s.Action)
			}
		}
	}
	for _, name := range []string{"clone", "clone3", "unshare", "setns", "mount", "umount2", "pivot_root", "keyctl", "chroot", "move_mount", "open_tree", "mount_setattr", "sethostname", "seccomp"} {
		if !allowed[name] {
			t.Errorf("%s is not allowed, and nested containers need it", name)
		}
	}
	for _, name := range []string{"bpf", "perf_event_open", "kexec_load", "init_module", "finit_module", "delete_module", "swapon", "open_by_handle_at", "userfaultfd", "iopl", "settimeofday", "acct", "quotactl"} {
		if allowed[name] {
			t.Errorf("%s is allowed", name)
		}
	}
}
