package bpf

import (
	"strings"

	"github.com/cilium/ebpf/link"
)

// attach puts the program on its function.
func (h *trampoline) attach() (link.Link, error) {
	if strings.HasPrefix(h.target, lsm) {
		return link.AttachLSM(link.LSMOptions{Program: h.program})
	}
	return link.AttachTracing(link.TracingOptions{Program: h.program})
}

// lsm begins the targets of programs on hooks of security modules. They run where "bpf"
// is among /sys/kernel/security/lsm.
const lsm = "lsm/"

// function is what the program is attached to.
func (h *trampoline) function() string {
	kind, name, _ := strings.Cut(h.target, "/")
	if kind+"/" == lsm {
		return "bpf_lsm_" + name
	}
	return name
}
