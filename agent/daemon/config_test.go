package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/agent/nri"
	"github.com/eyas-agent/eyas/agent/subid"
)

// Every key can be set, in every way its values may be written.
func TestLoad(t *testing.T) {
	every := Config{
		StateDir: "/s", Socket: "/run/x.sock", Listen: "[::1]:1", LogLevel: "debug", HistoryMaxAge: 12 * time.Hour, HistoryMaxBytes: 64 << 20,
		ReconcileInterval: time.Minute, RingBytes: 1 << 20, BPFStats: false, Denials: false, Seccomp: true, MaxNestedSeries: 7, Nice: 0, ProcRoot: "/host/proc",
		NRI: "on", NRISocket: "/n", DefaultProfile: "build", KubeletRoot: "/k", Kube: "on", Kubeconfig: "/kc", NodeName: "n1", InstallProfiles: "/p",
		SubidRange: subid.Range{Start: 65536, Count: 131072}, SubidQuarantine: time.Hour, Profiles: nri.Profiles(),
		Namespaces: map[string]string{"team-a": "dev"}, Handlers: map[string]string{"nested": "build"},
	}
	every.Profiles[0].Size = 131072
	every.Logs, every.LogsSource, every.LogsOutput, every.LogsRate, every.LogsBurst, every.LogsRing = "web/*,db", "files", "/l", 2<<20, 3<<20, 1<<20
	every.LogsRedact = []string{"a+", "b"}
	every.OTLPEndpoint, every.OTLPProtocol, every.OTLPInsecure = "otel:4318", "http/protobuf", true
	every.OTLPCA, every.OTLPCert, every.OTLPKey, every.OTLPQueue, every.OTLPDisk = "/ca", "/cert", "/key", 1<<20, 8<<20
	changed := func(f func(*Config)) Config { c := DefaultConfig(); f(&c); return c }
	for name, tc := range map[string]struct {
		yaml string
		want Config
	}{
		"empty":     {"", DefaultConfig()},
		"blank":     {" \n\n", DefaultConfig()},
		"comments":  {"# nothing\n", DefaultConfig()},
		"one mark":  {"---\nnice: 1\n...\n", changed(func(c *Config) { c.Nice = 1 })},
		"flow":      {`{"nice": 1, listen: ""}`, changed(func(c *Config) { c.Nice, c.Listen = 1, "" })},
		"quoted":    {"nice: '-20'\nbpf-stats: \"false\"\n", changed(func(c *Config) { c.Nice, c.BPFStats = -20, false })},
		"no listen": {"listen:\n", changed(func(c *Config) { c.Listen = "" })},
		"no mark":   {"\ufeffnice: 3", changed(func(c *Config) { c.Nice = 3 })},
		"every key": {`
state-dir: /s
socket: /run/x.sock
listen: "[::1]:1"
log-level: debug
history-max-age: 12h
history-max-bytes: 64MiB
reconcile-interval: 60s
ring-bytes: 1048576
bpf-stats: false
denials: false
denials-seccomp: true
logs: "web/*,db"
logs-source: files
logs-output: /l
logs-rate: 2MiB
logs-burst: 3MiB
logs-ring-bytes: 1MiB
logs-redact: ["a+", b]
otlp-endpoint: otel:4318
otlp-protocol: http/protobuf
otlp-insecure: true
otlp-ca: /ca
otlp-cert: /cert
otlp-key: /key
otlp-queue-bytes: 1MiB
otlp-disk-bytes: 8MiB
max-nested-series: 7 # a comment
nice: 0
proc-root: /host/proc
nri: on
nri-socket: /n
sandbox-default-profile: build
kubelet-root: /k
kube: "on"
kubeconfig: /kc
node-name: n1
install-profiles: /p
subid-range: 65536:131072
subid-quarantine: 1h
sandbox-namespaces: {team-a: dev}
sandbox-handlers: {nested: build}
sandbox-profiles: {dev: {size: 131072}}
`, every},
	} {
		file := filepath.Join(t.TempDir(), "eyas.yaml")
		if err := os.WriteFile(file, []byte(tc.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		c := DefaultConfig()
		if err := c.LoadFile(file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(tc.want, c); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	keys := len(every.Settings()) + len(fileKeys)
	if fields := strings.Count(cmp.Diff(DefaultConfig(), every), "\n+"); fields < keys {
		t.Errorf("%d of %d keys are set to another than their default", fields, keys)
	}
}

// An error names file, line and key, and says what is wanted.
func TestLoadErrors(t *testing.T) {
	for yaml, want := range map[string]string{
		"nice: 1\n\nnise: 2":           `line 3: unknown key "nise": known are state-dir, socket, `,
		"nice: 1\nnice: 2":             `line 2: key "nice" stands twice: remove one`,
		"nice: [1]":                    `line 1: key "nice": want a single value`,
		"nice:\n  a: 1":                `line 2: key "nice": want a single value`,
		"a: &x 1\nnice: *x":            `line 1: unknown key "a"`,
		"socket: &x /s\nstate-dir: *x": `line 2: key "state-dir": want a single value`,
		"<<: {nice: 1}":                `line 1: unknown key "<<"`,
		"? [nice]\n: 1":                `line 1: unknown key ""`,
		"- nice: 1":                    `line 1: want keys with values, such as "log-level: debug"`,
		"nice":                         `line 1: want keys with values`,
		"nice: 1\n---\nnice: 2":        `line 2: a second document would be ignored: make it one`,
		"nice: 1\n---\n{":              `line 3: `,
		"nice: 1\n\t- b":               `line 2: `,
		"nice: 'a":                     `found unexpected end of stream`,
		"nice: 20":                     `line 1: key "nice": want a number from -20 to 19, got "20"`,
		"nice: 1.5":                    `want a number from -20 to 19, got "1.5"`,
		"nice:":                        `want a number from -20 to 19, got ""`,
		"nri: maybe":                   `want auto or on or off, got "maybe"`,
		"sandbox-default-profile: x":   `key "sandbox-default-profile": want dev or build, got "x"`,
		"sandbox-default-profile: X":   `want the name of a profile: 1 to 32 of a-z, 0-9 and -, not true or false, got "X"`,
		"subid-range: 5":               `want start:count, such as 1073741824:268435456, got "5"`,
		"subid-range: 0:65536":         `the first block holds the host's own ids`,
		"subid-range: 65536:65537":     `start and count must be multiples of 65536, got "65536:65537"`,
		"subid-quarantine: 0s":         `want a duration of at least 1s`,
		"logs: web//db":                `line 1: key "logs": want none, annotated, nested, all, or rules`,
		"logs-output: l":               `want an absolute path, got "l"`,
		"logs-redact: x":               `line 1: key "logs-redact": want a list of at most 64`,
		"logs-redact: [a, (]":          `want a regular expression (RE2)`,
		"max-nested-series: 0":         `want a number from 1 to 10000, got "0"`,
		"state-dir: eyas":              `key "state-dir": want an absolute path, got "eyas"`,
		"socket: ''":                   `key "socket": want an absolute path, got ""`,
		"proc-root: ~":                 `key "proc-root": want an absolute path, got "~"`,
		"listen: 9817":                 `key "listen": want host:port, or nothing for none, got "9817"`,
		"log-level: loud":              `key "log-level": want trace, debug, info, warn or error, got "loud"`,
		"log-level: disabled":          `want trace, debug, info, warn or error, got "disabled"`,
		"log-level: 7":                 `want trace, debug, info, warn or error, got "7"`,
		"log-level:":                   `want trace, debug, info, warn or error, got ""`,
		"history-max-age: 59s":         `want a duration of at least 1m, such as 30s, 12h or 7d, got "59s"`,
		"history-max-age: 5":           `want a duration of at least 1m`,
		"reconcile-interval: -1s":      `want a duration of at least 1s`,
		"history-max-bytes: 4095KiB":   `want a size from 4MiB to 1TiB, such as 64MiB, got "4095KiB"`,
		"history-max-bytes: 9999EiB":   `want a size from 4MiB to 1TiB`,
		"history-max-bytes: -1":        `want a size from 4MiB to 1TiB`,
		"ring-bytes: 4GiB":             `want a size from 64KiB to 1GiB, such as 64MiB, got "4GiB"`, // 0 as 32 bits
		"bpf-stats: yes":               `key "bpf-stats": want true or false, got "yes"`,
		"nice: 9\x1b[2J":               `control characters are not allowed`,
		"nice: \xff":                   `invalid`,
	} {
		c := DefaultConfig()
		err := c.load("/etc/eyas.yaml", []byte(yaml))
		if err == nil || !strings.HasPrefix(err.Error(), "parse config /etc/eyas.yaml: ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q:\n got %v\nwant %s", yaml, err, want)
		}
	}
	c := DefaultConfig()
	if err := c.LoadFile("/nonexistent/eyas.yaml"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "read config: open /nonexistent/eyas.yaml") {
		t.Errorf("no file: %v", err)
	}
}

// What is refused changes nothing of its key.
func TestRefused(t *testing.T) {
	c := DefaultConfig()
	for _, s := range c.Settings() {
		if err := s.Parse("\x00"); err == nil || strings.ContainsAny(err.Error(), "\x00") {
			t.Errorf("%s: %v", s.Key, err)
		}
		if s.Help == "" {
			t.Errorf("%s: no help", s.Key)
		}
	}
	if d := cmp.Diff(DefaultConfig(), c); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, s := range c.Settings() { // what the help shows can be set
		if err := s.Parse(s.Get()); err != nil {
			t.Errorf("%s: %v", s.Key, err)
		}
	}
	if d := cmp.Diff(DefaultConfig(), c); d != "" {
		t.Errorf("the shown defaults are others (-want +got):\n%s", d)
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"nice: 1", "nice: 1\n---\nnice: 2", "{nice: 1, nice: 2}", "ring-bytes: 4GiB", "&a [*a]", "a: &a [*a, *a]", "? {}\n: []", "listen: !!binary AA==",
		"%YAML 1.2\n---\nlog-level: INFO", "history-max-age: 1w2d", "\ufeff", "nice: |\n  1\n", "\xff\xfen\x00", strings.Repeat("[", 200), "proc-root: //",
		"sandbox-profiles: {dev: {size: 131072, devices: [/dev/fuse], env: {A: b}}, ci: {base: dev, ids: none}}\nsandbox-default-profile: ci",
		"sandbox-profiles: {a: {base: b}, b: {base: a}}", "sandbox-profiles:\n  dev: {base: build}\nsubid-range: 65536:65536",
		"sandbox-namespaces: {a: ci}\nsandbox-handlers: {\"\": dev}\nsandbox-profiles: {ci: }", "sandbox-profiles: {\"a\\0\": &x {env: {A: \"\\e\"}}, b: *x}",
		"sandbox-profiles: {dev: {<<: {ids: none}, devices: [[]], env: []}}", "sandbox-profiles.dev.size: 1",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := DefaultConfig()
		if err := c.load("f", b); err != nil {
			if !strings.HasPrefix(err.Error(), "parse config f: ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q", err)
			}
			return
		}
		for _, s := range c.Settings() {
			if err := s.Parse(s.Get()); err != nil {
				t.Errorf("%s: %q was taken from a file, and then: %v", s.Key, s.Get(), err)
			}
		}
		usable(t, c)
	})
}
