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

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
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

// maxScrapes is how many scrapes are answered at once.
const maxScrapes = 4

// Handler serves /metrics, /healthz and /readyz. healthy returns why the agent
// does not work, ready why it cannot answer yet; nil is yes.
func Handler(e *Exposition, healthy, ready func() error, log zerolog.Logger) (http.Handler, error) {
	// Prometheus asks for gzip. At this level it is a twelfth of the text, and that of
	// the standard library takes five times as long.
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		return nil, fmt.Errorf("compress metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", http.TimeoutHandler(atMost(maxScrapes, compress(e.handler(log))), scrapeTimeout, "the scrape took too long\n"))
	mux.HandleFunc("GET /healthz", probe(healthy))
	mux.HandleFunc("GET /readyz", probe(ready))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "eyas: /metrics /healthz /readyz")
	})
	return mux, nil
}

// atMost refuses requests while n are answered.
func atMost(n int, h http.Handler) http.Handler {
	places := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			h.ServeHTTP(w, r)
		default:
			http.Error(w, fmt.Sprintf("%d scrapes are being answered: try again later", n), http.StatusServiceUnavailable)
		}
	})
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
