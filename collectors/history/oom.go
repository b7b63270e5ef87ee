package history

import (
	"fmt"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// maxOOMs bounds the OOM kills remembered: a tenant makes as many as it likes.
const maxOOMs = 5_000

// PutOOM remembers an OOM kill, replacing what was known of it: its time and its
// first victim name it.
func (s *Store) PutOOM(r identity.OOMRecord) {
	if len(r.Victims) == 0 {
		return
	}
	first, last := r.Victims[0], r.Victims[len(r.Victims)-1]
	s.putObject(kindOOM, fmt.Sprintf("%020d/%d", r.Time.UnixNano(), first.PID), r, last.Time, true)
}

// OOMs calls f with every OOM kill remembered that is not older than since.
func (s *Store) OOMs(since time.Time, f func(identity.OOMRecord)) error {
	return eachObject(s, kindOOM, func(r identity.OOMRecord) {
		if !r.Time.Before(since) {
			f(r)
		}
	})
}
