package overlay

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/eyas-agent/eyas/collectors/identity"
)

func TestRoots(t *testing.T) {
	n := newNode()
	outer := n.put(10, 10)
	n.put(20, 10, 20)
	n.put(30, 10, 30) // uses no overlay: nobody looks
	n.rows[row(10, 1, 1)], n.rows[row(20, 1, 1)] = read(1), read(1)
	c := n.collector()
	var asked []identity.HostPID
	c.look = func(_ string, init identity.ProcessKey) (root, bool, error) {
		asked = append(asked, init.PID)
		return root{available: 5, size: 10, layers: 3}, init.PID == 10, errors.New("one is gone")
	}
	if err := c.sweep(time.Now()); err != nil {
		t.Fatal(err)
	}
	c.lookAtRoots(t.Context())
	if len(asked) != 2 {
		t.Errorf("asked %v", asked)
	}
	equal(t, "roots", map[string]root{outer: {5, 10, 3}}, c.roots)
	if k := testutil.CollectAndCount(c, "eyas_overlay_upper_available_bytes", "eyas_overlay_upper_size_bytes", "eyas_overlay_lower_layers"); k != 3 {
		t.Errorf("%d series, want 3", k)
	}
	for _, pid := range []uint32{20, 30, 10} {
		n.die(pid)
	}
	c.lookAtRoots(t.Context())
	equal(t, "the dead have no roots", map[string]root{}, c.roots)
}

// TestLooksThatBlock: a sandbox may hold a look for ever, but only so many.
func TestLooksThatBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNode().collector()
		release := make(chan struct{})
		begun := 0
		c.look = func(string, identity.ProcessKey) (root, bool, error) {
			begun++
			<-release
			return root{}, true, nil
		}
		for i := range maxStuck + 3 {
			start := time.Now()
			_, ok, err := c.bounded(t.Context(), identity.ProcessKey{PID: 1})
			if ok || i < maxStuck && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("look %d: %v, %v", i, ok, err)
			}
			if took := time.Since(start); i < maxStuck && took != lookTimeout || i >= maxStuck && took != 0 {
				t.Errorf("look %d took %v", i, took)
			}
		}
		if begun != maxStuck {
			t.Errorf("%d looks begun, want %d", begun, maxStuck)
		}
		close(release)
		synctest.Wait()
		if _, ok, err := c.bounded(t.Context(), identity.ProcessKey{PID: 1}); !ok || err != nil {
			t.Errorf("a look when all have come back: %v, %v", ok, err)
		}
	})
}
