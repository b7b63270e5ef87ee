package metrics

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/series"
)

// sorted reads an exposition and writes it in the order of a registry.
func sorted(t *testing.T, text string) string {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	delete(families, "eyas_cgroups_read_seconds") // no two are the same
	delete(families, "eyas_cgroups_age_seconds")
	var out strings.Builder
	reg := prometheus.GathererFunc(func() (all []*dto.MetricFamily, _ error) {
		for _, f := range families {
			for _, m := range f.Metric {
				slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
			}
			all = append(all, f)
		}
		return all, nil
	})
	all, err := prometheus.Gatherers{reg}.Gather()
	if err != nil {
		t.Fatal(err) // a series is there twice
	}
	for _, f := range all {
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// What is served as text is what client_golang would make of the same collectors,
// whatever containers call themselves.
func TestTextIsThatOfTheRegistry(t *testing.T) {
	n := newNode(2, 60) // of 60, 50 have series
	for i, name := range []string{"a\"b\\c\nd", "\xff\xfe", "\x1b[31m", "{a=\"b\"} 1\n# TYPE x counter", strings.Repeat("ä", 300), "\u2028"} {
		x := n.put(90000+uint32(i), 90000+uint32(i))
		x.Name = identity.Name{Runtime: name, ID: name, Name: name, Image: name}
		n.table.SetPod(x, &identity.Pod{Namespace: identity.Valid(name), Name: identity.Valid(name), UID: "u", Container: string(rune('a' + i))})
	}
	e := n.exposition(t)
	yes := func() error { return nil }
	h, err := Handler(e, yes, yes, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	served, registry := scrape(h, "identity"), scrape(promhttp.HandlerFor(e.all, promhttp.HandlerOpts{}), "identity")
	if got, want := served.Header().Get("Content-Type"), registry.Header().Get("Content-Type"); got != want {
		t.Errorf("Content-Type %q, want %q", got, want)
	}
	got := sorted(t, served.Body.String())
	if diff := cmp.Diff(strings.Split(sorted(t, registry.Body.String()), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("served, and what the registry has (-registry +served):\n%s", diff)
	}
	for _, family := range []string{"eyas_container_info{", "eyas_container_pressure_seconds_total{", "eyas_overlay_read_seconds_bucket{", `nested="_other"`} {
		if !strings.Contains(got, family) {
			t.Errorf("%s is not served", family)
		}
	}
}

// Who asks for something that is not text, or for some families only, gets it.
func TestOtherFormats(t *testing.T) {
	yes := func() error { return nil }
	h, err := Handler(newNode(1, 1).exposition(t), yes, yes, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, path, accept string
		format             expfmt.FormatType
		families           int // 0: all
	}{
		{"protobuf", "/metrics", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", expfmt.TypeProtoDelim, 0},
		{"one family", "/metrics?name[]=eyas_container_info", "text/plain", expfmt.TypeTextPlain, 1},
		{"OpenMetrics is not offered", "/metrics", "application/openmetrics-text;version=1.0.0", expfmt.TypeTextPlain, 0},
		{"anything", "/metrics", "", expfmt.TypeTextPlain, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tc.path, nil)
			r.Header.Set("Accept", tc.accept)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			format := expfmt.ResponseFormat(w.Header())
			if format.FormatType() != tc.format {
				t.Fatalf("Content-Type %q", w.Header().Get("Content-Type"))
			}
			families := 0
			for d := expfmt.NewDecoder(w.Body, format); ; families++ {
				if err := d.Decode(&dto.MetricFamily{}); err != nil {
					break
				}
			}
			if tc.families > 0 && families != tc.families || families == 0 {
				t.Errorf("%d families", families)
			}
		})
	}
}

// broken is a source that tells a part, and then fails.
type broken struct {
	f   *series.Family
	end func(series.Writer)
}

func (b broken) Describe(ch chan<- *prometheus.Desc) { ch <- b.f.Desc() }
func (b broken) Collect(ch chan<- prometheus.Metric) { b.Tell(series.To(ch)) }
func (b broken) Tell(w series.Writer) {
	w.Row(nil).Set(b.f, 7)
	b.end(w)
}

// A source that fails costs what it had yet to tell, and the log says why.
func TestBrokenSources(t *testing.T) {
	fails := broken{series.Gauge("eyas_fails", "A.", nil), nil}
	fails.end = func(w series.Writer) { w.Invalid(fails.f, errors.New("map is gone")) }
	panics := broken{series.Gauge("eyas_panics", "B.", nil), func(series.Writer) { panic("nil map") }}
	e, err := NewExposition(fails, panics, broken{series.Gauge("eyas_well", "C.", nil), func(series.Writer) {}})
	if err != nil {
		t.Fatal(err)
	}
	yes := func() error { return nil }
	var log strings.Builder
	h, err := Handler(e, yes, yes, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	text := scrape(h, "identity").Body.String()
	for _, want := range []string{"eyas_fails 7\n", "eyas_panics 7\n", "# HELP eyas_well C.\n# TYPE eyas_well gauge\neyas_well 7\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	for _, want := range []string{"eyas_fails: map is gone", "panic: nil map"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q: %s", want, &log)
		}
	}
}

// Two collectors that contradict each other are found before anything is served.
func TestContradiction(t *testing.T) {
	a := broken{f: series.Gauge("eyas_a", "A.", nil)}
	if _, err := NewExposition(a, broken{f: series.Gauge("eyas_a", "B.", nil)}); err == nil {
		t.Error("registered")
	}
	if _, err := NewExposition(a, a); err == nil {
		t.Error("registered twice")
	}
}

// More scrapes at once than there are places for are refused.
func TestAtMost(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	h := atMost(1, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(begun); <-end }))
	done := make(chan struct{})
	go func() { h.ServeHTTP(httptest.NewRecorder(), nil); close(done) }()
	<-begun
	w := httptest.NewRecorder()
	h.ServeHTTP(w, nil)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d", w.Code)
	}
	close(end)
	<-done
}
