package otlp

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"

	"github.com/eyas-agent/eyas/collectors/identity"
)

func plain(v *common.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BytesValue:
		return v.BytesValue
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_ArrayValue:
		var all []any
		for _, x := range v.ArrayValue.GetValues() {
			all = append(all, plain(x))
		}
		return all
	}
	return nil
}

func attrs(kvs []*common.KeyValue) map[string]any {
	all := map[string]any{}
	for _, kv := range kvs {
		all[kv.GetKey()] = plain(kv.GetValue())
	}
	return all
}

// sent sends lines and returns what arrives.
func sent(t *testing.T, protocol string, change func(*Options), all ...identity.LogLine) []*logs.ResourceLogs {
	t.Helper()
	r := newReceiver(t, protocol, nil).start(t)
	o := options(r)
	if change != nil {
		change(&o)
	}
	e, stop := run(t, o)
	e.Put(all)
	stop()
	if s := e.Stats(); s.Sent.Records != int64(len(all)) {
		t.Fatalf("%+v", s)
	}
	return r.got
}

// Everything that is known of a line arrives, over both protocols.
func TestAttributes(t *testing.T) {
	wantResource := map[string]any{
		"host.name": "node1", "k8s.node.name": "worker-1", "k8s.pod.uid": "2ff1", "k8s.namespace.name": "team-a", "k8s.pod.name": "web-0",
		"k8s.container.name": "web", "container.id": "0123456789abcdef", "container.name": "devbox", "container.runtime.name": "containerd",
		"container.image.name": "registry:5000/dev/box", "container.image.tags": []any{"v1"}, "eyas.container.id": "33e9d68c4816",
	}
	want := map[string]any{
		"log.iostream": "stderr", "eyas.log.via": "kernel", "eyas.log.seq": int64(3), "eyas.log.partial": true, "eyas.log.truncated": int64(9),
		"eyas.log.dropped": int64(2), "eyas.log.dropped_bytes": int64(55), "process.pid": int64(20671), "process.vpid": int64(1),
		"eyas.pid.chain": []any{int64(20671), int64(7), int64(1)}, "eyas.process.comm": "sleep", "eyas.user.host_id": int64(200007), "eyas.user.id": int64(7),
		"eyas.container.chain": "devbox/build", "eyas.container.level": int64(2), "eyas.nested.id": "393dc72765dc", "eyas.nested.name": "build",
		"eyas.nested.runtime": "podman", "eyas.nested.image": "busybox",
	}
	for _, protocol := range []string{GRPC, HTTP} {
		t.Run(protocol, func(t *testing.T) {
			l := line("hello")
			l.Stream, l.Partial, l.Truncated, l.Dropped, l.DroppedBytes = identity.Stderr, true, 9, 2, 55
			l.Chain[1].Pod = &identity.Pod{Namespace: "team-a", Name: "web-0", UID: "2ff1", Container: "web"}
			before := time.Now()
			got := sent(t, protocol, func(o *Options) {
				o.Node, o.Version = "worker-1", "v9"
			}, l)
			if len(got) != 1 || len(got[0].GetScopeLogs()) != 1 || len(got[0].GetScopeLogs()[0].GetLogRecords()) != 1 {
				t.Fatalf("got %v", got)
			}
			if d := cmp.Diff(wantResource, attrs(got[0].GetResource().GetAttributes())); d != "" {
				t.Error("resource", d)
			}
			sl := got[0].GetScopeLogs()[0]
			if sl.GetScope().GetName() != scope || sl.GetScope().GetVersion() != "v9" {
				t.Error(sl.GetScope())
			}
			r := sl.GetLogRecords()[0]
			if d := cmp.Diff(want, attrs(r.GetAttributes())); d != "" {
				t.Error(d)
			}
			if r.GetTimeUnixNano() != 1700000000123456789 || r.GetBody().GetStringValue() != "hello" {
				t.Error(r)
			}
			if o := time.Unix(0, int64(r.GetObservedTimeUnixNano())); o.Before(before) || o.After(time.Now()) {
				t.Error("observed", o)
			}
			if r.GetSeverityNumber() != 0 || r.GetSeverityText() != "" {
				t.Error("severity", r)
			}
		})
	}
}

// What is not known is absent, not zero.
func TestAttributesUnknown(t *testing.T) {
	got := sent(t, GRPC, nil, identity.LogLine{Stream: identity.Stdout, Via: identity.LogFile, UID: identity.NoID})
	if a := attrs(got[0].GetResource().GetAttributes()); len(a) != 0 {
		t.Error(a)
	}
	r := got[0].GetScopeLogs()[0].GetLogRecords()[0]
	if d := cmp.Diff(map[string]any{"log.iostream": "stdout", "eyas.log.via": "file"}, attrs(r.GetAttributes())); d != "" {
		t.Error(d)
	}
	if r.GetTimeUnixNano() != 0 || r.GetBody().GetValue() == nil {
		t.Error(r)
	}
}

