package metrics

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// half is a collector that can tell only a part.
type half struct{ ok, bad *prometheus.Desc }

func (h half) Describe(ch chan<- *prometheus.Desc) { ch <- h.ok; ch <- h.bad }

func (h half) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(h.ok, prometheus.GaugeValue, 7, "a\n\"\x1b")
	ch <- prometheus.NewInvalidMetric(h.bad, errors.New("map is gone"))
}

// What can be told is told, the log says what cannot; the probes say why.
func TestHandler(t *testing.T) {
	e, err := NewExposition(half{prometheus.NewDesc("eyas_ok", "Ok.", []string{"name"}, nil), prometheus.NewDesc("eyas_bad", "Bad.", nil, nil)})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	var sick, busy error
	h, err := Handler(e, func() error { return sick }, func() error { return busy }, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	get := func(method, path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code, w.Body.String()
	}
	for _, tc := range []struct {
		method, path string
		sick, busy   error
		code         int
		text         string
	}{
		{"GET", "/metrics", nil, nil, 200, `eyas_ok{name="a\n\"` + "\x1b" + `"} 7`},
		{"GET", "/healthz", nil, errors.New("no snapshot yet"), 200, "ok"},
		{"GET", "/readyz", nil, errors.New("no snapshot yet"), 503, "no snapshot yet"},
		{"GET", "/healthz", errors.New("tracker: closed"), nil, 503, "tracker: closed"},
		{"GET", "/readyz", nil, nil, 200, "ok"},
		{"GET", "/", nil, nil, 200, "/metrics"},
		{"GET", "/debug/pprof", nil, nil, 404, ""},
		{"POST", "/metrics", nil, nil, http.StatusMethodNotAllowed, ""},
	} {
		sick, busy = tc.sick, tc.busy
		if code, text := get(tc.method, tc.path); code != tc.code || !strings.Contains(text, tc.text) {
			t.Errorf("%s %s: %d %q, want %d %q", tc.method, tc.path, code, text, tc.code, tc.text)
		}
	}
	if !strings.Contains(log.String(), "map is gone") {
		t.Errorf("the log does not say what is missing: %s", &log)
	}
}

func TestListen(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, addr := range []string{l.Addr().String(), "nowhere", "127.0.0.1:x"} {
		if _, err := Listen(addr); err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "--listen") {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
