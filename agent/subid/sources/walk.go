package sources

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
)

// maxPasses bounds how often procfs is listed for one proof.
const maxPasses = 32

// errGone: a task ended before it was read.
var errGone = errors.New("gone")

// walk visits every process. A process that ended between being listed and
// being read may have had ids of the range, and may have left a child that was
// born behind the listing; so procfs is listed again, for the pids not visited
// yet, until all that are listed could be read. One that was read and has no id
// of the range can give none to a child.
//
// That ends soon, because later passes visit only what was born meanwhile. A
// node that forks faster gives no answer, to be asked again.
func (p *Prover) walk(t *targets, visit func(pid int) error) {
	visited := map[int]bool{}
	for range maxPasses {
		lost := false
		err := eachPID(p.Proc, func(pid int) error {
			if visited[pid] {
				return nil
			}
			switch err := visit(pid); {
			case errors.Is(err, errGone):
				lost = true
			case err != nil:
				t.doubt("process %d: %v", pid, err)
				visited[pid] = true
			default:
				visited[pid] = true
			}
			return nil
		})
		if err != nil {
			t.doubt("list processes: %v", err)
			return
		}
		if len(visited) == 0 {
			t.doubt("list processes: %s shows none", p.Proc)
			return
		}
		if !lost {
			return
		}
	}
	t.doubt("processes end faster than they can be read: ask again")
}

// look takes a process into account: the ids of its threads, and its maps.
// Threads have credentials of their own, and share the user namespace.
func (p *Prover) look(pid int, t *targets) error {
	dir := filepath.Join(p.Proc, strconv.Itoa(pid))
	s, err := readTask(dir)
	if err != nil {
		return err
	}
	p.ids(s, t, pid, pid)
	if s.threads > 1 {
		if err := p.threads(dir, pid, t); err != nil {
			return err
		}
	}
	_, uids, gids, err := readMaps(p.Proc, pid)
	if gone(err) {
		return errGone
	}
	if err != nil {
		return err
	}
	// A map that is not written yet holds nothing. What is written to it later
	// comes from the namespace around it, which holds that now, or from the host.
	text := func() string { return fmt.Sprintf("process %d is in a user namespace that maps it", pid) }
	t.holds(holds(uids), text)
	t.holds(holds(gids), text)
	return nil
}

func (p *Prover) threads(dir string, pid int, t *targets) error {
	tasks := filepath.Join(dir, "task")
	err := eachPID(tasks, func(tid int) error {
		if tid == pid {
			return nil
		}
		s, err := readTask(filepath.Join(tasks, strconv.Itoa(tid)))
		if err != nil {
			return err
		}
		p.ids(s, t, pid, tid)
		return nil
	})
	if gone(err) {
		return errGone
	}
	return err
}

func (p *Prover) ids(s status, t *targets, pid, tid int) {
	for _, id := range s.ids {
		t.has(id, func() string { return fmt.Sprintf("process %d (thread %d) runs with id %d", pid, tid, id) })
	}
}

func readTask(dir string) (status, error) {
	text, err := readFile(filepath.Join(dir, "status"), maxStatus)
	if gone(err) {
		return status{}, errGone
	}
	if err != nil {
		return status{}, err
	}
	s, err := parseStatus(text)
	if err != nil {
		return status{}, fmt.Errorf("parse %s/status: %w", dir, err)
	}
	return s, nil
}
