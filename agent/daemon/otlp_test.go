package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// TestOTLP: log lines are sent where the config or OpenTelemetry's variables name a
// receiver, and what is wrong is told with its key.
func TestOTLP(t *testing.T) {
	const endpoint, logsEndpoint = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"
	for name, tc := range map[string]struct {
		env  map[string]string
		set  func(*Config)
		on   bool
		says string
	}{
		"nothing":          {},
		"of all signals":   {env: map[string]string{endpoint: "http://127.0.0.1:4317"}, on: true},
		"of logs":          {env: map[string]string{logsEndpoint: "http://127.0.0.1:4317"}, on: true},
		"configured":       {set: func(c *Config) { c.OTLPEndpoint = "127.0.0.1:4317" }, on: true},
		"with a disk":      {set: func(c *Config) { c.OTLPEndpoint, c.OTLPDisk = "127.0.0.1:4317", 8<<20 }, on: true},
		"no URL":           {set: func(c *Config) { c.OTLPEndpoint = "ftp://x" }, says: "otlp-*"},
		"no certificates":  {set: func(c *Config) { c.OTLPEndpoint, c.OTLPCA = "127.0.0.1:4317", "/nonexistent" }, says: "/nonexistent"},
		"half an identity": {set: func(c *Config) { c.OTLPEndpoint, c.OTLPCert = "127.0.0.1:4317", "/nonexistent" }, says: "go together"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, k := range []string{endpoint, logsEndpoint} {
				t.Setenv(k, tc.env[k])
			}
			c := DefaultConfig()
			c.StateDir = t.TempDir()
			if tc.set != nil {
				tc.set(&c)
			}
			e, err := openOTLP(c, "v0", "node", nil, zerolog.Nop())
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Fatalf("%v, want %q in it", err, tc.says)
				}
				return
			}
			if err != nil || (e != nil) != tc.on {
				t.Fatalf("%v, %v", e, err)
			}
			if e != nil {
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}
			if _, err := os.Stat(filepath.Join(c.StateDir, "otlp")); (err == nil) != (c.OTLPDisk > 0) {
				t.Errorf("a queue on disk: %v", err)
			}
		})
	}
	c := DefaultConfig()
	c.OTLPDisk = 1 << 20
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "otlp-disk-bytes") {
		t.Errorf("a disk that is too small: %v", err)
	}
}
