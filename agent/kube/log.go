package kube

import (
	"fmt"

	"github.com/go-logr/logr"
	"github.com/rs/zerolog"
	"k8s.io/klog/v2"
)

// newLogger lets client-go log what matters to developers only: away and back tell
// the rest. It becomes klog's as well, which is global: else that would write to
// stderr by itself, in lines of its own kind.
func newLogger(log zerolog.Logger) klog.Logger {
	l := logr.New(sink{log})
	klog.SetLogger(l)
	return l
}

// sink is a logr.LogSink.
type sink struct{ log zerolog.Logger }

func (s sink) Init(logr.RuntimeInfo)             {}
func (s sink) Enabled(level int) bool            { return level <= 2 && s.log.GetLevel() <= zerolog.DebugLevel }
func (s sink) WithValues(...any) logr.LogSink    { return s }
func (s sink) WithName(string) logr.LogSink      { return s }
func (s sink) Info(_ int, msg string, kv ...any) { s.tell(nil, msg, kv) }
func (s sink) Error(err error, msg string, kv ...any) {
	s.tell(err, msg, kv)
}

func (s sink) tell(err error, msg string, kv []any) {
	e := s.log.Debug().Err(err).Str("client_go", msg)
	for i := 0; i+1 < len(kv) && i < 16; i += 2 {
		e = e.Str(fmt.Sprint(kv[i]), text(fmt.Sprint(kv[i+1]), 256))
	}
	e.Msg("client-go")
}
