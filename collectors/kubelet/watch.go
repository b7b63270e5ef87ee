package kubelet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/hostfs"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Memory keeps what a Watcher saw; *history.Store is one.
type Memory interface {
	PutPod(identity.PodRecord)
	// PutPodScan notes when the directory was last seen whole.
	PutPodScan(time.Time)
	Pods(f func(identity.PodRecord)) error
	PodScan() time.Time
}

// Options of a Watcher.
type Options struct {
	Node   hostfs.Root
	Root   string // kubelet's root directory there
	Boot   string // boot id
	Memory Memory // nil: nothing is remembered
	Log    zerolog.Logger
	Now    func() time.Time // default time.Now
}

// Watcher follows kubelet's records. Safe for concurrent use.
type Watcher struct {
	o     Options
	nudge chan struct{}

	mu      sync.Mutex
	open    map[string]identity.PodRecord // by pod uid
	seen    time.Time                     // when the directory was last seen whole
	noted   time.Time                     // when Memory was last told that
	failing bool
	bad     map[string]bool // records complained about
}

const (
	scanEvery = 2 * time.Second
	// scanGap is the least time between two scans that new user namespaces ask for:
	// a tenant makes as many as it likes.
	scanGap = 500 * time.Millisecond
	// noteEvery bounds by how much a crash widens the time in which a pod went.
	noteEvery = 10 * time.Second
)

// New returns a Watcher that knows what Memory knows.
func New(o Options) (*Watcher, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Watcher{o: o, nudge: make(chan struct{}, 1), open: map[string]identity.PodRecord{}, bad: map[string]bool{}}
	if o.Memory == nil {
		return w, nil
	}
	w.seen = o.Memory.PodScan()
	err := o.Memory.Pods(func(r identity.PodRecord) {
		if old, twice := w.open[r.Pod]; !r.Gone && (!twice || r.First.After(old.First)) {
			w.open[r.Pod] = r
		}
	})
	if err != nil {
		return w, fmt.Errorf("remember kubelet's pods: %w", err)
	}
	return w, nil
}

// Nudge asks for a scan soon: a user namespace is new, perhaps a pod's.
func (w *Watcher) Nudge() {
	select {
	case w.nudge <- struct{}{}:
	default: // one is asked for already
	}
}

// Run scans until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	tick := time.NewTicker(scanEvery)
	defer tick.Stop()
	for {
		w.scan()
		select {
		case <-ctx.Done():
		case <-time.After(scanGap):
		}
		select {
		case <-ctx.Done():
			w.mu.Lock()
			defer w.mu.Unlock()
			w.note(0)
			return nil
		case <-tick.C:
		case <-w.nudge:
		}
	}
}

// Pods returns the pods that have, or had, ranges, as fresh as the disk; those
// that came last come first.
func (w *Watcher) Pods() ([]identity.PodRecord, error) {
	w.scan()
	type life struct {
		pod   string
		first int64
	}
	all := map[life]identity.PodRecord{}
	put := func(r identity.PodRecord) { all[life{r.Pod, r.First.UnixNano()}] = r }
	var err error
	if w.o.Memory != nil {
		err = w.o.Memory.Pods(put)
	}
	w.mu.Lock()
	for _, r := range w.open { // also those that a damaged history has lost
		if w.seen.After(r.Last) {
			r.Last = w.seen
		}
		put(r)
	}
	w.mu.Unlock()
	out := make([]identity.PodRecord, 0, len(all))
	for _, r := range all {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b identity.PodRecord) int {
		if n := b.First.Compare(a.First); n != 0 {
			return n
		}
		return strings.Compare(a.Pod, b.Pod)
	})
	return out, err
}
