package logs

import (
	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Way says how lines come, and why not from the kernel if they do not.
type Way struct {
	Via identity.LogWay // "": not at all, or not yet
	Why string
}

// Way returns it.
func (c *Collector) Way() Way {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.way
}

// attach chooses the source: the kernel's programs if they work, else files, never
// both.
func (c *Collector) attach() error {
	why := c.attachKernel()
	w := Way{Via: identity.LogKernel}
	if why != "" {
		w, c.src = Way{Why: why}, c.o.Files
	}
	if why != "" && c.src != nil {
		w.Via = identity.LogFile
	}
	c.via = w.Via
	c.mu.Lock()
	c.way, c.blind = w, ""
	if w.Via == "" {
		c.blind = why
	}
	c.mu.Unlock()
	switch w.Via {
	case "":
		c.o.Log.Warn().Str("reason", why).Msg("logs of nested containers cannot be told here")
		return nil
	case identity.LogFile:
		c.o.Log.Warn().Str("reason", why).Msg("logs of nested containers are read from the files of their runtimes")
	}
	// Those first of which something is said: it comes before what is said of all.
	if err := c.apply(); err != nil {
		c.o.Log.Error().Err(err).Msg("select containers whose logs are told")
	}
	if err := c.src.SelectAll(c.o.Select.kernel); err != nil {
		return err
	}
	if err := c.src.Adopt(); err != nil { // which costs those that run already
		c.o.Log.Error().Err(err).Msg("look for log streams")
	}
	return nil
}

// attachKernel says why the kernel tells nothing, "" if it does.
func (c *Collector) attachKernel() (blind string) {
	s, err := c.o.Open()
	if err != nil {
		return err.Error()
	}
	c.src = s
	s.Attach()
	if s.Attached() {
		s.SelfTest(c.o.Drive)
	}
	for _, h := range s.Hooks() {
		if h.State != bpf.HookActive {
			why := string(h.State) + ": " + h.Reason
			c.o.Log.Warn().Str("hook", h.Name).Str("reason", why).Str("without_it", h.Loss).Msg("log hook")
			if !s.Attached() && blind == "" {
				blind = why
			}
		}
	}
	return blind
}
