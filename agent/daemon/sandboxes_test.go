package daemon

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/agent/nri"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/agent/subid"
)

func load(yaml string) (Config, error) {
	c := DefaultConfig()
	return c, c.load("f", []byte(yaml))
}

// Every key of a profile can be set; what is not named is the base's.
func TestProfiles(t *testing.T) {
	builtin := func(i int, f func(*nri.Profile)) nri.Profile {
		p := nri.Profiles()[i]
		if f != nil {
			f(&p)
		}
		return p
	}
	dev, build := builtin(0, nil), builtin(1, nil)
	every := nri.Profile{
		Profile: prepare.Profile{Name: "ci", IDs: prepare.IDsInPod, Size: 131072, Owner: prepare.OwnerRoot, MaxDescendants: 64, MaxDepth: 8},
		Devices: []string{"/dev/fuse", "/dev/net/tun"}, Env: map[string]string{"A_1": "x=y z", "B": ""}, Required: true, Late: true,
	}
	child := every
	child.Name, child.Devices, child.Env, child.Late = "child", []string{}, map[string]string{"C": "1"}, false
	for name, tc := range map[string]struct {
		yaml string
		want []nri.Profile
	}{
		"none":       {"", []nri.Profile{dev, build}},
		"empty":      {"sandbox-profiles:", []nri.Profile{dev, build}},
		"as it is":   {"sandbox-profiles: {dev: , build: {}}", []nri.Profile{dev, build}},
		"of its own": {"sandbox-profiles: {ci: }", []nri.Profile{dev, build, builtin(0, func(p *nri.Profile) { p.Name = "ci" })}},
		"changed": {"sandbox-profiles: {build: {required: true}, dev: {ids: none}}", []nri.Profile{
			builtin(0, func(p *nri.Profile) { p.IDs = prepare.IDsNone }), builtin(1, func(p *nri.Profile) { p.Required = true })}},
		"of the changed": {"sandbox-profiles: {x: {late: true}, dev: {size: 1}}", []nri.Profile{
			builtin(0, func(p *nri.Profile) { p.Size = 1 }), build, builtin(0, func(p *nri.Profile) { p.Name, p.Size, p.Late = "x", 1, true })}},
		"rebased": {"sandbox-profiles: {dev: {base: build, max-depth: 3}}", []nri.Profile{
			builtin(1, func(p *nri.Profile) { p.Name, p.MaxDepth = "dev", 3 }), build}},
		"every key": {`sandbox-profiles:
  child: {base: ci, devices: [], env: {C: 1}, late: false}
  ci:
    base: build
    ids: in-pod
    size: 131072
    files: false
    delegate: false
    owner: root
    max-descendants: 64
    max-depth: 8
    devices: [/dev/fuse, /dev/net/tun]
    bounds: false
    cgroup-rw: false
    env: {A_1: x=y z, B: ""}
    required: true
    late: true
`, []nri.Profile{dev, build, child, every}},
	} {
		c, err := load(tc.yaml)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(tc.want, c.Profiles); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		usable(t, c)
	}
	for _, key := range profileKeys { // none is told of that does not exist
		if _, err := load("sandbox-profiles: {dev: {" + key + ": }}"); err != nil && strings.Contains(err.Error(), "unknown") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A choice may name profiles that the file defines later, and so may the default.
func TestChoices(t *testing.T) {
	c, err := load("sandbox-default-profile: ci\nsandbox-namespaces: {team-a: ci, b2: dev}\nsandbox-handlers:\n  nested: ci\nsandbox-profiles: {ci: }\n")
	if err != nil {
		t.Fatal(err)
	}
	o := c.Sandboxes()
	want := nri.Options{
		Socket: nri.DefaultSocket, Optional: true, Profiles: c.Profiles, Default: "ci",
		Namespaces: map[string]string{"team-a": "ci", "b2": "dev"}, Handlers: map[string]string{"nested": "ci"},
	}
	if d := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", o)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	usable(t, c)
	if d := cmp.Diff(subid.Defaults(), c.pool()); d != "" {
		t.Errorf("the default pool (-want +got):\n%s", d)
	}
}

// Errors name the line, and the full path of the key.
func TestSandboxErrors(t *testing.T) {
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	profile := func(s string) string { return "sandbox-profiles:\n  ci:\n    " + s }
	for yaml, want := range map[string]string{
		"sandbox-profiles: [dev]":                                           `line 1: key "sandbox-profiles": want keys with values`,
		"sandbox-profiles: dev":                                             `line 1: key "sandbox-profiles": want keys with values`,
		"sandbox-profiles: ~":                                               `want keys with values`,
		"sandbox-profiles:\n  Dev: {}":                                      `line 2: key "sandbox-profiles": want the name of a profile: 1 to 32 of a-z, 0-9 and -, not true or false, got "Dev"`,
		"sandbox-profiles:\n  true: {}":                                     `got "true"`,
		"sandbox-profiles: {[a]: {}}":                                       `want the name of a profile`,
		"sandbox-profiles:\n  a: {}\n  a: {}":                               `line 3: key "sandbox-profiles.a" stands twice: remove one`,
		"sandbox-profiles: {}\nsandbox-profiles: {}":                        `line 2: key "sandbox-profiles" stands twice`,
		"sandbox-profiles:\n  dev: 1":                                       `line 2: key "sandbox-profiles.dev": want keys with values`,
		"sandbox-profiles: {a: &x {}, b: *x}":                               `key "sandbox-profiles.b": want keys with values`,
		"sandbox-profiles:\n" + many(33, "  p%d: {}\n"):                     `line 34: key "sandbox-profiles": want at most 32 profiles`,
		profile("sise: 1"):                                                  `line 3: unknown key "sandbox-profiles.ci.sise": known are base, ids, size, `,
		profile("<<: {ids: none}"):                                          `unknown key "sandbox-profiles.ci.<<"`,
		profile("ids: none\n    ids: none"):                                 `line 4: key "sandbox-profiles.ci.ids" stands twice`,
		profile("ids: pod"):                                                 `line 3: key "sandbox-profiles.ci.ids": want auto or in-pod or host or none, got "pod"`,
		profile("ids: [none]"):                                              `key "sandbox-profiles.ci.ids": want a single value`,
		profile("size: 0"):                                                  `key "sandbox-profiles.ci.size": want a number from 1 to 4294901760, got "0"`,
		profile("size: 64KiB"):                                              `want a number from 1 to 4294901760`,
		profile("size: 4294967295"):                                         `want a number from 1 to 4294901760`,
		profile("size: 268435457"):                                          `line 3: key "sandbox-profiles.ci.size": want at most 268435456 ids, which is all of subid-range, got "268435457"`,
		profile("files: yes"):                                               `key "sandbox-profiles.ci.files": want true or false, got "yes"`,
		profile("owner: me"):                                                `key "sandbox-profiles.ci.owner": want process or root, got "me"`,
		profile("max-descendants: 65537"):                                   `want a number from 1 to 65536`,
		profile("max-depth: 0"):                                             `want a number from 1 to 256`,
		profile("devices: /dev/fuse"):                                       `line 3: key "sandbox-profiles.ci.devices": want a list of at most 32 devices`,
		profile("devices:"):                                                 `want a list`,
		profile("devices:\n    - /dev/fuse\n    - fuse"):                    `line 5: key "sandbox-profiles.ci.devices[1]": want a clean absolute path below /dev, got "fuse"`,
		profile("devices: [/dev/../etc/passwd]"):                            `got "/dev/../etc/passwd"`,
		profile("devices: [/dev/]"):                                         `got "/dev/"`,
		profile("devices: [/dev//fuse]"):                                    `got "/dev//fuse"`,
		profile("devices: [\"/dev/a\\0\"]"):                                 `got "/dev/a\x00"`,
		profile("devices: [/dev/a, /dev/a]"):                                `devices[1]": want each device once, got "/dev/a"`,
		profile("devices: [[/dev/a]]"):                                      `devices[0]": want a single value`,
		profile("devices: [" + many(33, "/dev/%d,") + "]"):                  `want a list of at most 32`,
		profile("env: [A=b]"):                                               `key "sandbox-profiles.ci.env": want keys with values`,
		profile("env: {1A: b}"):                                             `key "sandbox-profiles.ci.env": want names of 1 to 128 of a-z, A-Z, 0-9 and _, not a digit first, got "1A"`,
		profile("env: {A=B: c}"):                                            `got "A=B"`,
		profile("env: {\"\": c}"):                                           `got ""`,
		profile("env: {A: [b]}"):                                            `key "sandbox-profiles.ci.env.A": want a single value`,
		profile("env: {A: \"\\n\"}"):                                        `key "sandbox-profiles.ci.env.A": want printable text of at most 4096 bytes, got "\n"`,
		profile("env: {A: " + strings.Repeat("x", 4097) + "}"):              `xxx…"`,
		profile("env: {" + many(65, "A%d: b,") + "}"):                       `want at most 64 variables`,
		profile("base: x"):                                                  `line 3: key "sandbox-profiles.ci.base": want dev or build or ci, got "x"`,
		profile("base: [dev]"):                                              `key "sandbox-profiles.ci.base": want a single value`,
		profile("base: dev\n    base: dev"):                                 `line 4: key "sandbox-profiles.ci.base" stands twice`,
		profile("base: ci"):                                                 `want a profile that is not based on ci itself, got "ci"`,
		"sandbox-profiles:\n  a: {base: b}\n  b: {base: c}\n  c: {base: a}": `line 4: key "sandbox-profiles.c.base": want a profile that is not based on c itself, got "a"`,
		"sandbox-profiles:\n  dev: {base: a}\n  a: {}":                      `line 3: key "sandbox-profiles.a.base": want a profile that is not based on a itself, got "dev"`,
		"subid-range: 65536:65536\nsandbox-profiles:\n  b: {base: a}\n  a: {size: 65537}": `line 3: key "sandbox-profiles.b.size": want at most 65536 ids`,
		"sandbox-namespaces:\n  team: ci":                                                 `line 2: key "sandbox-namespaces.team": want dev or build, got "ci"`,
		"sandbox-namespaces:\n  team: [dev]":                                              `key "sandbox-namespaces.team": want a single value`,
		"sandbox-namespaces:\n  Team: dev":                                                `line 2: key "sandbox-namespaces": want names of 1 to 63 of a-z, 0-9 and -, got "Team"`,
		"sandbox-namespaces: {a: dev, a: build}":                                          `key "sandbox-namespaces.a" stands twice`,
		"sandbox-namespaces: {" + many(1001, "n%d: dev,") + "}":                           `want at most 1000 names`,
		"sandbox-handlers: {\"\": dev}":                                                   `key "sandbox-handlers": want names of 1 to 63 of a-z, 0-9 and -, got ""`,
		"sandbox-handlers: {-a: dev}":                                                     `got "-a"`,
		"sandbox-handlers: [a]":                                                           `key "sandbox-handlers": want keys with values`,
		"sandbox-handlers: {a: true}":                                                     `key "sandbox-handlers.a": want dev or build, got "true"`,
		"\nsandbox-default-profile: b\nsandbox-profiles: {a: }":                           `line 2: key "sandbox-default-profile": want dev or build or a, got "b"`,
	} {
		_, err := load(yaml)
		if err == nil || !regexp.MustCompile(`^parse config f: line \d+: `).MatchString(err.Error()) || !strings.Contains(err.Error(), want) ||
			strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 1000 {
			t.Errorf("%.300q:\n got %v\nwant %s", yaml, err, want)
		}
	}
}

// usable: what a file may say is good enough for those who use it.
func usable(t *testing.T, c Config) {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	if _, err := nri.New(c.Sandboxes()); err != nil {
		t.Error(err)
	}
	if _, err := subid.New(c.pool()); err != nil {
		t.Error(err)
	}
	for _, p := range c.Profiles {
		if p.Name == "" || len(p.Name) > maxProfileName || p.Size == 0 || p.MaxDepth == 0 || p.MaxDescendants == 0 || p.IDs == "" || p.Owner == "" {
			t.Errorf("%+v", p)
		}
		for _, d := range p.Devices {
			if !strings.HasPrefix(d, "/dev/") || strings.Contains(d, "/../") {
				t.Errorf("%s: device %q", p.Name, d)
			}
		}
		for k, v := range p.Env {
			if k == "" || strings.ContainsAny(k, "= ") || strings.ContainsAny(v, "\x00\n\x1b") {
				t.Errorf("%s: env %q=%q", p.Name, k, v)
			}
		}
	}
}
