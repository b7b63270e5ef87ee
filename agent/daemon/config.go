package daemon

import (
	"time"

	"github.com/eyas-agent/eyas/agent/kube"
	"github.com/eyas-agent/eyas/agent/nri"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/logs"
)

// Config is all that can be set. There is one default; a file may change it,
// and flags may change that.
type Config struct {
	StateDir          string        // where the history lives
	Socket            string        // unix socket of the query API
	Listen            string        // host:port of /metrics; empty: none
	LogLevel          string        // trace, debug, info, warn, error
	HistoryMaxAge     time.Duration // how long the dead are remembered
	HistoryMaxBytes   int64         // size of the history's file
	ReconcileInterval time.Duration // between proofs that the table is right
	RingBytes         int64         // size of the kernel's event ring
	BPFStats          bool          // measure the programs' run time
	Denials           bool          // tell what nested processes are refused
	Seccomp           bool          // … by seccomp filters, too
	Logs              string        // whose standard streams are told; see logs.ParseSelection
	LogsSource        string        // the kernel's programs, or the files of runtimes: auto, kernel, files
	LogsOutput        string        // file that gets a line of JSON for each; "-": stdout; empty: none
	LogsRate          int64         // bytes a second that a container may write
	LogsBurst         int64         // and at once, above that
	LogsRing          int64         // size of the kernel's ring of log records
	OTLPEndpoint      string        // receiver of log lines; empty: as OTEL_EXPORTER_OTLP_ENDPOINT says, or none
	OTLPProtocol      string        // empty: as OTEL_EXPORTER_OTLP_PROTOCOL says, or grpc
	OTLPInsecure      bool          // no TLS
	OTLPCA            string        // PEM files
	OTLPCert          string
	OTLPKey           string
	OTLPQueue         int64         // bytes of lines that wait in memory
	OTLPDisk          int64         // and in the state directory; 0: none
	MaxNestedSeries   int           // nested containers with series of their own, per sandbox
	Nice              int           // nice value of the agent
	ProcRoot          string        // where procfs of the host is mounted
	NRI               string        // hear from the container runtime: auto, on, off
	NRISocket         string        // where the runtime listens for plugins
	SubidRange        subid.Range   // where leased ranges of ids come from
	SubidQuarantine   time.Duration // how long a freed range rests
	DefaultProfile    string        // of pods that want to be sandboxes and name none
	KubeletRoot       string        // kubelet's root directory
	Kube              string        // speak with Kubernetes' API server: auto, on, off
	Kubeconfig        string        // file that says how; empty: as a pod
	NodeName          string        // this node's name in Kubernetes; empty: as NODE_NAME says
	InstallProfiles   string        // directory of the node that gets the seccomp profiles of sandboxes; empty: none

	// These are of the file alone.
	LogsRedact []string          // expressions of what is taken out of lines
	Profiles   []nri.Profile     // the built-in ones first
	Namespaces map[string]string // profile by a pod's namespace
	Handlers   map[string]string // profile by a pod's runtime handler
}

// DefaultConfig is the one default.
func DefaultConfig() Config {
	pool, profiles := subid.Defaults(), nri.Profiles()
	return Config{
		StateDir: "/var/lib/eyas", Socket: "/run/eyas/eyas.sock", Listen: "127.0.0.1:9817", LogLevel: "info",
		HistoryMaxAge: 7 * 24 * time.Hour, HistoryMaxBytes: 256 << 20, ReconcileInterval: 30 * time.Second,
		RingBytes: 8 << 20, Nice: -20, BPFStats: true, Denials: true, MaxNestedSeries: 50, ProcRoot: "/proc",
		Logs: "annotated", LogsSource: "kernel", LogsRate: 1 << 20, LogsBurst: 4 << 20, LogsRing: 8 << 20, OTLPQueue: 16 << 20,
		NRI: "auto", NRISocket: nri.DefaultSocket, SubidRange: pool.Range, SubidQuarantine: pool.Quarantine,
		DefaultProfile: profiles[0].Name, KubeletRoot: "/var/lib/kubelet", Kube: kube.Auto, Profiles: profiles,
	}
}

// Setting is one key with a single value, for the file and for flags alike.
type Setting struct {
	Key   string
	Help  string
	Get   func() string
	Parse func(string) error // the error says what is wanted
}

