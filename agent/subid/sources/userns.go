package sources

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// readMaps returns the id maps of a process, as text for comparison and parsed.
func readMaps(proc string, pid int) (text string, uids, gids []identity.Extent, err error) {
	for _, m := range []struct {
		name string
		to   *[]identity.Extent
	}{{"uid_map", &uids}, {"gid_map", &gids}} {
		path := filepath.Join(proc, strconv.Itoa(pid), m.name)
		b, err := readFile(path, maxIDMap)
		if errors.Is(err, unix.EINVAL) {
			// proc_id_map_open says so when the process is not there any more.
			err = fmt.Errorf("read %s: %w", path, unix.ESRCH)
		}
		if err != nil {
			return "", nil, nil, err
		}
		if *m.to, err = parseIDMap(b); err != nil {
			return "", nil, nil, fmt.Errorf("parse %s: %w", path, err)
		}
		text += m.name + "\n" + string(b)
	}
	return text, uids, gids, nil
}

// userNamespaces returns the ranges that user namespaces with a process map.
// Namespaces are told apart by inode and map: the kernel uses inode numbers
// again at once, also while this runs.
func (h Host) userNamespaces() ([]subid.Claim, error) {
	type key struct{ ns, maps string }
	seen := map[key]bool{}
	var out []subid.Claim
	var errs []error
	err := eachPID(h.Proc, func(pid int) error {
		// Without CAP_SYS_PTRACE the link cannot be read; the map is enough.
		ns, _ := os.Readlink(filepath.Join(h.Proc, strconv.Itoa(pid), "ns", "user"))
		if ns == initUserNS {
			return nil // it maps the host's ids to themselves, for ever; most processes are there
		}
		text, uids, gids, err := readMaps(h.Proc, pid)
		if gone(err) {
			return nil
		}
		if err != nil {
			if errs = append(errs, err); len(errs) > 4 {
				return errors.New("too many unreadable processes")
			}
			return nil
		}
		if seen[key{ns, text}] {
			return nil
		}
		seen[key{ns, text}] = true
		for _, m := range []struct {
			kind string
			m    []identity.Extent
		}{{"uids", uids}, {"gids", gids}} {
			for _, r := range holds(m.m) {
				out = append(out, subid.Claim{Range: r, Source: fmt.Sprintf("%s of a live user namespace (%s, process %d)", m.kind, ns, pid)})
			}
		}
		return nil
	})
	if err != nil || len(errs) > 0 {
		return out, fmt.Errorf("read live user namespaces: %w: run as root, in the host's pid namespace", errors.Join(append(errs, err)...))
	}
	return out, nil
}

// eachPID visits the processes that procfs shows, ascending, each right after it
// is listed: most still live then.
func eachPID(proc string, visit func(pid int) error) error {
	d, err := os.Open(proc)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(64)
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
				if err := visit(pid); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Maps returns the id maps of the user namespace of a process, from inner ids to
// those of this process's namespace, which should be the initial one.
func Maps(proc string, pid int) (identity.UIDMap, identity.GIDMap, error) {
	_, uids, gids, err := readMaps(proc, pid)
	if err != nil {
		return nil, nil, fmt.Errorf("read id maps of process %d: %w", pid, err)
	}
	return uids, gids, nil
}
