package daemon

import (
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/nri"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/collectors/cgroups"
)

// unifiedMount is where cgroup2 is when it is the only hierarchy. Runtimes refuse
// cgroup2's files otherwise.
const unifiedMount = "/sys/fs/cgroup"

// openNRI makes the runtime's plugin. nil: there is to be none, or containers
// cannot be prepared here, which is logged already.
func openNRI(c Config, root string, p *prepare.Preparer, h *cgroups.Hierarchy, told func(nri.Outcome), changed func(), log zerolog.Logger) (*nri.Plugin, error) {
	if c.NRI == "off" || p == nil {
		return nil, nil
	}
	o := c.Sandboxes()
	o.Preparer, o.Told, o.Changed, o.Root, o.Unified, o.Log = p, told, changed, root, h.Mount() == unifiedMount, log.With().Str("room", "nri").Logger()
	return nri.New(o)
}

// Sandboxes are the plugin's options as far as they are configured.
func (c *Config) Sandboxes() nri.Options {
	return nri.Options{
		Socket: c.NRISocket, Optional: c.NRI == "auto",
		Profiles: c.Profiles, Default: c.DefaultProfile, Namespaces: c.Namespaces, Handlers: c.Handlers,
	}
}
