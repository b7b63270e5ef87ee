package doctor

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func idChecks() []check[*Container] {
	const (
		whyRange = "a nested engine maps these ids, as the container numbers them: a range that the container lacks ends in \"newuidmap: write to uid_map failed: Operation not permitted\""
		fixRange = "fit the ranges into the container's map, such as user:1001:64535 in a pod of 65536 ids; not 100000:65536"
		whyTool  = "rootless engines inside write id maps of more than one id through this tool alone"
		fixTool  = "install uidmap in the image and give it file capabilities (setcap cap_setuid+ep newuidmap, cap_setgid+ep newgidmap): setuid alone does not do inside a container"
	)
	return []check[*Container]{
		{
			id: "userns", what: "it has a user namespace, wide enough to nest", look: (*Container).userns,
			why: "without one root inside is the node's root; with few ids images with many users cannot be unpacked",
			fix: "hostUsers: false, with 65536 ids or more (kubelet's idsPerPod)",
		},
		{id: "subuid", what: "/etc/subuid inside has ranges that it can map", why: whyRange, fix: fixRange,
			look: func(c *Container, _ context.Context) finding { return c.subIDs("/etc/subuid", c.uids) }},
		{id: "subgid", what: "/etc/subgid inside has ranges that it can map", why: whyRange, fix: fixRange,
			look: func(c *Container, _ context.Context) finding { return c.subIDs("/etc/subgid", c.gids) }},
		{id: "newuidmap", what: "newuidmap inside may write uid maps", why: whyTool, fix: fixTool,
			look: func(c *Container, _ context.Context) finding { return c.idmapTool("newuidmap", unix.CAP_SETUID) }},
		{id: "newgidmap", what: "newgidmap inside may write gid maps", why: whyTool, fix: fixTool,
			look: func(c *Container, _ context.Context) finding { return c.idmapTool("newgidmap", unix.CAP_SETGID) }},
	}
}

func (c *Container) userns(context.Context) finding {
	uids, gids := c.uids.width(), c.gids.width()
	switch {
	case c.uids.whole():
		return warnf("the node's own: no user namespace")
	case uids == 0 || gids == 0:
		return failf("its map is not written: uids %s, gids %s", orNone(c.uids.String()), orNone(c.gids.String()))
	case uids < idsPerPod || gids < idsPerPod:
		return warnf("%d uids, %d gids: uids %s", uids, gids, c.uids)
	}
	return okf("%d uids, %d gids: uids %s", uids, gids, c.uids)
}

// passwdEntry is a user of the container, as its /etc/passwd has it.
type passwdEntry struct{ name, uid, home string }

// user finds the first process's user. A tenant writes /etc/passwd.
func (c *Container) user() (passwdEntry, bool) {
	uid, mapped := c.innerUID()
	if !mapped {
		return passwdEntry{}, false
	}
	b, err := c.root.ReadFile("/etc/passwd", maxText)
	if err != nil {
		return passwdEntry{}, false
	}
	want := strconv.FormatUint(uid, 10)
	for line := range strings.SplitSeq(string(b), "\n") {
		if f := strings.SplitN(line, ":", 8); len(f) >= 6 && f[2] == want {
			return passwdEntry{f[0], f[2], f[5]}, true
		}
	}
	return passwdEntry{}, false
}

func (c *Container) subIDs(path string, ids idMap) finding {
	uid, mapped := c.innerUID()
	b, err := c.root.ReadFile(path, maxText)
	if errors.Is(err, os.ErrNotExist) {
		b, err = nil, nil
	}
	if err != nil {
		return unreadable(err)
	}
	name := ""
	if u, known := c.user(); known {
		name = u.name
	}
	ranges, wrong := parseSubIDs(string(b))
	return judgeSubIDs(ranges, wrong, ids, uid, mapped, name)
}

