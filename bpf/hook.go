package bpf

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// HookState says how one program fares on this kernel.
type HookState string

// A hook is Active when it was seen to fire, Silent when it is attached but did
// not fire when driven, Unproven when nothing could drive it here, and Missing
// when it could not be loaded or attached.
const (
	HookActive   HookState = "active"
	HookSilent   HookState = "silent"
	HookUnproven HookState = "unproven"
	HookMissing  HookState = "missing"
)

// Hook is one program and what became of it.
type Hook struct {
	Name   string    // the program's name in the kernel, e.g. on_exec
	Target string    // what it is attached to, e.g. tp_btf/sched_process_exec
	State  HookState // see HookState
	Reason string    // why it is not active, or what it does not tell here though it is
	Loss   string    // what eyas cannot tell without it
	Rare   bool      // nothing drives it but what it tells of: it is unproven until then

	Records   uint64 // records written to the ring
	Lost      uint64 // records for which the ring had no room
	LostBytes uint64
	// LostCounts counts events that found the counts map full.
	LostCounts uint64
	Missed     uint64 // runs the kernel skipped because the program was running on that CPU
	Recovered  uint64 // events of such runs that were found out all the same
	RunCount   uint64 // runs while statistics were on
	RunNanos   uint64 // ns spent in them, with about 60 ns of clock per run
}

// Required reports whether eyas cannot work at all without the hook.
func (h Hook) Required() bool { return h.Name == "each_task" }

type programInfo struct {
	index    identityEyasProgram
	name     string
	target   string
	loss     string
	iterator bool
}

// rare reports whether nothing can drive the program but an OOM kill.
func (p programInfo) rare() bool {
	return p.index >= identityEyasProgramEYAS_PROGRAM_VICTIM && p.index <= identityEyasProgramEYAS_PROGRAM_OOM_DONE
}

// refusal says in one line what the kernel means.
func (p programInfo) refusal(err error) string {
	if errors.Is(err, unix.EPERM) && !strings.HasPrefix(p.target, "tp_btf/") && !p.iterator {
		return "operation not permitted: this kernel, or what confines eyas, lets nobody put programs on its functions"
	}
	return oneLine(err)
}

// programs is in the order of attachment: exits before births, so that no
// process is seen to be born and never to die. Guarded, births are taken where
// the kernel cannot skip a run, and skipped exits where a task is freed.
func programs(guarded bool) []programInfo {
	all := []programInfo{
		{identityEyasProgramEYAS_PROGRAM_TASKS, "each_task", "iter/task", "everything: the snapshot of all processes", true},
		{identityEyasProgramEYAS_PROGRAM_USERNS, "each_userns", "iter/task", "id maps of processes older than the agent", true},
		{identityEyasProgramEYAS_PROGRAM_EXIT, "on_exit", "tp_btf/sched_process_exit", "exits, their kind and the time of death between snapshots", false},
		{identityEyasProgramEYAS_PROGRAM_ATTACH, "on_attach", "tp_btf/cgroup_attach_task", "cgroup moves between snapshots", false},
		{identityEyasProgramEYAS_PROGRAM_CAPABLE, "on_capable", "tp_btf/cap_capable", "early notice of id maps written after the last exec", false},
		{identityEyasProgramEYAS_PROGRAM_EXEC, "on_exec", "tp_btf/sched_process_exec", "execs, program paths and arguments of short-lived processes", false},
		{identityEyasProgramEYAS_PROGRAM_NEWTASK, "on_newtask", "tp_btf/task_newtask", "births: processes shorter than a snapshot interval, fork and thread counts", false},
	}
	if guarded {
		all[len(all)-1].target = "tp_btf/sched_wakeup_new"
		all = append(all, programInfo{
			identityEyasProgramEYAS_PROGRAM_FREE, "on_free", "tp_btf/sched_process_free",
			"exits whose run the kernel skipped", false,
		})
	}
	return append(all, []programInfo{
		{identityEyasProgramEYAS_PROGRAM_VICTIM, "on_victim", "tp_btf/mark_victim", "memory of OOM killers' victims, and the limits around them", false},
		{identityEyasProgramEYAS_PROGRAM_OOM, "on_oom", "fentry/oom_kill_process", "whose limit an OOM kill was at: it is inferred from the counts of the cgroups around the victim", false},
		{identityEyasProgramEYAS_PROGRAM_OOM_DONE, "on_oom_done", "fexit/oom_kill_process", "the same", false},
	}...)
}
