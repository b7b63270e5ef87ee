package otlp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// Protocols.
const (
	GRPC = "grpc"
	HTTP = "http/protobuf"
)

// Options of an Exporter. What is not set is taken from OpenTelemetry's
// environment variables (OTEL_EXPORTER_OTLP_LOGS_…, then OTEL_EXPORTER_OTLP_…),
// and if they are not set either, has the default.
type Options struct {
	Protocol    string            // grpc or http/protobuf; default grpc
	Endpoint    string            // URL, or host:port; default localhost:4317, localhost:4318 over HTTP
	Headers     map[string]string // sent along
	Compression string            // gzip or none; default none
	CA          string            // PEM file of certificates to trust; default the system's
	Cert, Key   string            // PEM files to identify with
	Insecure    bool              // no TLS, for an Endpoint without a scheme
	Timeout     time.Duration     // of one attempt; default 10 s

	QueueBytes int64  // in memory; default 16 MiB
	DiskDir    string // where the queue on disk lives; "": none
	DiskBytes  int64  // of its file; default 256 MiB, at least 4 MiB

	Every   time.Duration // how long a line may wait for others to be sent with; default 1 s
	Drain   time.Duration // for sending when all ends; default 5 s
	Backoff Backoff

	Version string // of eyas
	Node    string // Kubernetes' name of the node; "": not known
	Log     zerolog.Logger
}

// Backoff says how often what failed is tried again.
type Backoff struct {
	Initial time.Duration // default 1 s; doubles, with jitter
	Max     time.Duration // default 30 s
	// GiveUp is how long the same lines are tried before they are dropped, lest
	// what a receiver never takes holds up the rest for ever. Default 1 h.
	GiveUp time.Duration
}

// Bounds.
const (
	minQueueBytes = 256 << 10
	minDiskBytes  = 4 << 20
)

func (o *Options) complete() error {
	o.Protocol = first(o.Protocol, env("PROTOCOL"), GRPC)
	if o.Protocol != GRPC && o.Protocol != HTTP {
		return fmt.Errorf("OTLP protocol %q: want %s or %s", o.Protocol, GRPC, HTTP)
	}
	if err := o.checkEndpoint(); err != nil {
		return err
	}
	if o.Compression != "" && o.Compression != "gzip" && o.Compression != "none" {
		return fmt.Errorf("OTLP compression %q: want gzip or none", o.Compression)
	}
	o.CA = first(o.CA, env("CERTIFICATE"))
	if o.Cert == "" && o.Key == "" {
		o.Cert, o.Key = env("CLIENT_CERTIFICATE"), env("CLIENT_KEY")
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
		if s := env("TIMEOUT"); s != "" {
			ms, err := strconv.Atoi(s)
			if err != nil || ms <= 0 {
				return fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT %q: want milliseconds, such as 10000", s)
			}
			o.Timeout = time.Duration(ms) * time.Millisecond
		}
	}
	setDefault(&o.QueueBytes, 16<<20)
	setDefault(&o.DiskBytes, 256<<20)
	setDefault(&o.Every, time.Second)
	setDefault(&o.Drain, 5*time.Second)
	setDefault(&o.Backoff.Initial, time.Second)
	setDefault(&o.Backoff.Max, 30*time.Second)
	setDefault(&o.Backoff.GiveUp, time.Hour)
	if o.QueueBytes < minQueueBytes {
		return fmt.Errorf("OTLP queue of %d bytes: want at least %d", o.QueueBytes, minQueueBytes)
	}
	if o.DiskDir != "" && o.DiskBytes < minDiskBytes {
		return fmt.Errorf("OTLP queue on disk of %d bytes: want at least %d", o.DiskBytes, minDiskBytes)
	}
	return nil
}

// checkEndpoint makes a URL of Endpoint. That of the environment is only looked
// at: the libraries would take a wrong one for none.
func (o *Options) checkEndpoint() error {
	if o.Endpoint == "" {
		_, err := parseEndpoint("OTEL_EXPORTER_OTLP_ENDPOINT", env("ENDPOINT"))
		if o.Insecure && env("ENDPOINT") == "" {
			o.Endpoint = map[string]string{GRPC: "http://localhost:4317", HTTP: "http://localhost:4318/v1/logs"}[o.Protocol]
		}
		return err
	}
	if !strings.Contains(o.Endpoint, "://") {
		scheme := "https"
		if o.Insecure {
			scheme = "http"
		}
		o.Endpoint = scheme + "://" + o.Endpoint
	}
	u, err := parseEndpoint("OTLP endpoint", o.Endpoint)
	if err != nil {
		return err
	}
	if o.Insecure && u.Scheme == "https" {
		return fmt.Errorf("OTLP endpoint %q is to be insecure: write http, or leave insecure out", o.Endpoint)
	}
	if o.Protocol == HTTP && (u.Path == "" || u.Path == "/") {
		u.Path = "/v1/logs"
	}
	o.Endpoint = u.String()
	return nil
}

func parseEndpoint(what, s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil: // it repeats s, which may have a password
		return nil, fmt.Errorf("%s cannot be parsed: want a URL, such as http://localhost:4317", what)
	case u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return nil, fmt.Errorf("%s %q: want a URL, such as http://localhost:4317", what, u.Redacted())
	}
	return u, nil
}

// tls returns nil for Go's defaults.
func (o *Options) tls() (*tls.Config, error) {
	if o.CA == "" && o.Cert == "" && o.Key == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("read OTLP CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("OTLP CA %s has no certificate: want PEM", o.CA)
		}
	}
	if (o.Cert == "") != (o.Key == "") {
		return nil, errors.New("OTLP client certificate: a certificate and a key go together: give both, or neither")
	}
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("load OTLP client certificate %s and key %s: %w", o.Cert, o.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// env returns OpenTelemetry's variable, that of logs before that of all signals.
func env(name string) string {
	return first(strings.TrimSpace(os.Getenv("OTEL_EXPORTER_OTLP_LOGS_"+name)), strings.TrimSpace(os.Getenv("OTEL_EXPORTER_OTLP_"+name)))
}

func first(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

func setDefault[T int64 | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}
