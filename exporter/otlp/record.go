package otlp

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// scope is the name of the instrumentation.
const scope = "github.com/eyas-agent/eyas"

// Bounds of text in attributes; what is longer is cut.
const (
	maxText  = 1 << 10
	maxChain = 4 << 10
)

// records makes OTLP records of entries.
//
// The SDK binds a resource to a LoggerProvider, and there is no other way to give
// a record one. So each outermost container of a batch gets a provider that lives
// as long as this call: it is a small struct with nothing to shut down, and a batch
// bounds how many there are. A cache of them would need a bound and an end of its
// own, and one for the whole exporter could not tell containers apart.
func (e *Exporter) records(entries []entry) []sdklog.Record {
	got := &collect{records: make([]sdklog.Record, 0, len(entries))}
	loggers := map[outer]log.Logger{}
	for i := range entries {
		at := outerOf(entries[i].Line.Chain)
		l := loggers[at]
		if l == nil {
			// Keys are unique here: none has to look for duplicates.
			l = sdklog.NewLoggerProvider(sdklog.WithProcessor(got), sdklog.WithResource(e.resource(at)), sdklog.WithAllowKeyDuplication()).
				Logger(scope, log.WithInstrumentationVersion(e.o.Version))
			loggers[at] = l
		}
		l.Emit(context.Background(), record(&entries[i].Line, entries[i].Seen))
	}
	return got.records
}

// collect is a processor that keeps what it is given.
type collect struct{ records []sdklog.Record }

func (c *collect) OnEmit(_ context.Context, r *sdklog.Record) error {
	c.records = append(c.records, *r)
	return nil
}
func (*collect) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (*collect) Shutdown(context.Context) error                         { return nil }
func (*collect) ForceFlush(context.Context) error                       { return nil }

// outer is what is known of an outermost container.
type outer struct {
	host, id, name, runtime, containerID, image, podUID string

	namespace, pod, container string // Kubernetes' names
}

func outerOf(chain []identity.Link) (o outer) {
	for _, k := range chain {
		if k.Kind == "node" {
			o.host = k.Name
			continue
		}
		o.id, o.name, o.runtime, o.containerID, o.image, o.podUID = k.ID, k.Name, k.Runtime, k.ContainerID, k.Image, k.PodUID
		if p := k.Pod; p != nil {
			o.podUID, o.namespace, o.pod, o.container = p.UID, p.Namespace, p.Name, p.Container
		}
		break
	}
	return o
}

func (e *Exporter) resource(o outer) *resource.Resource {
	image, tag := splitImage(o.image)
	a := attributes{}
	a.text(semconv.HostNameKey, o.host)
	a.text(semconv.K8SNodeNameKey, e.o.Node)
	a.text(semconv.K8SPodUIDKey, o.podUID)
	a.text(semconv.K8SNamespaceNameKey, o.namespace)
	a.text(semconv.K8SPodNameKey, o.pod)
	a.text(semconv.K8SContainerNameKey, o.container)
	a.text(semconv.ContainerIDKey, o.containerID)
	a.text(semconv.ContainerNameKey, o.name)
	a.text(semconv.ContainerRuntimeNameKey, o.runtime)
	a.text(semconv.ContainerImageNameKey, image)
	if tag != "" {
		a = append(a, semconv.ContainerImageTagsKey.StringSlice([]string{text(tag, maxText)}))
	}
	a.text("eyas.container.id", o.id)
	return resource.NewWithAttributes(semconv.SchemaURL, a...)
}

// splitImage parts registry/name:tag@digest.
func splitImage(image string) (name, tag string) {
	name, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i], name[i+1:]
	}
	return name, ""
}

// record makes one record. Severity stays unspecified: a stream does not tell it.
func record(l *identity.LogLine, seen time.Time) (r log.Record) {
	r.SetTimestamp(l.Time)
	if l.Time.IsZero() {
		r.SetTimestamp(time.Unix(0, 0)) // OTLP's "unknown"
	}
	r.SetObservedTimestamp(seen)
	if utf8.Valid(l.Body) {
		r.SetBody(attribute.StringValue(string(l.Body)))
	} else {
		r.SetBody(attribute.ByteSliceValue(l.Body))
	}

	a := attributes{
		semconv.LogIostreamKey.String(text(string(l.Stream), maxText)),
		attribute.String("eyas.log.via", text(string(l.Via), maxText)),
	}
	a.number("eyas.log.seq", l.Seq)
	if l.Partial {
		a = append(a, attribute.Bool("eyas.log.partial", true))
	}
	a.number("eyas.log.truncated", l.Truncated)
	a.number("eyas.log.dropped", l.Dropped)
	a.number("eyas.log.dropped_bytes", l.DroppedBytes)
	a.number(semconv.ProcessPIDKey, uint64(l.PID))
	if n := len(l.PIDs); n > 0 {
		pids := make([]int64, n)
		for i, p := range l.PIDs {
			pids[i] = int64(p)
		}
		a = append(a, semconv.ProcessVpidKey.Int64(pids[n-1]), attribute.Int64Slice("eyas.pid.chain", pids))
	}
	a.text("eyas.process.comm", l.Comm)
	if l.UID != identity.NoID {
		a = append(a, attribute.Int64("eyas.user.host_id", int64(l.UID)))
	}
	if l.InnerUID != nil {
		a = append(a, attribute.Int64("eyas.user.id", int64(*l.InnerUID)))
	}
	a.chain(l.Chain)
	r.AddAttributes(a...)
	return r
}

// attributes leaves out what is not known.
type attributes []attribute.KeyValue

func (a *attributes) text(key attribute.Key, s string) {
	if s != "" {
		*a = append(*a, key.String(text(s, maxText)))
	}
}

func (a *attributes) number(key attribute.Key, n uint64) {
	if n != 0 {
		*a = append(*a, key.Int64(int64(min(n, 1<<63-1))))
	}
}

// chain tells the path of containers as eyas' commands take it, and the innermost.
func (a *attributes) chain(links []identity.Link) {
	var path strings.Builder
	var last identity.Link
	for _, k := range links {
		if k.Kind == "node" {
			continue
		}
		if last = k; path.Len() > maxChain {
			continue
		} else if path.Len() > 0 {
			path.WriteByte('/')
		}
		path.WriteString(text(k.Name, maxText))
	}
	if last.ID == "" {
		return
	}
	*a = append(*a, attribute.String("eyas.container.chain", text(path.String(), maxChain)), attribute.Int("eyas.container.level", last.Level))
	if last.Level < 2 {
		return
	}
	a.text("eyas.nested.id", last.ID)
	a.text("eyas.nested.name", last.Name)
	a.text("eyas.nested.runtime", last.Runtime)
	a.text("eyas.nested.image", last.Image)
}

// text makes s valid UTF-8 of n bytes at most.
func text(s string, n int) string {
	if s = identity.Valid(s); len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
