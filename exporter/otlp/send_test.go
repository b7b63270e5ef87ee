package otlp

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func both(t *testing.T, f func(t *testing.T, protocol string)) {
	for _, p := range []string{GRPC, HTTP} {
		t.Run(p, func(t *testing.T) { f(t, p) })
	}
}

// logged counts messages of a log.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

// Lines wait for a receiver that is down, or restarts, and arrive in order. That
// is said once.
func TestReceiverDownAndUp(t *testing.T) {
	both(t, func(t *testing.T, protocol string) {
		r := newReceiver(t, protocol, nil).start(t)
		r.close()
		var log logged
		o := options(r)
		o.Log = zerolog.New(&log)
		e, stop := run(t, o)
		e.Put(lines(numbered(0, 3)...))
		until(t, "retries", func() bool { return number(t, e, "eyas_otlp_retries_total") > 3 })
		balanced(t, e.Stats())
		if n := log.count("log lines wait"); n != 1 {
			t.Errorf("said %d times that lines wait", n)
		}
		r.start(t)
		until(t, "arrival", func() bool { return len(r.bodies()) == 3 })
		until(t, "success", func() bool { return number(t, e, "eyas_otlp_up") == 1 })
		r.close()
		e.Put(lines(numbered(3, 5)...))
		until(t, "down", e.down)
		r.start(t)
		until(t, "arrival", func() bool { return len(r.bodies()) >= 5 })
		stop()
		if d := cmp.Diff(numbered(0, 5), r.bodies()); d != "" {
			t.Error(d)
		}
		if w, a := log.count("log lines wait"), log.count("sent again"); w != 2 || a != 2 {
			t.Errorf("said %d times that lines wait, %d times that they are sent again", w, a)
		}
	})
}

// What a receiver may take later is sent again; what it never will is not.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name     string
		protocol string
		reply    reply
		again    bool
	}{
		{"unavailable", GRPC, reply{code: codes.Unavailable}, true},
		{"aborted", GRPC, reply{code: codes.Aborted}, true},
		{"exhausted for good", GRPC, reply{code: codes.ResourceExhausted}, false},
		{"invalid", GRPC, reply{code: codes.InvalidArgument, message: "no \x01"}, false},
		{"unauthenticated", GRPC, reply{code: codes.Unauthenticated}, false},
		{"unavailable", HTTP, reply{status: http.StatusServiceUnavailable}, true},
		{"too many", HTTP, reply{status: http.StatusTooManyRequests, retryAfter: "1"}, true},
		{"gateway", HTTP, reply{status: http.StatusBadGateway}, true},
		{"invalid", HTTP, reply{status: http.StatusBadRequest}, false},
		{"forbidden", HTTP, reply{status: http.StatusForbidden}, false},
		{"broken", HTTP, reply{status: http.StatusInternalServerError}, false},
		{"elsewhere", HTTP, reply{status: http.StatusTemporaryRedirect}, false},
	} {
		t.Run(c.protocol+" "+c.name, func(t *testing.T) {
			r := newReceiver(t, c.protocol, func(n int) reply {
				if n == 1 {
					return c.reply
				}
				return reply{}
			}).start(t)
			var log logged
			o := options(r)
			o.Log = zerolog.New(&log)
			e, stop := run(t, o)
			start := time.Now()
			e.Put(lines("first"))
			until(t, "an answer", func() bool { return e.Stats().Memory.Records == 0 })
			took := time.Since(start)
			e.Put(lines("second"))
			stop()
			want, s := []string{"second"}, e.Stats()
			if c.again {
				want = []string{"first", "second"}
			}
			if d := cmp.Diff(want, r.bodies()); d != "" {
				t.Error(d)
			}
			if n := s.Dropped[DropRejected].Records; n != int64(2-len(want)) {
				t.Errorf("%d rejected", n)
			}
			if n := log.count("refuses them"); n != 2-len(want) {
				t.Errorf("said %d times that lines are refused", n)
			}
			if c.reply.retryAfter != "" && took < time.Second {
				t.Errorf("sent again after %s, asked to wait a second", took)
			}
		})
	}
}

