package daemon

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/eyas-agent/eyas/agent/nri"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/agent/subid"
)

// Keys of the file that are no flags, because they are mappings or lists.
const (
	keyNamespaces = "sandbox-namespaces"
	keyHandlers   = "sandbox-handlers"
	keyProfiles   = "sandbox-profiles"
	keyRedact     = "logs-redact"
)

var fileKeys = []string{keyNamespaces, keyHandlers, keyProfiles, keyRedact}

// Bounds of what a file may say.
const (
	maxProfiles    = 32
	maxChosen      = 1000 // namespaces, or runtime handlers
	maxDevices     = 32
	maxEnv         = 64
	maxEnvName     = 128
	maxEnvValue    = 4096
	maxPath        = 255
	maxProfileName = 32
)

// loadSandboxes reads the nested keys: profiles first, since the others name them.
func (c *Config) loadSandboxes(f *file, nested map[string]*yaml.Node) (err error) {
	if v, ok := nested[keyProfiles]; ok {
		if c.Profiles, err = f.profiles(v); err != nil {
			return err
		}
	}
	for key, to := range map[string]*map[string]string{keyNamespaces: &c.Namespaces, keyHandlers: &c.Handlers} {
		if v, ok := nested[key]; ok {
			if *to, err = f.chosen(v, key, c.known); err != nil {
				return err
			}
		}
	}
	return nil
}

// known says which profiles are wanted.
func (c *Config) known(name string) error {
	names := make([]string, len(c.Profiles))
	for i, p := range c.Profiles {
		names[i] = p.Name
	}
	return oneOf(names...)(name)
}

// chosen reads a mapping of names of Kubernetes to profiles.
func (f *file) chosen(m *yaml.Node, key string, known func(string) error) (map[string]string, error) {
	all := map[string]string{}
	err := f.each(m, key, func(path string, k, v *yaml.Node) error {
		if n := name(k); !only(n, 63, lower+digits+"-") || strings.Trim(n, "-") != n {
			return f.refuse(k, key, errors.New("want names of 1 to 63 of a-z, 0-9 and -"), n)
		}
		if len(all) == maxChosen {
			return f.errorf(k, "key %q: want at most %d names", key, maxChosen)
		}
		return f.scalar(path, v, func(s string) error {
			all[name(k)] = s
			return known(s)
		})
	})
	return all, err
}

func sizeError(p nri.Profile, pool subid.Range) error {
	return &KeyError{keyProfiles + "." + p.Name + ".size", fmt.Sprint(p.Size),
		fmt.Errorf("want at most %d ids, which is all of subid-range", pool.Count)}
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// only reports whether s is 1 to most bytes of set.
func only(s string, most int, set string) bool {
	return s != "" && len(s) <= most && strings.Trim(s, set) == ""
}

// profileName refuses what an annotation could not choose.
func profileName(s string) error {
	if !only(s, maxProfileName, lower+digits+"-") || s == "true" || s == "false" {
		return fmt.Errorf("want the name of a profile: 1 to %d of a-z, 0-9 and -, not true or false", maxProfileName)
	}
	return nil
}

// setProfile sets one key of a profile; base is read elsewhere.
func (f *file) setProfile(p *nri.Profile, key, path string, k, v *yaml.Node) error {
	var parse func(string) error
	switch key {
	case "ids":
		parse = parseWord(&p.IDs, prepare.IDsAuto, prepare.IDsInPod, prepare.IDsHost, prepare.IDsNone)
	case "size":
		parse = parseNumber(&p.Size, 1, 1<<32-subid.BlockSize)
	case "files":
		parse = parseBool(&p.Files)
	case "delegate":
		parse = parseBool(&p.Delegate)
	case "owner":
		parse = parseWord(&p.Owner, prepare.OwnerProcess, prepare.OwnerRoot)
	case "max-descendants": // the leaf is one
		parse = parseNumber(&p.MaxDescendants, 1, 1<<16)
	case "max-depth":
		parse = parseNumber(&p.MaxDepth, 1, 256)
	case "bounds":
		parse = parseBool(&p.Bounds)
	case "cgroup-rw":
		parse = parseBool(&p.CgroupRW)
	case "required":
		parse = parseBool(&p.Required)
	case "late":
		parse = parseBool(&p.Late)
	case "devices":
		return f.devices(&p.Devices, path, v)
	case "env":
		return f.env(&p.Env, path, v)
	default:
		return f.unknown(k, path, profileKeys)
	}
	return f.scalar(path, v, parse)
}

var profileKeys = []string{"base", "ids", "size", "files", "delegate", "owner", "max-descendants", "max-depth",
	"devices", "bounds", "cgroup-rw", "env", "required", "late"}

func (f *file) devices(to *[]string, key string, v *yaml.Node) error {
	if v.Kind != yaml.SequenceNode || len(v.Content) > maxDevices {
		return f.errorf(v, "key %q: want a list of at most %d devices, such as [/dev/fuse], or [] for none", key, maxDevices)
	}
	all := []string{}
	for i, d := range v.Content {
		err := f.scalar(fmt.Sprintf("%s[%d]", key, i), d, func(s string) error {
			switch {
			case !strings.HasPrefix(s, "/dev/") || path.Clean(s) != s || len(s) > maxPath || !printable(s):
				return errors.New("want a clean absolute path below /dev")
			case slices.Contains(all, s):
				return errors.New("want each device once")
			}
			all = append(all, s)
			return nil
		})
		if err != nil {
			return err
		}
	}
	*to = all
	return nil
}

func (f *file) env(to *map[string]string, key string, v *yaml.Node) error {
	all := map[string]string{}
	err := f.each(v, key, func(path string, k, v *yaml.Node) error {
		n := name(k)
		if !only(n, maxEnvName, lower+upper+digits+"_") || strings.Contains(digits, n[:1]) {
			return f.refuse(k, key, fmt.Errorf("want names of 1 to %d of a-z, A-Z, 0-9 and _, not a digit first", maxEnvName), n)
		}
		if len(all) == maxEnv {
			return f.errorf(k, "key %q: want at most %d variables", key, maxEnv)
		}
		return f.scalar(path, v, func(s string) error {
			if len(s) > maxEnvValue || !printable(s) {
				return fmt.Errorf("want printable text of at most %d bytes", maxEnvValue)
			}
			all[n] = s
			return nil
		})
	})
	*to = all
	return err
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
