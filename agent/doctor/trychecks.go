package doctor

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/doctor/trial"
)

func tryChecks() []check[*tried] {
	const (
		whyTool   = "the container's own program, run as its user with the ranges of its files: what it says here it says to every rootless engine"
		whyLimits = "engines that fail at this go on without limits, and say nothing"
	)
	return []check[*tried]{
		{
			id: "try-confinement", what: "the trial ran as the container's programs do", look: (*tried).confinement,
			why: "what was not in force may forbid what worked here",
			fix: "try the same inside",
		},
		{
			id: "try-userns", what: "its user made a user namespace", look: (*tried).userns,
			why: "rootless engines begin with one, with mounts and pids of its own",
			fix: "see seccomp, and userns-max, userns-clone, userns-apparmor of eyas doctor node",
		},
		{
			id: "try-newuidmap", what: "newuidmap wrote the uid map", why: whyTool, fix: "see newuidmap and subuid",
			look: func(t *tried, _ context.Context) finding {
				return t.tool("newuidmap", unix.CAP_SETUID, "/etc/subuid", t.c.uids, t.request.Inside.UIDs, t.report.Answer.UIDMap)
			},
		},
		{
			id: "try-newgidmap", what: "newgidmap wrote the gid map", why: whyTool, fix: "see newgidmap and subgid",
			look: func(t *tried, _ context.Context) finding {
				return t.tool("newgidmap", unix.CAP_SETGID, "/etc/subgid", t.c.gids, t.request.Inside.GIDs, t.report.Answer.GIDMap)
			},
		},
		{
			id: "try-proc", what: "a procfs was mounted in the user namespace", look: (*tried).proc,
			why: "nested containers with a pid namespace need one", fix: "see proc-unmasked and seccomp",
		},
		{
			id: "try-overlay", what: "an overlay was mounted in the user namespace", look: (*tried).overlay,
			why: "without it nested engines fall back to fuse-overlayfs or to copies", fix: "see seccomp, and overlay-probe of eyas doctor node",
		},
		{
			id: "try-cgroup", what: "its user made a cgroup below its own", look: (*tried).cgroup, why: whyLimits,
			fix: "see cgroup-mount, cgroup-owner and cgroup-bounds; eyas prepare hands a cgroup over",
		},
		{
			id: "try-limits", what: "memory.max and pids.max took a limit there", look: (*tried).limits, why: whyLimits,
			fix: "see cgroup-controllers and cgroup-internal",
		},
		{
			id: "try-move", what: "a process was moved into it", look: (*tried).move,
			why: "moving needs cgroup.procs of the cgroup above both places",
			fix: "see cgroup-files, cgroup-internal and cgroup-type",
		},
		{
			id: "try-clean", what: "the trial left nothing behind", look: (*tried).clean,
			why: "an empty cgroup counts for the container's bounds, until the container ends",
			fix: "rmdir it, leaf first",
		},
	}
}

// step judges an attempt; because says why it may have failed.
func (t *tried) step(s trial.Step, worked string, because func(unix.Errno) string) finding {
	switch {
	case t.err != nil:
		return unreadable(t.err)
	case s.Skipped:
		return unknownf("not tried, because what comes before it failed")
	case s.OK():
		return okf("%s", worked)
	}
	if why := because(unix.Errno(s.Errno)); why != "" {
		return failf("%s: %s", s.Error, why)
	}
	return failf("%s", s.Error)
}

func (t *tried) confinement(context.Context) finding {
	if t.err != nil {
		return unreadable(t.err)
	}
	as := t.request.As
	text := fmt.Sprintf("uid %d, gid %d, bounding set %#x, no_new_privs %v", as.UID, as.GID, as.Bounding, as.NoNewPrivs)
	var lacks []string
	switch {
	case !t.report.Filters.OK():
		lacks = append(lacks, "its seccomp filters ("+t.report.Filters.Error+")")
	case as.Filtered:
		text += fmt.Sprintf(", seccomp filters: %d", t.report.Count)
	default:
		text += ", no seccomp filter"
	}
	if t.label != "" {
		lacks = append(lacks, fmt.Sprintf("its security profile %q", t.label))
	}
	if len(lacks) > 0 {
		return warnf("without %s; with %s", strings.Join(lacks, " and "), text)
	}
	return okf("%s", text)
}

// filtered says that a filter may be the reason.
func (t *tried) filtered(other string) string {
	if t.report.Count > 0 {
		return "most likely its seccomp filter"
	}
	return other
}

func (t *tried) userns(context.Context) finding {
	return t.step(t.report.Answer.UserNS, "made one, with a mount and a pid namespace", func(e unix.Errno) string {
		switch e {
		case unix.EPERM, unix.ENOSYS:
			return t.filtered("kernel.unprivileged_userns_clone is 0, or its root is a chroot")
		case unix.EACCES:
			return "a security module (AppArmor)"
		case unix.ENOSPC:
			return "at user.max_*_namespaces, or 32 levels deep"
		case unix.EAGAIN:
			return "at its limit on pids, or RLIMIT_NPROC"
		case unix.ENOENT:
			return "no /proc inside"
		}
		return ""
	})
}

func (t *tried) tool(name string, want int, file string, ids idMap, lines [][3]uint64, got trial.Tool) finding {
	switch {
	case t.err != nil:
		return unreadable(t.err)
	case len(lines) == 0:
		return mootf("no ranges; its first process is root there, and needs none")
	}
	f := judgeTry(got, lines, ids, t.c.idmapTool(name, want), file)
	if f.state == Fail && got.Path != "" && t.request.As.NoNewPrivs {
		return f.withFix("allowPrivilegeEscalation: true")
	}
	return f
}

// judgeTry looks at what newuidmap or newgidmap did. looked is what its file
// looks like from outside; file is where its ranges stand.
func judgeTry(got trial.Tool, lines [][3]uint64, ids idMap, looked finding, file string) finding {
	n, outside := uint64(0), false
	for _, l := range lines {
		n += l[2]
		outside = outside || !ids.holds(l[1], l[2])
	}
	switch {
	case got.Skipped:
		return unknownf("not tried: no user namespace: see try-userns")
	case got.Path == "" && got.Errno == int(unix.ENOENT):
		return failf("not installed")
	case got.OK() && len(lines) == 1:
		return warnf("%s mapped one id, its user's own: %s has no ranges for it", got.Path, file)
	case got.OK():
		return okf("%s mapped %d ids", got.Path, n)
	}
	words := got.Path + ": " + got.Words
	if got.Words == "" {
		words = got.Path + ": " + got.Error
	}
	switch {
	case strings.Contains(got.Words, "not allowed"):
		return failf("%s: the range is not in %s, or another's", words, file)
	case looked.state == Fail:
		return failf("%s: %s", words, looked.found)
	case outside:
		return failf("%s: the range is outside the container's own map (%s)", words, ids)
	}
	return failf("%s", words)
}

func (t *tried) proc(context.Context) finding {
	return t.step(t.report.Answer.Proc, "mounted", func(e unix.Errno) string {
		masked := t.c.procMasked(context.Background())
		switch {
		case e == unix.EPERM && masked.state == Fail:
			return "mounted over: " + masked.found
		case e == unix.EPERM || e == unix.EACCES:
			return t.filtered("")
		}
		return ""
	})
}

func (t *tried) overlay(context.Context) finding {
	return t.step(t.report.Answer.Overlay, "mounted, copied up and deleted a file", func(e unix.Errno) string {
		if e == unix.EPERM || e == unix.EACCES {
			return t.filtered("")
		}
		return ""
	})
}