// The specification's table, also where a test server cannot say it.
func TestJudge(t *testing.T) {
	exhausted, err := status.New(codes.ResourceExhausted, "").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if permanent, after := judge(exhausted); permanent || after != 3*time.Second {
		t.Error(permanent, after)
	}
	for _, c := range []codes.Code{codes.Canceled, codes.DeadlineExceeded, codes.OutOfRange, codes.DataLoss} {
		if permanent, _ := judge(status.New(c, "")); permanent {
			t.Error(c)
		}
	}
	if d := retryAfter(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)); d < 50*time.Minute || d > time.Hour {
		t.Error(d)
	}
	for _, s := range []string{"", "soon", "-1", "99999999999999999999"} {
		if d := retryAfter(s); d != 0 {
			t.Error(s, d)
		}
	}
}

// Of a batch that is taken in part, the rest is counted and not sent again.
func TestPartialSuccess(t *testing.T) {
	both(t, func(t *testing.T, protocol string) {
		r := newReceiver(t, protocol, func(n int) reply { return reply{rejected: 2, message: "too old"} }).start(t)
		var log logged
		o := options(r)
		o.Log, o.Every = zerolog.New(&log), time.Hour
		e, stop := run(t, o)
		e.Put(lines(numbered(0, 5)...))
		stop()
		s := e.Stats()
		if s.Sent.Records != 3 || s.Dropped[DropRejected].Records != 2 || s.Dropped[DropRejected].Bytes == 0 || r.requests() != 1 {
			t.Errorf("%+v after %d requests", s, r.requests())
		}
		if log.count("too old") != 1 || number(t, e, "eyas_otlp_up") != 0 {
			t.Error("it is not said")
		}
	})
	b := batch{Count: Count{3, 100}}
	for n, want := range map[int64]Count{0: {}, 1: {1, 33}, 3: {3, 100}, 99: {3, 100}} {
		sent, rejected := b.part(n)
		if sum := (Count{sent.Records + rejected.Records, sent.Bytes + rejected.Bytes}); rejected != want || sum != b.Count {
			t.Errorf("%d: %+v, %+v", n, sent, rejected)
		}
	}
}

// A warning without a rejected record is no refusal.
func TestPartialSuccessWarning(t *testing.T) {
	r := newReceiver(t, GRPC, func(int) reply { return reply{message: "slow down"} }).start(t)
	e, stop := run(t, options(r))
	e.Put(lines("x"))
	stop()
	if s := e.Stats(); s.Sent.Records != 1 || number(t, e, "eyas_otlp_up") != 1 {
		t.Errorf("%+v", s)
	}
}

// An attempt that gets no answer ends, and is made again.
func TestReceiverHangs(t *testing.T) {
	both(t, func(t *testing.T, protocol string) {
		r := newReceiver(t, protocol, func(n int) reply { return reply{hang: n == 1} }).start(t)
		o := options(r)
		o.Timeout = 100 * time.Millisecond
		e, stop := run(t, o)
		e.Put(lines("x"))
		until(t, "arrival", func() bool { return len(r.bodies()) > 0 })
		stop()
		if r.requests() < 2 || e.Stats().Sent.Records != 1 {
			t.Errorf("%d requests: %+v", r.requests(), e.Stats())
		}
	})
}

// What a receiver never takes does not hold up the rest for ever.
func TestGiveUp(t *testing.T) {
	r := newReceiver(t, GRPC, func(n int) reply { return reply{code: codes.Unavailable} }).start(t)
	o := options(r)
	o.Backoff.GiveUp = 100 * time.Millisecond
	e, _ := run(t, o)
	e.Put(lines("x"))
	until(t, "an end", func() bool { return e.Stats().Dropped[DropExpired].Records == 1 })
	if !e.down() || r.requests() < 2 {
		t.Error("it was not tried again, or is not down")
	}
}
