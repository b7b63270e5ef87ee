package metrics

import (
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/series"
)

// Source is a collector with series of each container: Tell writes what Collect
// sends.
type Source interface {
	prometheus.Collector
	Tell(series.Writer)
}

// Exposition is what all collectors tell. client_golang checks, sorts, and encodes
// each series at each scrape, which for a thousand containers takes a third of a
// second of CPU time; so sources write theirs as text, and only what else there is
// goes through it. It checks sources' names and labels when they are registered,
// and serves them, too, in the formats that are not text.
type Exposition struct {
	all, rest *prometheus.Registry
	sources   []Source
}

// NewExposition returns one of collectors that do not contradict each other.
func NewExposition(collectors ...prometheus.Collector) (*Exposition, error) {
	e := &Exposition{all: prometheus.NewRegistry(), rest: prometheus.NewRegistry()}
	for _, c := range collectors {
		if err := e.all.Register(c); err != nil {
			return nil, fmt.Errorf("register collector: %w", err)
		}
		if s, ok := c.(Source); ok {
			e.sources = append(e.sources, s)
		} else if err := e.rest.Register(c); err != nil {
			return nil, fmt.Errorf("register collector: %w", err)
		}
	}
	return e, nil
}

// handler serves scrapes. What cannot be told is logged, the rest is told.
func (e *Exposition) handler(log zerolog.Logger) http.Handler {
	other := promhttp.HandlerFor(e.all, promhttp.HandlerOpts{
		ErrorLog: errorLog{log}, ErrorHandling: promhttp.ContinueOnError, DisableCompression: true,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...)
		if format.FormatType() != expfmt.TypeTextPlain || r.URL.Query().Has("name[]") {
			other.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", string(format))
		if err := e.write(w, format); err != nil {
			log.Error().Err(err).Msg("a part of the metrics is missing from a scrape")
		}
	})
}

// write writes all series as text. Collectors work at the same time.
func (e *Exposition) write(w http.ResponseWriter, format expfmt.Format) error {
	texts, panics := make([]series.Text, len(e.sources)), make([]error, len(e.sources))
	var wg sync.WaitGroup
	for i, s := range e.sources {
		wg.Go(func() {
			// A collector's mistake costs its own series.
			defer func() {
				if p := recover(); p != nil {
					panics[i] = fmt.Errorf("%T: panic: %v", s, p)
				}
			}()
			s.Tell(&texts[i])
		})
	}
	families, err := e.rest.Gather()
	errs := []error{err}
	enc := expfmt.NewEncoder(w, format)
	for _, f := range families {
		errs = append(errs, enc.Encode(f))
	}
	wg.Wait()
	for i := range texts {
		_, err := texts[i].WriteTo(w)
		errs = append(errs, err, texts[i].Err())
	}
	return errors.Join(append(errs, panics...)...)
}
