package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// serve serves until ctx ends, then lets answers under way finish.
func serve(l net.Listener, h http.Handler) func(context.Context) error {
	return func(ctx context.Context) error {
		s := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second}
		stop := context.AfterFunc(ctx, func() {
			grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			if s.Shutdown(grace) != nil {
				_ = s.Close()
			}
		})
		defer stop()
		if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}
