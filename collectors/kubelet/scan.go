package kubelet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// scan compares the directory with what is known.
func (w *Watcher) scan() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.o.Now().UTC().Round(0)
	found, bad, err := Read(w.o.Node, w.o.Root)
	if err != nil { // nothing is known of anybody
		if !w.failing {
			w.o.Log.Warn().Err(err).Msg("pods' ranges of ids are not remembered now")
		}
		w.failing = true
		return
	}
	w.failing = false
	here := map[string]bool{}
	for _, r := range found {
		if !validPod(r.Pod) {
			bad = append(bad, Bad{r.Pod, r.Path, fmt.Errorf("%s is no uid of a pod", strconv.QuoteToASCII(r.Pod))})
			continue
		}
		here[r.Pod] = true
		w.meet(r, now)
	}
	w.complain(bad)
	for _, b := range bad {
		here[b.Pod] = true // it is there, whatever it says
	}
	for pod, r := range w.open {
		if !here[pod] {
			w.end(r, now)
		}
	}
	w.seen = now
	w.note(noteEvery)
}

// meet takes in a record that is there.
func (w *Watcher) meet(r Record, now time.Time) {
	was, known := w.open[r.Pod]
	if known && slices.Equal(was.UIDs, r.UIDs) && slices.Equal(was.GIDs, r.GIDs) {
		if was.Boot != w.o.Boot {
			was.Boot, was.Last = w.o.Boot, now
			w.put(was)
		}
		return
	}
	n := identity.PodRecord{Pod: r.Pod, UIDs: r.UIDs, GIDs: r.GIDs, Boot: w.o.Boot, First: r.Written, Last: now}
	if n.First.After(now) { // by a clock that was set since
		n.First = now
	}
	if known { // a static pod has its uid for good
		was = w.end(was, now)
		if !n.First.After(was.Last) { // by a file with an old date: two lives, not one
			n.First = was.Last.Add(1)
		}
	}
	w.put(n)
}

func (w *Watcher) put(r identity.PodRecord) {
	w.open[r.Pod] = r
	if w.o.Memory != nil {
		w.o.Memory.PutPod(r)
	}
}

// end closes a record that is no longer there: it went after the scan before
// this one.
func (w *Watcher) end(r identity.PodRecord, now time.Time) identity.PodRecord {
	if w.seen.After(r.Last) {
		r.Last = w.seen
	}
	r.Gone, r.GoneBy = true, now
	if r.Last.After(now) { // the clock was set back
		r.GoneBy = r.Last
	}
	delete(w.open, r.Pod)
	if w.o.Memory != nil {
		w.o.Memory.PutPod(r)
	}
	return r
}

// note tells Memory when all open records were last there, if that is longer
// ago than age.
func (w *Watcher) note(age time.Duration) {
	if w.o.Memory != nil && len(w.open) > 0 && w.seen.Sub(w.noted).Abs() > age {
		w.o.Memory.PutPodScan(w.seen)
		w.noted = w.seen
	}
}

// complain logs records that were not bad before, in one line.
func (w *Watcher) complain(bad []Bad) {
	now, fresh := map[string]bool{}, 0
	var first Bad
	for _, b := range bad {
		now[b.Pod] = true
		if !w.bad[b.Pod] {
			if fresh++; fresh == 1 {
				first = b
			}
		}
	}
	w.bad = now
	if fresh > 0 {
		w.o.Log.Warn().Err(first.Err).Str("record", strconv.QuoteToASCII(first.Path)).Int("records", fresh).Msg("records of kubelet's are ignored: their pods' ids stay unknown")
	}
}

// validPod accepts what may be a key: [A-Za-z0-9._-]{1,128}. The uids of the
// API server and of static pods are hex digits and dashes.
func validPod(s string) bool {
	if len(s) < 1 || len(s) > 128 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", rune(c)) {
			return false
		}
	}
	return true
}
