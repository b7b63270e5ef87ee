package otlp

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
)

// Shutdown sends what it can in its time, and counts the rest.
func TestShutdown(t *testing.T) {
	t.Run("drains", func(t *testing.T) {
		r := newReceiver(t, HTTP, nil).start(t)
		o := options(r)
		o.Every = time.Hour
		e, stop := run(t, o)
		e.Put(lines(numbered(0, 2000)...))
		stop()
		if d := cmp.Diff(numbered(0, 2000), r.bodies()); d != "" {
			t.Error(d)
		}
		e.Put(lines("late"))
		if s := e.Stats(); s.Dropped[DropShutdown].Records != 1 {
			t.Errorf("%+v", s)
		}
		balanced(t, e.Stats())
	})
	t.Run("ends in time", func(t *testing.T) {
		r := newReceiver(t, GRPC, func(int) reply { return reply{hang: true} }).start(t)
		o := options(r)
		o.Drain, o.Timeout = 200*time.Millisecond, time.Hour
		e, stop := run(t, o)
		e.Put(lines(numbered(0, 2000)...))
		until(t, "a request", func() bool { return r.requests() > 0 })
		start := time.Now()
		stop()
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("took %s", d)
		}
		if s := e.Stats(); s.Dropped[DropShutdown].Records != 2000 || s.Memory.Records != 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("never ran", func(t *testing.T) {
		e, err := New(options(newReceiver(t, GRPC, nil).start(t)))
		if err != nil {
			t.Fatal(err)
		}
		e.Put(lines("x"))
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if s := e.Stats(); s.Dropped[DropShutdown].Records != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// At every moment, put is sent, dropped and queued, also while lines come from all
// sides and the receiver fails in every way.
func TestAccount(t *testing.T) {
	both(t, func(t *testing.T, protocol string) {
		r := newReceiver(t, protocol, func(n int) reply {
			switch n % 5 {
			case 0:
				return reply{code: codes.Unavailable, status: http.StatusServiceUnavailable}
			case 1:
				return reply{rejected: 1}
			case 2:
				return reply{code: codes.InvalidArgument, status: http.StatusBadRequest}
			}
			return reply{}
		}).start(t)
		o := options(r)
		o.QueueBytes, o.DiskDir, o.DiskBytes = minQueueBytes, t.TempDir(), minDiskBytes
		e, stop := run(t, o)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					e.Put(lines(numbered(n*10, n*10+1+i*20)...))
					balanced(t, e.Stats())
				}
			})
		}
		wg.Wait()
		stop()
		s := e.Stats()
		if s.Memory.Records != 0 || s.Sent.Records == 0 || s.Dropped[DropRejected].Records == 0 || s.Dropped[DropFull].Records+s.Disk.Records+s.Dropped[DropDiskFull].Records == 0 {
			t.Errorf("%+v", s)
		}
		if n := int64(len(r.bodies())); n < s.Sent.Records {
			t.Errorf("%d arrived, %d are said to be sent", n, s.Sent.Records)
		}
	})
}
