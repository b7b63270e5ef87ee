package series

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

var (
	names = []string{"namespace", "pod"}
	size  = Gauge("eyas_size", "Its size.\nOf \\all.", names)
	done  = Counter("eyas_done_total", "What was done.", names, "way")
	took  = Histogram("eyas_took_seconds", "How long.", names)
	alone = Gauge("eyas_alone", "Without labels.", nil)
)

// values are numbers whose text differs by size and kind.
var values = []float64{
	0, 1, -1, 0.5, 7, 999999, 1e6, 1e6 + 1, -999999, -1e6, 123456789, 1e21, 1e-9, 1 << 53, math.MaxUint64, math.Inf(1), math.Inf(-1), math.NaN(),
	math.Copysign(0, -1), 12345.678, math.MaxFloat64, math.SmallestNonzeroFloat64,
}

// tell tells some of everything.
func tell(w Writer) {
	for i, pod := range []string{"", "web-0", `a"b\c` + "\nd}"} {
		row := w.Row(names, "team", pod)
		row.Set(size, values[i])
		row.Set(done, 3, "read")
		row.Set(done, 4, "write\n\"")
		row.Distribution(took, []float64{0.001, 1, 2.5}, []uint64{1, 1, 7}, 9, 12.75)
	}
	for i, v := range values {
		w.Row(names, "numbers", strconv.Itoa(1000+i)).Set(size, v)
	}
	w.Row(nil).Set(alone, 1)
}

type collector struct{}

func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range []*Family{size, done, took, alone} {
		ch <- f.Desc()
	}
}
func (collector) Collect(ch chan<- prometheus.Metric) { tell(To(ch)) }

// Each line is that of the library's encoder, but for the order of lines and labels.
func TestText(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(collector{})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&want, f); err != nil {
			t.Fatal(err)
		}
	}
	var text Text
	var got strings.Builder
	tell(&text)
	n, err := text.WriteTo(&got)
	if err != nil || n != int64(got.Len()) || text.Err() != nil {
		t.Fatalf("%d bytes of %d, %v, %v", n, got.Len(), err, text.Err())
	}
	// Here, names of labels are in order, and so are those who are told of.
	lines := func(s string) map[string]int {
		m := map[string]int{}
		for line := range strings.Lines(s) {
			m[line]++
		}
		return m
	}
	if d := cmp.Diff(lines(want.String()), lines(got.String())); d != "" {
		t.Errorf("(-library +own):\n%s", d)
	}
}

// However much a family has, every line is whole.
func TestPieces(t *testing.T) {
	var text Text
	long := strings.Repeat("x", 3*lastPiece)
	const rows = 5000
	for i := range rows {
		row := text.Row(names, "team", strconv.Itoa(i))
		row.Set(size, 1)
		if i%1000 == 0 {
			text.Row(names, long, strconv.Itoa(i)).Set(size, 2)
		}
	}
	var got strings.Builder
	if _, err := text.WriteTo(&got); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(got.String()))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(families["eyas_size"].GetMetric()); n != rows+rows/1000 {
		t.Errorf("%d series", n)
	}
	for _, l := range text.families {
		for _, piece := range l.full {
			if len(piece) == 0 || piece[len(piece)-1] != '\n' {
				t.Errorf("a piece ends with %q", piece[max(0, len(piece)-20):])
			}
		}
	}
}

// Text that is no UTF-8 would make a Prometheus refuse the whole scrape.
func TestInvalidUTF8(t *testing.T) {
	var text Text
	text.Row(names, "a\xffb", "\xc3").Set(done, 1, "\xed\xa0\x80")
	var got strings.Builder
	if _, err := text.WriteTo(&got); err != nil {
		t.Fatal(err)
	}
	if want := "eyas_done_total{namespace=\"a\uFFFDb\",pod=\"\uFFFD\",way=\"\uFFFD\"} 1\n"; !strings.HasSuffix(got.String(), want) {
		t.Errorf("%q, want %q", &got, want)
	}
}

// What is missing is said, and what there is of a family is served.
func TestInvalid(t *testing.T) {
	var text Text
	text.Invalid(done, errors.New("map is gone"))
	text.Row(nil).Set(alone, 1)
	if err := text.Err(); err == nil || err.Error() != "eyas_done_total: map is gone" {
		t.Errorf("%v", err)
	}
	var got strings.Builder
	if _, err := text.WriteTo(&got); err != nil || !strings.HasSuffix(got.String(), "\neyas_alone 1\n") || strings.Contains(got.String(), "done") {
		t.Errorf("%v %q", err, &got)
	}
	ch := make(chan prometheus.Metric, 1)
	To(ch).Invalid(done, errors.New("map is gone"))
	if m := <-ch; m.Desc() != done.Desc() || m.Write(nil) == nil {
		t.Errorf("%v", m)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWriteFails(t *testing.T) {
	var text Text
	tell(&text)
	if n, err := text.WriteTo(full{}); err == nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
}
