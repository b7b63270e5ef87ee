package daemon

import (
	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/exporter/api"
)

// Hooks are those of the programs, once they are wanted.
func (f *logFamily) Hooks() []bpf.Hook {
	if h := f.hooks.Load(); h != nil {
		return h.Hooks()
	}
	return nil
}

// Entries are the containers whose streams are known.
func (f *logFamily) Entries() (int, error) {
	if h := f.hooks.Load(); h != nil {
		return h.Entries()
	}
	return 0, nil
}

// Capacity is how many there may be.
func (f *logFamily) Capacity() int {
	if h := f.hooks.Load(); h != nil {
		return h.Capacity()
	}
	return 0
}

// logWay adds how lines of logs come.
func (a *trampolines) logWay(h api.Health) api.Health {
	if a.logs != nil {
		w := a.logs.lines.Way()
		h.Logs = &api.LogWay{Via: string(w.Via), Why: w.Why}
	}
	return h
}
