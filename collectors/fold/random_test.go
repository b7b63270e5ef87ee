package fold

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// nested is what a nested container really did.
type nested struct {
	outer   string
	counted counts
	told    counts // by the last look at it
	placed  bool
	own     bool
}

// world is what really happens, in one or several outermost containers.
type world struct {
	*rand.Rand
	most  int
	s     *Series[counts]
	outer map[string]counts // live ones: what their remainder should be of those that are gone
	live  map[string]*nested
	died  map[string]*nested // since the last look
	born  int
}

func pick[V any](w *world, m map[string]V) (string, bool) {
	ids := slices.Sorted(maps.Keys(m))
	if len(ids) == 0 {
		return "", false
	}
	return ids[w.IntN(len(ids))], true
}

func (w *world) birth() {
	w.born++
	id := fmt.Sprint(w.born)
	if o, ok := pick(w, w.outer); ok && w.IntN(8) > 0 {
		w.live[id] = &nested{outer: o, counted: counts{}}
		return
	}
	w.outer[id] = counts{}
}

func (w *world) count() {
	if id, ok := pick(w, w.live); ok {
		w.live[id].counted.add(counts{[]string{"x", "y"}[w.IntN(2)]: 1 + w.IntN(9)})
	}
}

func (w *world) death() {
	if id, ok := pick(w, w.outer); ok && w.IntN(20) == 0 {
		delete(w.outer, id)
		maps.DeleteFunc(w.live, func(_ string, x *nested) bool { return x.outer == id })
		maps.DeleteFunc(w.died, func(_ string, x *nested) bool { return x.outer == id })
		return
	}
	if id, ok := pick(w, w.live); ok {
		w.died[id] = w.live[id]
		delete(w.live, id)
	}
}

// look is what a collector does; known says whether it still knows what the dead
// counted.
func (w *world) look(t *testing.T, known bool) {
	alive := func(id string) bool { return w.outer[id] != nil || w.live[id] != nil }
	end := func(id string) (counts, bool) {
		x := w.died[id]
		return maps.Clone(x.counted), known
	}
	for _, x := range w.died {
		sum := w.outer[x.outer]
		switch {
		case x.placed && !x.own && known:
			sum.add(x.counted)
		case x.placed && !x.own:
			sum.add(x.told)
		}
	}
	w.s.Retire(alive, end)
	clear(w.died)
	for _, id := range slices.Sorted(maps.Keys(w.live)) {
		x := w.live[id]
		own := w.s.Own(x.outer, id)
		if x.placed && own != x.own {
			t.Fatalf("%s moved: has series %v", id, own)
		}
		x.placed, x.own, x.told = true, own, maps.Clone(x.counted)
		w.s.Set(x.outer, id, maps.Clone(x.counted))
	}
}

// late tells what a container did that lived between two looks.
func (w *world) late() {
	o, ok := pick(w, w.outer)
	if !ok {
		return
	}
	n, own, rest := counts{"x": 1 + w.IntN(9)}, 0, false
	for outermost := range w.s.Remainders() {
		rest = rest || outermost == o
	}
	if known := w.s.outers[o]; known != nil {
		own = len(known.own)
	}
	w.born++
	w.s.Late(o, fmt.Sprint(w.born), n)
	if rest || own == w.most {
		sum := w.outer[o]
		sum.add(n)
	}
}

// Whatever lives and dies: remainders are the sum of all that has no series, no
// counter goes back while the outermost container lives, no more have series
// than may, and nothing is kept of the dead.
func TestRandom(t *testing.T) {
	for seed := range uint64(200) {
		w := &world{Rand: rand.New(rand.NewPCG(seed, 1)), most: 1 + int(seed%4), outer: map[string]counts{}, live: map[string]*nested{}, died: map[string]*nested{}}
		w.s = series(w.most)
		before := map[string]counts{}
		for range 400 {
			switch w.IntN(10) {
			case 0, 1:
				w.birth()
			case 2, 3, 4, 5:
				w.count()
			case 6:
				w.death()
			case 7:
				w.late()
			default:
				w.look(t, seed%2 == 0 || w.IntN(3) > 0)
				w.check(t, before)
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		w.outer, w.live = map[string]counts{}, map[string]*nested{}
		w.look(t, true)
		same(t, "in the end", 0, w.s.Len())
	}
}

func (w *world) check(t *testing.T, before map[string]counts) {
	t.Helper()
	want, own, folded := map[string]counts{}, map[string]int{}, map[string]int{}
	for o, sum := range w.outer {
		want[o] = maps.Clone(sum)
	}
	for _, x := range w.live {
		if x.own {
			own[x.outer]++
			continue
		}
		folded[x.outer]++
		sum := want[x.outer]
		sum.add(x.counted)
	}
	got := maps.Collect(w.s.Remainders())
	for o, sum := range want {
		r, ok := got[o]
		if !ok && len(sum)+folded[o] > 0 {
			t.Errorf("%s has no remainder, want %v of %d", o, sum, folded[o])
		}
		if ok {
			same(t, "sum of "+o, sum, r.Sum)
			same(t, "folded in "+o, folded[o], r.Folded)
		}
		if own[o] > w.most {
			t.Errorf("%d of %d have series", own[o], w.most)
		}
		for k, n := range before[o] {
			if r.Sum[k] < n {
				t.Errorf("%s of %s went from %d back to %d", k, o, n, r.Sum[k])
			}
		}
	}
	clear(before)
	for o, r := range got {
		if before[o] = r.Sum; want[o] == nil {
			t.Errorf("%s is gone, and has %v", o, r)
		}
		kept := w.s.outers[o]
		same(t, "kept with series", own[o], len(kept.own))
		same(t, "kept without", folded[o], len(kept.folded))
	}
}