// judgeSubIDs looks at the ranges of a container whose first process is uid,
// whom its /etc/passwd calls name.
func judgeSubIDs(all []subRange, wrong []string, ids idMap, uid uint64, mapped bool, name string) finding {
	var outside []string
	mine := false
	for _, r := range all {
		if !ids.holds(r.first, r.count) {
			outside = append(outside, r.String())
		}
		if mapped && (r.owner == strconv.FormatUint(uid, 10) || r.owner == name && name != "") {
			mine = true
		}
	}
	switch {
	case len(outside) > 0:
		return failf("not in its map: %s", named(outside))
	case len(wrong) > 0:
		return failf("%s", named(wrong))
	case mapped && uid == 0 && len(all) == 0:
		return mootf("no ranges; its first process is root there, and needs none")
	case len(all) == 0:
		return warnf("no ranges: one id each")
	case mapped && uid != 0 && !mine:
		return warnf("%d ranges, none of uid %d, which its first process has", len(all), uid)
	}
	return okf("%d ranges, all in its map", len(all))
}

func (c *Container) idmapTool(name string, want int) finding {
	for _, dir := range []string{"/usr/local/bin/", "/usr/bin/", "/bin/"} {
		f, err := c.root.Look(dir + name)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return unreadable(err)
		}
		defer f.Close()
		return c.judgeTool(f, dir+name, want)
	}
	if uid, mapped := c.innerUID(); mapped && uid == 0 {
		return mootf("not installed; its first process is root there, and needs none")
	}
	return failf("not installed")
}

func (c *Container) judgeTool(f *os.File, path string, want int) finding {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return unreadable(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unknownf("%s is no regular file", path)
	}
	caps, err := capsOf(f)
	if err != nil {
		return unreadable(err)
	}
	bounding, err := c.caps("CapBnd")
	if err != nil {
		return unreadable(err)
	}
	nnp, err := c.field("NoNewPrivs")
	if err != nil {
		return unreadable(err)
	}
	root, _ := c.uids.toHost(0)
	m, _ := mountOf(c.mounts, path)
	return judgeTool(toolFacts{
		path: path, caps: caps, setuid: st.Mode&unix.S_ISUID != 0, owner: uint64(st.Uid),
		nosuid: has(m.options, "nosuid"), noNewPrivs: nnp != "0", bounding: bounding, root: root,
	}, want)
}

// toolFacts are all that decides whether a tool gets a capability.
type toolFacts struct {
	path               string
	caps               fileCaps
	setuid             bool
	owner              uint64 // host uid
	nosuid, noNewPrivs bool
	bounding           uint64
	root               uint64 // host uid of the container's root
}

func judgeTool(t toolFacts, want int) finding {
	switch {
	case t.noNewPrivs:
		return failf("%s gains nothing: no_new_privs is on", t.path)
	case t.nosuid:
		return failf("%s gains nothing: it lies on a nosuid mount", t.path)
	case t.bounding&(1<<want) == 0:
		return failf("%s gains nothing: the capability is not in the bounding set", t.path)
	case t.caps.has(want) && t.caps.rootID != 0 && uint64(t.caps.rootID) != t.root:
		return failf("%s has file capabilities for another user namespace, of root %d", t.path, t.caps.rootID)
	case t.caps.has(want):
		return okf("%s with file capabilities", t.path)
	case !t.setuid:
		return failf("%s has neither file capabilities nor setuid", t.path)
	case t.owner != t.root:
		return failf("%s is setuid to host uid %d, not to its root", t.path, t.owner)
	// A setuid tool is root, not the owner of the new namespace, and the
	// kernel wants CAP_SYS_ADMIN over that of whoever opens its uid_map.
	case t.bounding&(1<<unix.CAP_SYS_ADMIN) == 0:
		return failf("%s is setuid without file capabilities, and the container lacks CAP_SYS_ADMIN", t.path)
	}
	return okf("%s is setuid root", t.path)
}
