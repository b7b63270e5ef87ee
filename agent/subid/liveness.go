package subid

import (
	"strings"
	"time"
)

// Liveness answers "is this range in use?". There are four answers, because
// not to find a user is not to know that there is none.
type Liveness uint8

const (
	// Indeterminate: something could not be looked at; ask again later. It is
	// the zero value, so that a forgotten answer frees nothing.
	Indeterminate Liveness = iota
	// Alive: a process, a user namespace or a mount has ids of the range.
	Alive
	// Unsupported: this kernel, or this process as it runs, cannot tell;
	// asking again gives no other answer.
	Unsupported
	// Released: nobody has any id of the range. Only this frees.
	Released
)

// String returns the answer as ledgers and metrics write it.
func (l Liveness) String() string {
	switch l {
	case Alive:
		return "alive"
	case Unsupported:
		return "unsupported"
	case Released:
		return "released"
	}
	return "indeterminate"
}

// Evidence is one reason for an answer that is not Released.
type Evidence struct {
	Answer Liveness
	Text   string // printable; names who holds the range, or the fix
}

// Proof is the answer for one range. At is when the look began: nothing that
// happened later is in it.
type Proof struct {
	Range    Range
	Liveness Liveness
	Evidence []Evidence // bounded
	More     int        // evidence left out
	At       time.Time
}

// maxEvidence bounds the reasons a proof keeps: one is enough to act on.
const maxEvidence = 16

// Add takes one more reason into account. One who holds the range outweighs
// all doubts, and what can never be known outweighs what may be later. A proof
// that starts as Released is so until something is added.
func (p *Proof) Add(e Evidence) {
	rank := func(l Liveness) int {
		switch l {
		case Alive:
			return 3
		case Unsupported:
			return 2
		case Indeterminate:
			return 1
		}
		return 0
	}
	if rank(e.Answer) == 0 {
		return
	}
	if rank(e.Answer) > rank(p.Liveness) {
		p.Liveness = e.Answer
		// The reasons of the answer come first, or a bounded list could hide them.
		p.Evidence = append([]Evidence{e}, p.Evidence...)
	} else {
		p.Evidence = append(p.Evidence, e)
	}
	if len(p.Evidence) > maxEvidence {
		p.Evidence = p.Evidence[:maxEvidence]
		p.More++
	}
}

func (p Proof) reasons() string {
	var b strings.Builder
	for i, e := range p.Evidence {
		if i == 3 {
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(e.Text)
	}
	return b.String()
}
