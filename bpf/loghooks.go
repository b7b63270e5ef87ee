package bpf

import "github.com/cilium/ebpf/features"

// logPrograms are those of logs.bpf.c that are on functions. The order counts: what is
// written is added up after it was told, by what is attached before; and a container's
// streams are noted when its writes can be told.
func logPrograms() []trampolineInfo {
	const both = "how much was written in runs that the kernel skipped, where it skips those that add up, too"
	return []trampolineInfo{
		{uint32(logsEyasLogProgramEYAS_LOGS_SUM), "logs_sum", "fexit/vfs_write", "how much was written in runs that the kernel skipped"},
		{uint32(logsEyasLogProgramEYAS_LOGS_SUMV), "logs_sumv", "fexit/vfs_writev", "the same, by writev"},
		{uint32(logsEyasLogProgramEYAS_LOGS_SENDFILE), "logs_sendfile", "fexit/sys_sendfile64", "how much went to streams by sendfile"},
		{uint32(logsEyasLogProgramEYAS_LOGS_SPLICE), "logs_splice", "fexit/sys_splice", "the same, by splice"},
		{uint32(logsEyasLogProgramEYAS_LOGS_FREE), "logs_free", "lsm/task_free", both},
		{uint32(logsEyasLogProgramEYAS_LOGS_EXIT), "logs_exit", "fentry/exit_files", both},
		{uint32(logsEyasLogProgramEYAS_LOGS_BEGIN), "logs_begin", "lsm/file_permission", both},
		{uint32(logsEyasLogProgramEYAS_LOGS_AGAIN), "logs_again", "fexit/vfs_write", "what was written when the kernel skipped a run of logs_write"},
		{uint32(logsEyasLogProgramEYAS_LOGS_AGAINV), "logs_againv", "fexit/vfs_writev", "the same, by writev"},
		{uint32(logsEyasLogProgramEYAS_LOGS_WRITE), "logs_write", "fexit/vfs_write", "what containers write to their standard streams"},
		{uint32(logsEyasLogProgramEYAS_LOGS_WRITEV), "logs_writev", "fexit/vfs_writev", "the same, by writev"},
		{uint32(logsEyasLogProgramEYAS_LOGS_EXEC), "logs_exec", "fexit/setup_new_exec", "the streams of containers that start, until the next look at all"},
		{uint32(logsEyasLogProgramEYAS_LOGS_COMMITTED), "logs_committed", "lsm/bprm_committed_creds", "the same, when the kernel skipped a run of logs_exec"},
	}
}

// notes reports whether the programs run that note each write before it, and are never
// skipped: those of LSM hooks are not since Linux 6.2 ("bpf: Remove prog->active check
// for bpf_lsm and bpf_iter").
func (m *LogMonitor) notes() bool {
	version, err := features.LinuxVersionCode()
	if err != nil || version < 6<<16|2<<8 {
		return false
	}
	state := map[string]HookState{}
	for _, h := range m.trampolines.Hooks() {
		state[h.Name] = h.State
	}
	freed := state[logsProgLogsFree] // when, is not the agent's to say
	return state[logsProgLogsBegin] == HookActive && state[logsProgLogsExit] == HookActive && (freed == HookActive || freed == HookUnproven)
}

// eachLog is the iterator over the containers that are older than the programs, or
// than their selection.
func (m *LogMonitor) eachLog() Hook {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := Hook{Name: logsProgLogsEach, Target: "iter/task", State: HookMissing, Reason: m.eachErr, Loss: "the streams of containers that run already"}
	switch {
	case m.each == nil:
	case m.eachRan:
		h.State, h.Reason = HookActive, ""
	default:
		h.State = HookUnproven
	}
	if m.each != nil {
		if s, err := m.each.Stats(); err == nil {
			h.RunCount, h.RunNanos, h.Missed = s.RunCount, uint64(s.Runtime), s.RecursionMisses
		}
	}
	return h
}

// Hooks returns the state and the counters of every program.
func (m *LogMonitor) Hooks() []Hook { return append(m.trampolines.Hooks(), m.eachLog()) }

// Missed is how many runs of the programs the kernel skipped because they were
// running on that CPU: writes that were not told, and execs that were not seen.
func (m *LogMonitor) Missed() (writes, execs uint64) {
	for _, h := range m.trampolines.Hooks() {
		if h.Name == logsProgLogsExec {
			execs += h.Missed
		} else {
			writes += h.Missed
		}
	}
	return writes, execs
}
