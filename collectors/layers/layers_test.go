package layers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/disk"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestKinds(t *testing.T) {
	for want, m := range map[string]evidence.Mount{
		KindOverlay:   {Root: "/", FSType: "overlay"},
		KindFuse:      {Root: "/", FSType: "fuse.fuse-overlayfs"},
		KindDirectory: {Root: "/store/vfs/dir/x", FSType: "overlay"},
		KindOther:     {Root: "/", FSType: "ext4"},
	} {
		same(t, want, want, kindOf(m))
	}
}

// Each overlay is walked once, and told of at whoever lives on it.
func TestShared(t *testing.T) {
	one := func(container, point, device, kind string) found {
		return found{Overlay: Overlay{Container: container, Point: point, Device: device, Kind: kind}}
	}
	jobs := once([]found{
		one("a", "/", "0:1", KindOverlay), one("a", "/store/b", "0:2", KindOverlay), one("a", "/mnt", "0:3", KindOverlay),
		one("b", "/", "0:2", KindOverlay), one("b", "/mnt", "0:3", KindOverlay), one("c", "/", "0:1", KindOverlay),
		one("d", "/", "0:9", KindOther), one("e", "/", "0:9", KindOther),
	})
	var out []Overlay
	for _, j := range jobs {
		if j.Kind == KindOverlay && j.Shared == "" {
			j.Usage = &disk.Usage{Bytes: uint64(len(out) + 1)}
		}
		out = append(out, j.Overlay)
	}
	share(out)
	type row struct {
		container, point, shared string
		bytes                    uint64
	}
	var got []string
	for _, o := range out {
		r := row{o.Container, o.Point, o.Shared, 0}
		if o.Usage != nil {
			r.bytes = o.Usage.Bytes
		}
		got = append(got, strings.TrimSpace(strings.Join([]string{r.container, r.point, r.shared, string(rune('0' + r.bytes))}, " ")))
	}
	same(t, "rows", []string{"a /  1", "a /mnt  2", "b /  3", "c / a 1", "d /  0", "e /  0"}, got)
}

func TestPlaces(t *testing.T) {
	node := []evidence.Mount{
		{Device: "8:1", Root: "/", Point: "/"}, {Device: "8:2", Root: "/data/vol", Point: "/srv"}, {Device: "8:2", Root: "/dat", Point: "/no"},
		{Device: "8:2", Root: "/", Point: "/disk"},
	}
	m := evidence.Mount{Device: "8:2", Root: "/data/vol", Point: "/var/lib"}
	same(t, "places", []string{"/var/lib/u", "/srv/u", "/disk/data/vol/u"}, places(m, "/var/lib/u", node))
	same(t, "of a mount that is not known", []string{"/var/lib/u"}, places(evidence.Mount{}, "/var/lib/u", node))
	same(t, "of another mount", []string{"/var/library"}, places(m, "/var/library", node))
}

// A sandbox may hold a look for ever, but only so many; one that runs late is over.
func TestLooksThatBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Looker{}
		release := make(chan struct{})
		for i := range maxStuck + 2 {
			start := time.Now()
			_, err := bounded(t.Context(), l, walkLimit, func(context.Context) (int, error) { <-release; return 1, nil })
			want, took := "its file system does not respond", walkLimit+grace
			if i >= maxStuck {
				want, took = "4 earlier looks do not come back", 0
			}
			if err == nil || !strings.Contains(err.Error(), want) || time.Since(start) != took {
				t.Errorf("look %d: %v after %v", i, err, time.Since(start))
			}
		}
		close(release)
		synctest.Wait()
		if n, err := bounded(t.Context(), l, walkLimit, func(context.Context) (int, error) { return 1, nil }); n != 1 || err != nil {
			t.Errorf("when all have come back: %d, %v", n, err)
		}
	})
}

// One looks at a time, and who waits may give up.
func TestOneAtATime(t *testing.T) {
	l := &Looker{}
	release, err := l.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Look(ctx, "/proc", nil, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("beside another: %v", err)
	}
	release()
	if got, err := l.Look(t.Context(), "/proc", []Container{{ID: "gone"}}, 0); err != nil || len(got) != 0 {
		t.Errorf("of one that is gone: %v, %v", got, err)
	}
}
