package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/exporter/otlp"
)

// minOTLPDisk is the smallest queue on disk that there can be.
const minOTLPDisk = 4 << 20

// receiver reports whether there is one for log lines: by the config, or by
// OpenTelemetry's own variables.
func (c *Config) receiver() bool {
	if c.OTLPEndpoint != "" {
		return true
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// openOTLP returns nil where there is no receiver.
func openOTLP(c Config, version, node string, pod func(podUID, containerID string) otlp.Pod, log zerolog.Logger) (*otlp.Exporter, error) {
	if !c.receiver() {
		return nil, nil
	}
	o := otlp.Options{
		Protocol: c.OTLPProtocol, Endpoint: c.OTLPEndpoint, Insecure: c.OTLPInsecure, CA: c.OTLPCA, Cert: c.OTLPCert, Key: c.OTLPKey,
		QueueBytes: c.OTLPQueue, Version: version, Node: node, Pod: pod, Log: log,
	}
	if c.OTLPDisk > 0 {
		o.DiskDir, o.DiskBytes = filepath.Join(c.StateDir, "otlp"), c.OTLPDisk
	}
	e, err := otlp.New(o)
	if err != nil {
		return nil, fmt.Errorf("send log lines (keys otlp-*): %w", err)
	}
	return e, nil
}

// otlpEndpoint takes what may be one; otlp.New knows more.
func otlpEndpoint(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }) || !utf8.ValidString(s) {
		return errors.New("want a URL such as http://localhost:4317, or host:port")
	}
	return nil
}

func otlpProtocol(s string) error {
	switch s {
	case "", otlp.GRPC, otlp.HTTP:
		return nil
	}
	return fmt.Errorf("want %s or %s", otlp.GRPC, otlp.HTTP)
}

// optionalFile is an absolute path, or nothing.
func optionalFile(s string) error {
	if s == "" {
		return nil
	}
	return absolute(s)
}

// checkOTLP looks at what no single key can say.
func (c *Config) checkOTLP() error {
	if c.OTLPDisk > 0 && c.OTLPDisk < minOTLPDisk {
		return &KeyError{"otlp-disk-bytes", fmt.Sprint(c.OTLPDisk), errors.New("want 0 for none, or at least 4MiB")}
	}
	return nil
}
