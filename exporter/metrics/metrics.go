// Package metrics serves what collectors have gathered, for Prometheus, and
// whether the agent is alive and ready.
//
// What enters: scrapes. What leaves: the text exposition. It gathers nothing
// itself and changes nothing.
package metrics

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

// Listen opens the address; the error names the setting to change.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for metrics: %w: choose another with --listen, or none with --listen ''", addr, err)
	}
	return l, nil
}

// scrapeTimeout bounds one scrape: Prometheus' own default is 10 s.
const scrapeTimeout = 10 * time.Second

// Handler serves /metrics, /healthz and /readyz. healthy returns why the agent
// does not work, ready why it cannot answer yet; nil is yes.
func Handler(reg prometheus.Gatherer, healthy, ready func() error, log zerolog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog: errorLog{log}, ErrorHandling: promhttp.ContinueOnError, Timeout: scrapeTimeout,
		MaxRequestsInFlight: 4,
	}))
	mux.HandleFunc("GET /healthz", probe(healthy))
	mux.HandleFunc("GET /readyz", probe(ready))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "eyas: /metrics /healthz /readyz")
	})
	return mux
}

func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

type errorLog struct{ log zerolog.Logger }

func (l errorLog) Println(v ...any) { l.log.Error().Msg(fmt.Sprint(v...)) }
