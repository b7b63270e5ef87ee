package overlay

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// root is how full the overlay is that is a container's root.
type root struct {
	available, size uint64 // of the file system below the upper layer, bytes
	layers          int    // lower ones
}

const (
	lookTimeout = 2 * time.Second // for one container
	maxStuck    = 4               // looks that never came back; beyond that there are no more
	overlayfs   = 0x794c7630      // include/uapi/linux/magic.h OVERLAYFS_SUPER_MAGIC
)

// lookAtRoots looks at the roots of the containers that use overlays. A sandbox
// can make a look block for ever: it then costs a goroutine, of which there are
// few, never the others.
func (c *Collector) lookAtRoots(ctx context.Context) {
	jobs := map[string]identity.ProcessKey{}
	c.mu.Lock()
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for id := range c.users {
			if x := t.Container(id); x != nil && x.Init.PID != 0 {
				jobs[id] = x.Init
			}
		}
	})
	c.mu.Unlock()
	roots := map[string]root{}
	for id, init := range jobs {
		r, ok, err := c.bounded(ctx, init)
		if err != nil {
			c.o.Log.Debug().Err(err).Str("container", id).Msg("look how full its root is")
		}
		if ok {
			roots[id] = r
		}
	}
	c.mu.Lock()
	c.roots = roots
	c.mu.Unlock()
}

func (c *Collector) bounded(ctx context.Context, init identity.ProcessKey) (root, bool, error) {
	if c.stuck.Load() >= maxStuck {
		return root{}, false, fmt.Errorf("%d earlier looks do not come back", maxStuck)
	}
	type result struct {
		root root
		ok   bool
		err  error
	}
	done := make(chan result, 1)
	c.stuck.Add(1)
	go func() {
		defer c.stuck.Add(-1)
		r, ok, err := c.look(c.o.Proc, init)
		done <- result{r, ok, err}
	}()
	timer := time.NewTimer(lookTimeout)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.root, r.ok, r.err
	case <-timer.C:
		return root{}, false, os.ErrDeadlineExceeded
	case <-ctx.Done():
		return root{}, false, ctx.Err()
	}
}

// lookAtRoot returns false when the root is no overlay, or the process is gone.
// What statfs says of an overlay is what the file system of its upper layer says.
func lookAtRoot(proc string, init identity.ProcessKey) (r root, ok bool, err error) {
	mounts, err := evidence.ReadMountinfo(proc, int(init.PID))
	if err != nil {
		return r, false, err
	}
	layers, overlay := evidence.RootLayers(strings.NewReader(mounts))
	if !overlay {
		return r, false, nil
	}
	dir, err := evidence.OpenRoot(proc, int(init.PID))
	if err != nil {
		return r, false, err
	}
	defer dir.Close()
	f, err := dir.Look("/")
	if err != nil {
		return r, false, err
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return r, false, fmt.Errorf("statfs root of process %d: %w", init.PID, err)
	}
	if st.Type != overlayfs || !evidence.SameProcess(proc, int(init.PID), init.Start) {
		return r, false, nil
	}
	size := uint64(st.Frsize)
	return root{available: st.Bavail * size, size: st.Blocks * size, layers: layers}, true, nil
}
