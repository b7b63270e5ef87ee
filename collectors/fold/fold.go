// Package fold says which nested containers have series of their own, and adds
// up the rest: as many as are let for each outermost container have some, and
// the others are one remainder, nested="_other".
//
// What enters: ids of containers, which of them live, and what they have counted.
// What leaves: who has series, and the remainders, whose counters grow for as
// long as the outermost container lives. It touches nothing.
package fold

import "iter"

// Other is the nested label of what has no series of its own.
const Other = "_other"

// usual is how many nested containers have series, unless told.
const usual = 50

// Series are those of all containers. T is what one has counted; its zero value
// is nothing. It knows who has been gone no longer than until the next Retire,
// which is to come with every look at who lives. Not safe for concurrent use.
type Series[T any] struct {
	most   int
	add    func(sum *T, n T)
	outers map[string]*outer[T] // by the outermost container's id
}

// outer is what must stay the same from look to look for one outermost container.
type outer[T any] struct {
	own     map[string]bool // who has series
	folded  map[string]T    // who has none, and what each has counted
	retired T               // what those of them counted that are gone
	rest    bool            // there is, or was, a remainder
}

// Remainder is what has no series of its own in one outermost container.
type Remainder[T any] struct {
	Sum    T   // also of those that are gone
	Folded int // nested containers that are not
}

// New returns Series for most nested containers per outermost one; 0 is the
// default, 50. add adds n to sum, a zero value at first; n must stay as it is.
func New[T any](most int, add func(sum *T, n T)) *Series[T] {
	if most <= 0 {
		most = usual
	}
	return &Series[T]{most: most, add: add, outers: map[string]*outer[T]{}}
}

// Own reports whether a nested container has series of its own; who comes first
// has. Once decided it stays: a counter that moved would seem to be reset.
func (s *Series[T]) Own(outermost, id string) bool {
	o := s.outers[outermost]
	if o == nil {
		o = &outer[T]{own: map[string]bool{}, folded: map[string]T{}}
		s.outers[outermost] = o
	}
	if o.knows(id) {
		return o.own[id]
	}
	if len(o.own) < s.most {
		o.own[id] = true
		return true
	}
	var nothing T
	o.folded[id], o.rest = nothing, true
	return false
}

func (o *outer[T]) knows(id string) bool {
	_, folded := o.folded[id]
	return folded || o.own[id]
}

// Folded reports whether it was decided that a nested container has none.
func (s *Series[T]) Folded(outermost, id string) bool {
	o := s.outers[outermost]
	if o == nil {
		return false
	}
	_, folded := o.folded[id]
	return folded
}

// Set says what a nested container has counted by now. Of those with series of
// their own nothing is kept.
func (s *Series[T]) Set(outermost, id string, n T) {
	if s.Folded(outermost, id) {
		s.outers[outermost].folded[id] = n
	}
}

// Late adds what is heard of a container only after its end. It is the
// remainder's if there is one, or no place is free; else it goes the way of
// series, which end with their container. Whom Retire has yet to meet, it leaves
// to that.
func (s *Series[T]) Late(outermost, id string, n T) {
	o := s.outers[outermost]
	if o == nil || o.knows(id) || !o.rest && len(o.own) < s.most {
		return
	}
	s.add(&o.retired, n)
	o.rest = true
}

// Retire forgets who is gone. What folded ones counted stays in the remainder
// for as long as the outermost container lives. last says what one had counted
// in the end, if that is known; else it is what was Set. last may be nil.
func (s *Series[T]) Retire(alive func(id string) bool, last func(id string) (T, bool)) {
	for outermost, o := range s.outers {
		if !alive(outermost) {
			delete(s.outers, outermost)
			continue
		}
		for id := range o.own {
			if !alive(id) {
				delete(o.own, id)
			}
		}
		for id, n := range o.folded {
			if alive(id) {
				continue
			}
			if last != nil {
				if end, ok := last(id); ok {
					n = end
				}
			}
			s.add(&o.retired, n)
			delete(o.folded, id)
		}
	}
}

// Remainders returns those that there are, or were, by the outermost container's
// id, in no order. Sums are the caller's.
func (s *Series[T]) Remainders() iter.Seq2[string, Remainder[T]] {
	return func(yield func(string, Remainder[T]) bool) {
		for outermost, o := range s.outers {
			if !o.rest {
				continue
			}
			r := Remainder[T]{Folded: len(o.folded)}
			s.add(&r.Sum, o.retired)
			for _, n := range o.folded {
				s.add(&r.Sum, n)
			}
			if !yield(outermost, r) {
				return
			}
		}
	}
}

// Len is how many outermost containers it knows of.
func (s *Series[T]) Len() int { return len(s.outers) }