// A line of an outermost container itself is nobody's nested one.
func TestAttributesOuter(t *testing.T) {
	l := line("x")
	l.Chain = l.Chain[:2]
	a := attrs(sent(t, GRPC, nil, l)[0].GetScopeLogs()[0].GetLogRecords()[0].GetAttributes())
	if a["eyas.container.chain"] != "devbox" || a["eyas.container.level"] != int64(1) || a["eyas.nested.id"] != nil {
		t.Error(a)
	}
}

// Lines of different outermost containers have different resources.
func TestResources(t *testing.T) {
	var all []identity.LogLine
	for _, name := range []string{"a", "b", "a", "c"} {
		l := line("of " + name)
		chain := append([]identity.Link{}, l.Chain...)
		chain[1].ID, chain[1].Name = name, name
		l.Chain = chain
		all = append(all, l)
	}
	got := map[string][]string{}
	for _, rl := range sent(t, HTTP, nil, all...) {
		name := attrs(rl.GetResource().GetAttributes())["container.name"].(string)
		for _, r := range rl.GetScopeLogs()[0].GetLogRecords() {
			got[name] = append(got[name], r.GetBody().GetStringValue())
		}
	}
	if d := cmp.Diff(map[string][]string{"a": {"of a", "of a"}, "b": {"of b"}, "c": {"of c"}}, got); d != "" {
		t.Error(d)
	}
}

// Hostile text arrives as valid UTF-8, and bounded; bodies as the bytes they are.
func TestHostileText(t *testing.T) {
	l := line("\xff\x00\xfe")
	l.Comm = "\xff"
	l.Time = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)
	chain := append([]identity.Link{}, l.Chain...)
	chain[1].Name = strings.Repeat("ä", 1<<20)
	for range 100 {
		chain = append(chain, identity.Link{Kind: "container", ID: "x", Name: strings.Repeat("\xff", 500), Level: 9})
	}
	l.Chain = chain
	long := line(strings.Repeat("y", maxBody+5))
	got := sent(t, GRPC, nil, l, long)
	if b := got[0].GetResource().GetAttributes(); len(attrs(b)["container.name"].(string)) != maxText {
		t.Error("container.name is not cut")
	}
	r := got[0].GetScopeLogs()[0].GetLogRecords()[0]
	if string(r.GetBody().GetBytesValue()) != "\xff\x00\xfe" || r.GetTimeUnixNano() != 0 {
		t.Errorf("%q at %d", r.GetBody().GetBytesValue(), r.GetTimeUnixNano())
	}
	a := attrs(r.GetAttributes())
	if a["eyas.process.comm"] != `\xff` || len(a["eyas.container.chain"].(string)) > maxChain || len(a["eyas.nested.name"].(string)) > maxText {
		t.Errorf("%d %d %q", len(a["eyas.container.chain"].(string)), len(a["eyas.nested.name"].(string)), a["eyas.process.comm"])
	}
	for _, rl := range got {
		for _, r := range rl.GetScopeLogs()[0].GetLogRecords() {
			if a := attrs(r.GetAttributes()); len(r.GetBody().GetStringValue()) == maxBody && a["eyas.log.truncated"] == int64(5) {
				return
			}
		}
	}
	t.Error("the long body was not cut, or is not said to be")
}

func TestSplitImage(t *testing.T) {
	for in, want := range map[string][2]string{
		"": {}, "busybox": {"busybox", ""}, "busybox:1": {"busybox", "1"}, "r:5000/a": {"r:5000/a", ""}, "r:5000/a:2@sha256:0": {"r:5000/a", "2"},
	} {
		if name, tag := splitImage(in); name != want[0] || tag != want[1] {
			t.Errorf("%q: %q, %q", in, name, tag)
		}
	}
}

// One resource for each outermost container costs little beside the records.
func BenchmarkRecords(b *testing.B) {
	e := &Exporter{}
	var all []identity.LogLine
	for i := range maxRecords {
		l := line("a line of a usual length, such as those that builds write all the time")
		chain := append([]identity.Link{}, l.Chain...)
		chain[1].ID = string(rune('a' + i%20))
		l.Chain = chain
		all = append(all, l)
	}
	entries := newEntries(all, time.Now())
	for b.Loop() {
		e.records(entries)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/maxRecords, "ns/record")
}
