package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// outcome is what became of one attempt.
type outcome struct {
	err       error // nil: the receiver has them, but for those it rejected
	permanent bool  // it is no use to try again
	after     time.Duration
	rejected  int64 // records
	message   string
}

// client makes one attempt at a time. The exporters' own retries are off: they
// end with the timeout of one attempt, count nothing, and take a refused TCP
// connection for permanent over HTTP. What the receiver says is read where it
// arrives, because the exporters make text of it.
type client struct {
	exporter sdklog.Exporter
	timeout  time.Duration
	idle     func()
	last     *outcome // of the attempt under way
}

func newClient(o Options) (*client, error) {
	tls, err := o.tls()
	if err != nil {
		return nil, err
	}
	c := &client{timeout: o.Timeout, idle: func() {}}
	if o.Protocol == GRPC {
		opts := []otlploggrpc.Option{
			otlploggrpc.WithRetry(otlploggrpc.RetryConfig{}), otlploggrpc.WithTimeout(o.Timeout),
			otlploggrpc.WithDialOption(grpc.WithUnaryInterceptor(c.intercept)),
		}
		if o.Endpoint != "" {
			opts = append(opts, otlploggrpc.WithEndpointURL(o.Endpoint))
		}
		if tls != nil {
			opts = append(opts, otlploggrpc.WithTLSCredentials(credentials.NewTLS(tls)))
		}
		if len(o.Headers) > 0 {
			opts = append(opts, otlploggrpc.WithHeaders(o.Headers))
		}
		if o.Compression != "" {
			opts = append(opts, otlploggrpc.WithCompressor(o.Compression))
		}
		c.exporter, err = otlploggrpc.New(context.Background(), opts...)
	} else {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = tls
		c.idle = transport.CloseIdleConnections
		opts := []otlploghttp.Option{
			otlploghttp.WithRetry(otlploghttp.RetryConfig{}),
			otlploghttp.WithHTTPClient(&http.Client{
				Transport: roundTripper(func(r *http.Request) (*http.Response, error) { return c.roundTrip(transport, r) }),
				// Headers may be secret: they go to the endpoint and nowhere else.
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}),
		}
		if o.Endpoint != "" {
			opts = append(opts, otlploghttp.WithEndpointURL(o.Endpoint))
		}
		if len(o.Headers) > 0 {
			opts = append(opts, otlploghttp.WithHeaders(o.Headers))
		}
		if o.Compression != "" {
			opts = append(opts, otlploghttp.WithCompression(map[string]otlploghttp.Compression{"gzip": otlploghttp.GzipCompression}[o.Compression]))
		}
		c.exporter, err = otlploghttp.New(context.Background(), opts...)
	}
	if err != nil {
		return nil, fmt.Errorf("make OTLP exporter: %w: see the endpoint and the OTEL_EXPORTER_OTLP_ variables", err)
	}
	return c, nil
}

// export makes one attempt.
func (c *client) export(ctx context.Context, records []sdklog.Record) outcome {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	c.last = nil
	err := c.exporter.Export(ctx, records)
	switch {
	case c.last != nil:
		return *c.last
	case ctx.Err() != nil:
		return outcome{err: errors.Join(ctx.Err(), err)}
	case err != nil: // before it was sent
		return outcome{err: err, permanent: true}
	}
	return outcome{}
}

func (c *client) close() error {
	err := c.exporter.Shutdown(context.Background())
	c.idle()
	return err
}

func (c *client) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if err != nil {
		o := outcome{err: err}
		o.permanent, o.after = judge(status.Convert(err))
		c.last = &o
		return err
	}
	if r, ok := reply.(*collogs.ExportLogsServiceResponse); ok {
		c.last = accepted(r)
	}
	return nil
}

func accepted(r *collogs.ExportLogsServiceResponse) *outcome {
	p := r.GetPartialSuccess()
	return &outcome{rejected: max(p.GetRejectedLogRecords(), 0), message: p.GetErrorMessage()}
}

// judge follows the table of OTLP's specification.
func judge(s *status.Status) (permanent bool, after time.Duration) {
	told := false
	for _, d := range s.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			told, after = true, r.GetRetryDelay().AsDuration()
		}
	}
	switch s.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		return false, after
	case codes.ResourceExhausted:
		return !told, after
	}
	return true, 0
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// maxAnswer bounds what is read of a receiver's answer.
const maxAnswer = 64 << 10

func (c *client) roundTrip(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	resp, err := next.RoundTrip(r)
	if err != nil {
		c.last = &outcome{err: err}
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	switch {
	case resp.StatusCode/100 == 2:
		var answer collogs.ExportLogsServiceResponse
		if resp.Header.Get("Content-Type") == "application/x-protobuf" && err == nil {
			_ = proto.Unmarshal(body, &answer) // taken is taken, whatever else it says
		}
		c.last = accepted(&answer)
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusBadGateway,
		resp.StatusCode == http.StatusServiceUnavailable, resp.StatusCode == http.StatusGatewayTimeout:
		c.last = &outcome{err: errors.New(resp.Status), after: retryAfter(resp.Header.Get("Retry-After"))}
	default:
		c.last = &outcome{err: fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(body[:min(len(body), 200)])), permanent: true}
	}
	return resp, nil
}

func retryAfter(s string) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}
