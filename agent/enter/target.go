package enter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/subid/sources"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// ErrEnded means that the process has ended, or is about to.
var ErrEnded = errors.New("its process has ended")

// User is who to be, as the container has it.
type User struct {
	UID identity.UID
	GID *identity.GID // nil: that of the container's process, if that has the uid, else the number of the uid
}

// Options say how to enter.
type Options struct {
	Proc     string // procfs of the host
	PID      identity.HostPID
	User     *User    // nil: root of its user namespace, or if that has none, the user of the process
	NoCgroup bool     // stay in the cgroup of the caller
	Command  []string // default: sh
}

// Plan is what is to be done.
type Plan struct {
	PID        identity.HostPID `json:"pid"`
	StartTicks uint64           `json:"start_ticks"` // field 22 of /proc/PID/stat
	Namespaces []string         `json:"namespaces"`  // as in /proc/PID/ns
	UID        identity.UID     `json:"uid"`         // as the container has it
	GID        identity.GID     `json:"gid"`
	HostUID    identity.HostUID `json:"host_uid"`
	HostGID    identity.HostGID `json:"host_gid"`
	Cgroups    []string         `json:"cgroups"` // directories of the node to be in
	Env        []string         `json:"env"`
	Argv       []string         `json:"argv"` // relative to /proc/PID
	Notes      []string         `json:"notes,omitempty"`
}

// Target is a process to enter by. It is pinned: it never becomes another one.
type Target struct {
	proc string
	dir  *os.File
	Plan Plan
}

// Open pins a process and says how to enter by it. That it is the process meant
// the caller makes sure of afterwards, and then, by Alive, that it was so all
// the time.
func Open(o Options) (_ *Target, err error) {
	t := &Target{proc: o.Proc, Plan: Plan{PID: o.PID}}
	t.dir, err = os.OpenFile(filepath.Join(o.Proc, t.pid()), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, gone(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.dir.Close())
		}
	}()
	// What follows is read by pid, and is of the pinned process if that lives on.
	pfs, err := procfs.NewFS(o.Proc)
	if err != nil {
		return nil, err
	}
	p, err := pfs.Proc(int(o.PID))
	if err != nil {
		return nil, gone(err)
	}
	stat, err := p.Stat()
	if err != nil {
		return nil, gone(err)
	}
	if stat.State == "Z" || stat.State == "X" {
		return nil, fmt.Errorf("pid %d: %w: it is a zombie", o.PID, ErrEnded)
	}
	t.Plan.StartTicks = stat.Starttime
	if err := t.namespaces(); err != nil {
		return nil, gone(err)
	}
	if err := t.user(p, o.User); err != nil {
		return nil, gone(err)
	}
	if !o.NoCgroup {
		if err := t.cgroups(pfs, p); err != nil {
			return nil, gone(err)
		}
	}
	t.Plan.call(o.Command)
	return t, t.Alive()
}

func (t *Target) pid() string { return strconv.FormatUint(uint64(t.Plan.PID), 10) }

// Alive fails when the process has ended since it was opened.
func (t *Target) Alive() error {
	fd, err := unix.Openat(int(t.dir.Fd()), "stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return gone(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Read(fd, make([]byte, 1)); err != nil {
		return gone(err)
	}
	return nil
}

// Close lets go of the process.
func (t *Target) Close() error { return t.dir.Close() }

func gone(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH):
		return fmt.Errorf("%w meanwhile: try again", ErrEnded)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: to enter a container takes root on the node", err)
	}
	return err
}

// kinds are the namespaces that a process is in, and nsenter's options. The file
// of its pid namespace tells where it is, not where its children are.
var kinds = [...]struct{ file, option string }{
	{"user", "--user"}, {"mnt", "--mount"}, {"pid", "--pid"}, {"net", "--net"},
	{"ipc", "--ipc"}, {"uts", "--uts"}, {"cgroup", "--cgroup"}, {"time", "--time"},
}

// namespaces finds those that differ from ours, or from the node's: what is
// printed in a pod is run on the node. To enter one twice does no harm; only
// with the user namespace the kernel refuses it.
func (t *Target) namespaces() error {
	for _, k := range kinds {
		theirs, err := os.Readlink(filepath.Join(t.proc, t.pid(), "ns", k.file))
		if errors.Is(err, fs.ErrNotExist) && k.file == "time" {
			continue // a kernel without
		}
		if err != nil {
			return fmt.Errorf("look at its %s namespace: %w", k.file, err)
		}
		ours, err := os.Readlink(filepath.Join(t.proc, "self", "ns", k.file))
		if err != nil {
			return fmt.Errorf("look at the %s namespace of eyas: %w", k.file, err)
		}
		node, err := os.Readlink(filepath.Join(t.proc, "1", "ns", k.file))
		if theirs != ours || err == nil && theirs != node && k.file != "user" {
			t.Plan.Namespaces = append(t.Plan.Namespaces, k.file)
		}
	}
	if len(t.Plan.Namespaces) == 0 {
		return errors.New("its process is in no namespace but those of eyas: there is nothing to enter")
	}
	return nil
}

// user decides who to be there.
func (t *Target) user(p procfs.Proc, want *User) error {
	status, err := p.NewStatus()
	if err != nil {
		return err
	}
	uids, gids, err := sources.Maps(t.proc, int(t.Plan.PID))
	if err != nil {
		return err
	}
	theirs := User{}
	hostUID, hostGID := identity.HostUID(status.UIDs[1]), identity.HostGID(status.GIDs[1])
	uid, uidMapped := uids.FromHost(hostUID)
	gid, gidMapped := gids.FromHost(hostGID)
	theirs.UID, theirs.GID = uid, &gid
	_, rootUID := uids.ToHost(0)
	_, rootGID := gids.ToHost(0)
	var be User
	switch {
	case want != nil:
		be = *want
	case rootUID && rootGID:
		be = User{GID: new(identity.GID)}
	case uidMapped && gidMapped:
		be = theirs
		t.Plan.Notes = append(t.Plan.Notes, fmt.Sprintf("its user namespace has no root: uid %d is its process's", uid))
	default:
		return fmt.Errorf("its user namespace maps neither root nor the user of its process: choose another with --user: it has %s", spans(uids))
	}
	if be.GID == nil {
		n := identity.GID(be.UID)
		if uidMapped && gidMapped && uid == be.UID {
			n = gid
		}
		be.GID = &n
	}
	var ok bool
	t.Plan.UID, t.Plan.GID = be.UID, *be.GID
	if t.Plan.HostUID, ok = uids.ToHost(be.UID); !ok {
		return fmt.Errorf("--user: its user namespace does not map uid %d: it has %s", be.UID, spans(uids))
	}
	if t.Plan.HostGID, ok = gids.ToHost(*be.GID); !ok {
		return fmt.Errorf("--user: its user namespace does not map gid %d: it has %s: say which with --user UID:GID", *be.GID, spans(gids))
	}
	return nil
}

// UserNamespaced reports whether the container has a user namespace of its own.
func (p Plan) UserNamespaced() bool { return slices.Contains(p.Namespaces, "user") }
