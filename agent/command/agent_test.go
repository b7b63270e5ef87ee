package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/agent/nri"
	"github.com/eyas-agent/eyas/agent/subid"
)

// Every key is a flag; flags win over the file, the file over the defaults.
func TestResolve(t *testing.T) {
	every := daemon.Config{
		StateDir: "/s", Socket: "/x.sock", Listen: "", LogLevel: "warn", HistoryMaxAge: 48 * time.Hour, HistoryMaxBytes: 64 << 20,
		ReconcileInterval: 2 * time.Second, RingBytes: 1 << 20, BPFStats: false, MaxNestedSeries: 7,
		Logs: "nested", LogsSource: "kernel", LogsOutput: "-", LogsRate: 2 << 20, LogsBurst: 3 << 20, LogsRing: 1 << 20,
		Nice: 3, ProcRoot: "/host/proc",
		NRI: "off", NRISocket: "/n.sock", DefaultProfile: "build", KubeletRoot: "/k", Kube: "off", Kubeconfig: "/kc", NodeName: "n1",
		SubidRange: subid.Range{Start: 65536, Count: 65536}, SubidQuarantine: time.Hour, Profiles: nri.Profiles(),
	}
	every.OTLPEndpoint, every.OTLPProtocol, every.OTLPInsecure = "otel:4318", "grpc", true
	every.OTLPCA, every.OTLPCert, every.OTLPKey, every.OTLPQueue, every.OTLPDisk = "/ca", "/cert", "/key", 1<<20, 8<<20
	file := filepath.Join(t.TempDir(), "eyas.yaml")
	if err := os.WriteFile(file, []byte("nice: 5\nlisten: 127.0.0.1:1\nstate-dir: /file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	profiles := filepath.Join(t.TempDir(), "profiles.yaml")
	if err := os.WriteFile(profiles, []byte("sandbox-profiles: {ci: {size: 131072, required: true}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	own := daemon.DefaultConfig()
	ci := own.Profiles[0]
	ci.Name, ci.Size, ci.Required = "ci", 131072, true
	own.Profiles, own.DefaultProfile = append(own.Profiles, ci), "ci"
	some := daemon.DefaultConfig()
	some.Nice, some.Listen, some.StateDir = 5, "127.0.0.1:1", "/file"
	flags := some
	flags.Listen, flags.Nice = "", -20 // the default, said aloud
	for name, tc := range map[string]struct {
		args, file string
		want       daemon.Config
	}{
		"defaults":  {"", "", daemon.DefaultConfig()},
		"file":      {"", file, some},
		"flags win": {"--listen= --nice=-20", file, flags},
		"every flag": {"--state-dir /s --socket /x.sock --listen= --log-level warn --history-max-age 2d --history-max-bytes 64MiB --reconcile-interval 2s " +
			"--ring-bytes 1m --bpf-stats=false --denials=false --logs nested --logs-source kernel --logs-output - --logs-rate 2m --logs-burst 3m --logs-ring-bytes 1m --otlp-endpoint otel:4318 --otlp-protocol grpc --otlp-insecure=true --otlp-ca /ca --otlp-cert /cert --otlp-key /key --otlp-queue-bytes 1m --otlp-disk-bytes 8m --max-nested-series 7 --nice 3 --proc-root /host/proc --nri off --nri-socket /n.sock " +
			"--sandbox-default-profile build --kubelet-root /k --kube off --kubeconfig /kc --node-name n1 --subid-range 65536:65536 --subid-quarantine 1h", "", every},
		"a flag chooses the file's profile": {"--sandbox-default-profile ci", profiles, own},
	} {
		c := newAgent(Env{})
		if err := c.ParseFlags(strings.Fields(tc.args)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := resolve(c, tc.file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// A flag is refused in the words of the file's errors, by its own name.
func TestFlagErrors(t *testing.T) {
	config := daemon.DefaultConfig()
	for _, s := range config.Settings() {
		want := s.Parse("\x1b")
		if want == nil {
			t.Errorf("%s takes anything", s.Key)
			continue
		}
		var out, errs bytes.Buffer
		code := Main(t.Context(), Env{Args: []string{"agent", "--" + s.Key, "\x1b"}, Stdout: &out, Stderr: &errs})
		if text := "eyas: --" + s.Key + ": " + want.Error() + `, got "\\x1b"` + "\n"; code != exitUsage || errs.String() != text {
			t.Errorf("%s: exits with %d, %q, want %q", s.Key, code, errs.String(), text)
		}
	}
}

// What only shows when file and flags are put together is refused, too.
func TestFlagsAgainstFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "eyas.yaml")
	if err := os.WriteFile(file, []byte("sandbox-profiles: {ci: {size: 131072}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ args, want string }{
		{"--sandbox-default-profile ic", `--sandbox-default-profile: want dev or build or ci, got "ic"`},
		{"--subid-range 65536:65536", `key "sandbox-profiles.ci.size": want at most 65536 ids, which is all of subid-range, got "131072"`},
	} {
		var out, errs bytes.Buffer
		code := Main(t.Context(), Env{Args: append([]string{"agent", "--config", file}, strings.Fields(tc.args)...), Stdout: &out, Stderr: &errs})
		if want := "eyas: " + tc.want + "\n"; code != exitUsage || errs.String() != want {
			t.Errorf("%s: exits with %d, %q, want %q", tc.args, code, errs.String(), want)
		}
	}
}
