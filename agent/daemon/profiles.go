package daemon

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/eyas-agent/eyas/agent/nri"
)

// bases finds what each profile of a file starts from.
type bases struct {
	*file
	given map[string]*yaml.Node  // by name, as the file has them
	done  map[string]nri.Profile // finished, and the built-in ones that the file leaves alone
	under []string               // being finished: one is the base of the one before
}

// profiles reads the mapping of profiles: the built-in ones come first, then the
// file's own, in its order.
func (f *file) profiles(m *yaml.Node) (all []nri.Profile, err error) {
	b := bases{file: f, given: map[string]*yaml.Node{}, done: map[string]nri.Profile{}}
	var names []string
	for _, p := range nri.Profiles() {
		names = append(names, p.Name)
	}
	err = f.each(m, keyProfiles, func(_ string, k, v *yaml.Node) error {
		if err := profileName(name(k)); err != nil {
			return f.refuse(k, keyProfiles, err, name(k))
		}
		if len(b.given) == maxProfiles {
			return f.errorf(k, "key %q: want at most %d profiles", keyProfiles, maxProfiles)
		}
		b.given[name(k)] = v
		if !slices.Contains(names, name(k)) {
			names = append(names, name(k))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		p, err := b.finish(n, names)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// finish makes the profile of a name, of which there are those in names.
func (b *bases) finish(n string, names []string) (nri.Profile, error) {
	if p, ok := b.done[n]; ok {
		return p, nil
	}
	b.under = append(b.under, n)
	p, err := b.start(n, names)
	if err != nil {
		return p, err
	}
	p.Name = n
	if v, ok := b.given[n]; ok {
		within := keyProfiles + "." + n
		err = b.each(v, within, func(path string, k, v *yaml.Node) error {
			if name(k) == "base" {
				return nil // start has read it
			}
			return b.setProfile(&p, name(k), path, k, v)
		})
	}
	b.under = b.under[:len(b.under)-1]
	b.done[n] = p
	return p, err
}

// start is what a profile changes: its base, or the built-in one of its name, or
// the first one of all.
func (b *bases) start(n string, names []string) (nri.Profile, error) {
	builtin := nri.Profiles()
	at := b.given[n] // nil: it is built in, and as it was
	base := builtin[0].Name
	given := false
	for i := 0; at != nil && at.Kind == yaml.MappingNode && i+1 < len(at.Content); i += 2 {
		if k, v := at.Content[i], at.Content[i+1]; name(k) == "base" {
			if v.Kind != yaml.ScalarNode {
				return nri.Profile{}, b.errorf(v, "key %q: want a single value", keyProfiles+"."+n+".base")
			}
			at, base, given = v, v.Value, true
			break
		}
	}
	if i := slices.IndexFunc(builtin, func(p nri.Profile) bool { return p.Name == n }); i >= 0 && !given {
		return builtin[i], nil
	}
	key := keyProfiles + "." + n + ".base"
	if err := oneOf(names...)(base); err != nil {
		return nri.Profile{}, b.refuse(at, key, err, base)
	}
	if slices.Contains(b.under, base) {
		return nri.Profile{}, b.refuse(at, key, fmt.Errorf("want a profile that is not based on %s itself", n), base)
	}
	return b.finish(base, names)
}
