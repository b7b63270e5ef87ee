package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// BenchmarkScrape is a scrape of 1,000 nested containers that all have series, apart
// from what asking a kernel costs: with client_golang's registry and encoder alone,
// and as it is served. CPU time is that of all threads, the collector of garbage
// included, and does not depend on what else the machine does, as time does.
func BenchmarkScrape(b *testing.B) {
	e := newNode(20, 50).exposition(b)
	yes := func() error { return nil }
	served, err := Handler(e, yes, yes, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	registry := http.TimeoutHandler(promhttp.HandlerFor(e.all, promhttp.HandlerOpts{}), scrapeTimeout, "")
	for _, way := range []struct {
		name string
		h    http.Handler
	}{{"registry", registry}, {"served", served}} {
		for _, encoding := range []string{"identity", "gzip"} {
			b.Run(way.name+"/"+encoding, func(b *testing.B) {
				b.ReportAllocs()
				before := cpuTime(b)
				for b.Loop() {
					if code := scrape(way.h, encoding).Code; code != http.StatusOK {
						b.Fatal(code)
					}
				}
				b.ReportMetric(float64(cpuTime(b)-before)/1e6/float64(b.N), "cpu-ms/op")
				b.ReportMetric(float64(scrape(way.h, encoding).Body.Len()), "bytes")
				lines := 0
				for line := range strings.Lines(scrape(way.h, "identity").Body.String()) {
					if !strings.HasPrefix(line, "#") {
						lines++
					}
				}
				b.ReportMetric(float64(lines), "series")
			})
		}
	}
}

// scrape asks as a Prometheus does.
func scrape(h http.Handler, encoding string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.2")
	r.Header.Set("Accept-Encoding", encoding)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// cpuTime is what this process has used, in ns.
func cpuTime(b *testing.B) int64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