// Settings lists every such key of c, bound to it.
func (c *Config) Settings() []Setting {
	return []Setting{
		text("state-dir", "directory that keeps the history", &c.StateDir, absolute),
		text("socket", "unix socket of the query API", &c.Socket, absolute),
		text("listen", "host:port that serves /metrics, /healthz and /readyz; empty for none", &c.Listen, hostPort),
		text("log-level", "trace, debug, info, warn or error", &c.LogLevel, level),
		duration("history-max-age", "how long the dead are remembered", &c.HistoryMaxAge, time.Minute),
		size("history-max-bytes", "size of the history's file", &c.HistoryMaxBytes, 4<<20, 1<<40),
		duration("reconcile-interval", "least time between proofs that the table equals the kernel", &c.ReconcileInterval, time.Second),
		size("ring-bytes", "size of the kernel's event ring", &c.RingBytes, 64<<10, 1<<30),
		boolean("bpf-stats", "measure the run time of BPF programs (about 60 ns a run, for all of the node's)", &c.BPFStats),
		boolean("denials", "tell what nested processes are refused, and why: programs at the end of some 50 rare system calls", &c.Denials),
		boolean("denials-seccomp", "also tell what seccomp filters refuse: a program on every system call of every process under one", &c.Seccomp),
		text("logs", "whose stdout and stderr to keep and tell: none, annotated (pods with "+logs.Annotation+`: "true"), nested (containers inside others), all, or rules such as web/*,namespace=prod;level=2+;stream=stderr; all but none honour annotations`, &c.Logs, logSelection),
		text("logs-source", "where lines come from: kernel (its programs), files (of the runtimes in sandboxes; experimental), or auto (files, where the programs do not work)", &c.LogsSource, oneOf("auto", "kernel", "files")),
		text("logs-output", "file that gets a line of JSON for each line of log; - for stdout, empty for none", &c.LogsOutput, outputFile),
		size("logs-rate", "bytes a second that a container may write to its log", &c.LogsRate, 1<<10, 1<<30),
		size("logs-burst", "bytes that a container may write at once, above logs-rate", &c.LogsBurst, 16<<10, 1<<30),
		size("logs-ring-bytes", "size of the kernel's ring of log records", &c.LogsRing, 256<<10, 1<<30),
		text("otlp-endpoint", "OpenTelemetry receiver of log lines: a URL, or host:port; empty: as OTEL_EXPORTER_OTLP_ENDPOINT says, or none", &c.OTLPEndpoint, otlpEndpoint),
		text("otlp-protocol", "grpc or http/protobuf; empty: as OTEL_EXPORTER_OTLP_PROTOCOL says, or grpc", &c.OTLPProtocol, otlpProtocol),
		boolean("otlp-insecure", "send log lines without TLS to an otlp-endpoint without a scheme", &c.OTLPInsecure),
		text("otlp-ca", "PEM file of the certificates to trust the receiver by; empty: the system's", &c.OTLPCA, optionalFile),
		text("otlp-cert", "PEM file of the certificate to identify with", &c.OTLPCert, optionalFile),
		text("otlp-key", "PEM file of its key", &c.OTLPKey, optionalFile),
		size("otlp-queue-bytes", "log lines that wait in memory for the receiver", &c.OTLPQueue, 256<<10, 1<<30),
		size("otlp-disk-bytes", "log lines that wait in the state directory while the receiver is down; 0: none", &c.OTLPDisk, 0, 1<<40),
		number("max-nested-series", "nested containers with series of their own, per sandbox", &c.MaxNestedSeries, 1, 10000),
		number("nice", "nice value of the agent: it must keep up when the node is overloaded", &c.Nice, -20, 19),
		text("proc-root", "where the host's procfs is mounted", &c.ProcRoot, absolute),
		text("nri", "prepare sandboxes when the container runtime starts them: auto (if it listens), on or off", &c.NRI, oneOf("auto", "on", "off")),
		text("nri-socket", "where the container runtime listens for NRI plugins", &c.NRISocket, absolute),
		text("kubelet-root", "kubelet's root directory, where its records of pods' user namespaces are", &c.KubeletRoot, absolute),
		text("kube", "ask Kubernetes' API server for names of pods, and tell it what becomes of them: auto (in a pod, or with a kubeconfig), on or off", &c.Kube, oneOf(kube.Auto, kube.On, kube.Off)),
		text("kubeconfig", "file that says where the API server is and who eyas is; empty: as Kubernetes tells a pod", &c.Kubeconfig, optionalFile),
		text("node-name", "this node's name in Kubernetes; empty: as the variable NODE_NAME says", &c.NodeName, nodeName),
		text("install-profiles", "directory of the node that gets the seccomp profiles of sandboxes, such as /var/lib/kubelet/seccomp/eyas; empty for none", &c.InstallProfiles, absoluteOrNone),
		idRange("subid-range", "host ids to lease to sandboxes without ids of their own, as start:count; both are multiples of 65536", &c.SubidRange),
		duration("subid-quarantine", "how long a freed range of ids rests", &c.SubidQuarantine, time.Second),
		text("sandbox-default-profile", "profile of pods with the annotation "+nri.Annotation+`: "true"`, &c.DefaultProfile, profileName),
	}
}

// Check looks at what can only be seen when all is set, by file and by flags. The
// error is a *KeyError.
func (c *Config) Check() error {
	if err := c.known(c.DefaultProfile); err != nil {
		return &KeyError{"sandbox-default-profile", c.DefaultProfile, err}
	}
	for _, p := range c.Profiles {
		if p.Size > c.SubidRange.Count {
			return sizeError(p, c.SubidRange)
		}
	}
	return c.checkOTLP()
}

// pool is where leased ranges come from.
func (c *Config) pool() subid.Options {
	return subid.Options{Range: c.SubidRange, Quarantine: c.SubidQuarantine}
}

// preparerProfiles are the profiles without what only a runtime can do.
func (c *Config) preparerProfiles() (all []prepare.Profile) {
	for _, p := range c.Profiles {
		all = append(all, p.Profile)
	}
	return all
}
