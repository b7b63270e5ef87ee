package top

import (
	"strings"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Row is a container's numbers, and what it does per second; nil is not known.
type Row struct {
	identity.StatsRow
	Path     string // escaped names from the outermost container of the answer inwards
	Forks    *float64
	Denied   *float64
	Read     *float64 // bytes, as are the two below
	Written  *float64
	CopiedUp *float64
}

// Rates makes rows of an answer; what happened since the answer before it, each
// second, is known of containers that are in both and have been counted without
// a break. before may be nil. escape makes text safe to print.
func Rates(before, now []identity.StatsRow, escape func(string) string) []Row {
	old := make(map[string]*identity.StatsRow, len(before))
	for i := range before {
		old[before[i].ID] = &before[i]
	}
	byID := make(map[string]*identity.StatsRow, len(now))
	for i := range now {
		byID[now[i].ID] = &now[i]
	}
	rows := make([]Row, 0, len(now))
	for i := range now {
		r := Row{StatsRow: now[i], Path: path(&now[i], byID, escape)}
		if was := old[r.ID]; was != nil && was.Since.Equal(r.Since) {
			r.compare(was)
		}
		rows = append(rows, r)
	}
	return rows
}

func (r *Row) compare(was *identity.StatsRow) {
	seconds := r.Time.Sub(was.Time).Seconds()
	if seconds <= 0 {
		return
	}
	rate := func(a, b uint64) *float64 {
		if b < a {
			return nil // it began anew: since when is not known
		}
		v := float64(b-a) / seconds
		return &v
	}
	r.Forks = rate(was.Forks, r.StatsRow.Forks)
	if was.Denials != nil && r.Denials != nil {
		r.Denied = rate(*was.Denials, *r.Denials)
	}
	if a, b := was.Overlay, r.Overlay; a != nil && b != nil {
		r.Read, r.Written, r.CopiedUp = rate(a.Read, b.Read), rate(a.Written, b.Written), rate(a.CopiedUp, b.CopiedUp)
	}
}

const (
	maxName  = 64 // runes of one name
	maxChain = 80 // more than levels can be
)

// path joins the names of a container and those around it that are in the answer.
func path(r *identity.StatsRow, byID map[string]*identity.StatsRow, escape func(string) string) string {
	var names []string
	for n := 0; r != nil && n < maxChain; n++ {
		name := clip(r.Name)
		if r.Pod != nil {
			name = r.Pod.Title() // as long as Kubernetes lets it be
		}
		names = append([]string{escape(name)}, names...)
		r = byID[r.Parent]
	}
	return strings.Join(names, " ▸ ")
}

// clip bounds a name, between runes.
func clip(s string) string {
	n := 0
	for i := range s {
		if n == maxName {
			return s[:i] + "…"
		}
		n++
	}
	return s
}
