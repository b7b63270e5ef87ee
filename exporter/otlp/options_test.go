package otlp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// certificate makes one that signs itself, for 127.0.0.1, as files.
func certificate(t *testing.T) (pair tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	certFile, keyFile = file(t, string(certPEM)), file(t, string(keyPEM))
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return pair, certFile, keyFile
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Both sides show certificates, by options and by the environment.
func TestTLS(t *testing.T) {
	both(t, func(t *testing.T, protocol string) {
		server, ca, _ := certificate(t)
		client, cert, key := certificate(t)
		pool := x509.NewCertPool()
		leaf, err := x509.ParseCertificate(client.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		pool.AddCert(leaf)
		r := newReceiver(t, protocol, nil)
		r.tls = &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"h2", "http/1.1"}}
		if protocol == HTTP {
			r.tls.NextProtos = []string{"http/1.1"}
		}
		r.start(t)
		o := options(r)
		o.CA, o.Cert, o.Key = ca, cert, key
		e, stop := run(t, o)
		e.Put(lines("by options"))
		until(t, "arrival", func() bool { return len(r.bodies()) == 1 })
		stop()

		t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", ca)
		t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", cert)
		t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", key)
		e, stop = run(t, options(r))
		e.Put(lines("by environment"))
		until(t, "arrival", func() bool { return len(r.bodies()) == 2 })
		stop()
	})
}

// Nothing is sent to a receiver with another certificate; lines wait, and that is
// said with the reason, once.
func TestWrongCertificate(t *testing.T) {
	both(t, func(t *testing.T, protocol string) {
		server, _, _ := certificate(t)
		_, other, _ := certificate(t)
		r := newReceiver(t, protocol, nil)
		r.tls = &tls.Config{Certificates: []tls.Certificate{server}, NextProtos: []string{"h2", "http/1.1"}}
		r.start(t)
		var log logged
		o := options(r)
		o.CA, o.Drain, o.Log = other, 10*time.Millisecond, zerolog.New(&log)
		e, stop := run(t, o)
		e.Put(lines("secret"))
		until(t, "retries", func() bool { return number(t, e, "eyas_otlp_retries_total") > 2 })
		if s := e.Stats(); s.Memory.Records != 1 || r.requests() != 0 {
			t.Errorf("%+v", s)
		}
		stop()
		if n := log.count("failed to verify certificate"); n != 1 {
			t.Errorf("said %d times: %s", n, log.buf.String())
		}
	})
}

func TestHeaders(t *testing.T) {
	both(t, func(t *testing.T, protocol string) {
		r := newReceiver(t, protocol, nil).start(t)
		for _, c := range []struct {
			options map[string]string
			env     string
			want    string
		}{{map[string]string{"x-token": "a"}, "", "a"}, {nil, "x-token=b", "b"}, {map[string]string{"x-token": "a"}, "x-token=b", "a"}} {
			t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", c.env)
			o := options(r)
			o.Headers, o.Compression = c.options, "gzip"
			e, stop := run(t, o)
			e.Put(lines("x"))
			stop()
			if got := r.headers["x-token"]; got != c.want {
				t.Errorf("%v, %q: got %q", c.options, c.env, got)
			}
			if protocol == HTTP && r.headers["content-encoding"] != "gzip" {
				t.Error("not compressed")
			}
		}
	})
}

// Without options all is as OpenTelemetry's variables say; those of logs win.
func TestEnvironment(t *testing.T) {
	both(t, func(t *testing.T, protocol string) {
		r := newReceiver(t, protocol, nil).start(t)
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "wrong")
		t.Setenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", protocol)
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.endpoint())
		t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "12000")
		t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=east")
		e, stop := run(t, Options{Log: zerolog.Nop()})
		if e.o.Timeout != 12*time.Second {
			t.Error(e.o.Timeout)
		}
		e.Put(lines("x"))
		stop()
		if len(r.got) != 1 || attrs(r.got[0].GetResource().GetAttributes())["k8s.cluster.name"] != "east" {
			t.Errorf("got %v", r.got)
		}
	})
}

func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		in   Options
		want string
	}{
		{Options{Endpoint: "h:4317"}, "https://h:4317"},
		{Options{Endpoint: "h:4317", Insecure: true}, "http://h:4317"},
		{Options{Endpoint: "http://h:4317"}, "http://h:4317"},
		{Options{Endpoint: "h:4318", Protocol: HTTP}, "https://h:4318/v1/logs"},
		{Options{Endpoint: "http://h/otlp/v1/logs", Protocol: HTTP}, "http://h/otlp/v1/logs"},
		{Options{Insecure: true}, "http://localhost:4317"},
		{Options{}, ""},
	} {
		o := c.in
		if err := o.complete(); err != nil || o.Endpoint != c.want {
			t.Errorf("%+v: %q, %v", c.in, o.Endpoint, err)
		}
	}
}

// Errors name the option and the fix, and no secret.
func TestBadOptions(t *testing.T) {
	_, cert, key := certificate(t)
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"protocol":    {Options{Protocol: "http/json"}, "want grpc or http/protobuf"},
		"scheme":      {Options{Endpoint: "ftp://h"}, "want a URL"},
		"no host":     {Options{Endpoint: "http://"}, "want a URL"},
		"unparsable":  {Options{Endpoint: "http://u:secret@h:x"}, "want a URL"},
		"insecure":    {Options{Endpoint: "https://h", Insecure: true}, "write http"},
		"compression": {Options{Compression: "zip"}, "want gzip"},
		"no CA":       {Options{CA: "/nowhere"}, "read OTLP CA"},
		"bad CA":      {Options{CA: file(t, "x")}, "want PEM"},
		"no key":      {Options{Cert: cert}, "go together"},
		"bad key":     {Options{Cert: cert, Key: file(t, "x")}, "load OTLP client certificate"},
		"other key":   {Options{Cert: key, Key: key}, "load OTLP client certificate"},
		"queue":       {Options{QueueBytes: 5}, "want at least"},
		"disk":        {Options{DiskDir: "/x", DiskBytes: 5}, "want at least"},
	} {
		e, err := New(c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = e.Close()
		}
	}
	for k, v := range map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "soon", "OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4317", "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE": "/nowhere"} {
		t.Run(k, func(t *testing.T) {
			t.Setenv(k, v)
			if _, err := New(Options{}); err == nil {
				t.Error("taken")
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, err := New(Options{Endpoint: "http://127.0.0.1:1", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
