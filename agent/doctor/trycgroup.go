package doctor

import (
	"context"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/doctor/trial"
)

func (t *tried) cgroup(ctx context.Context) finding {
	if t.err == nil && t.report.Answer.Cgroup.Skipped {
		if _, ok := t.c.cgroup2Mount(); !ok {
			return failf("no cgroup2 file system inside")
		}
		if filepath.Clean("/"+t.c.cgroup) == "/" {
			return unknownf("not tried: its first process is in the root cgroup")
		}
		return unknownf("not tried: its first process is in %s, outside what it sees as its cgroup", orNone(t.c.cgroup))
	}
	return t.step(t.report.Answer.Cgroup, "made and removed one", func(e unix.Errno) string {
		switch e {
		case unix.EACCES, unix.EPERM:
			return "it belongs to " + t.c.cgroupOwner(ctx).found
		case unix.EROFS:
			return "it is mounted read-only"
		case unix.EAGAIN:
			return "at cgroup.max.descendants or cgroup.max.depth"
		}
		return ""
	})
}

func (t *tried) limits(context.Context) finding {
	a := t.report.Answer
	if t.err != nil || !a.Cgroup.OK() {
		return t.step(a.Memory, "", nil)
	}
	if !a.Enable.OK() && !a.Enable.Skipped {
		return t.step(a.Enable, "", func(unix.Errno) string { return "" })
	}
	var lacks, wrong []string
	for i, s := range []trial.Step{a.Memory, a.PIDs} {
		switch {
		case s.Skipped:
			lacks = append(lacks, []string{"memory", "pids"}[i])
		case s.Error != "":
			wrong = append(wrong, s.Error)
		}
	}
	switch {
	case len(wrong) > 0:
		return failf("%s", strings.Join(wrong, ", "))
	case len(lacks) == 2:
		return failf("neither memory nor pids is passed on to it; it has: %s", orNone(a.Controllers))
	case len(lacks) == 1:
		return warnf("%s is not passed on to it; it has: %s", lacks[0], a.Controllers)
	}
	return okf("both; it has: %s", a.Controllers)
}

func (t *tried) move(context.Context) finding {
	return t.step(t.report.Answer.Move, "moved", func(e unix.Errno) string {
		switch e {
		case unix.EACCES, unix.EPERM:
			return "cgroup.procs of its cgroup is not its user's"
		case unix.EBUSY:
			return "controllers are enabled where the process should go"
		case unix.EOPNOTSUPP:
			return "a threaded cgroup"
		}
		return ""
	})
}

func (t *tried) clean(context.Context) finding {
	remove := t.report.Answer.Remove
	switch {
	case t.report.Left != "":
		return warnf("%s", t.report.Left)
	case t.err != nil:
		return okf("nothing is left, of a trial that failed: %v", t.err)
	case remove.Error != "":
		return warnf("its user could not remove the cgroup, and eyas did: %s", remove.Error)
	}
	return okf("nothing is left")
}
