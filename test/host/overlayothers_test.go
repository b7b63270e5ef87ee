//go:build host

package host

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What others than eyas can see of an overlay, by the names of overlayNumbers.
const (
	readBytes  = "read_bytes_total read 1"
	reads      = "operations_total read 1"
	spliceFrom = "read_bytes_total splice 1"
	writeBytes = "write_bytes_total write 1"
	writes     = "operations_total write 1"
	spliceTo   = "write_bytes_total splice 1"
	rangeBytes = "write_bytes_total copy_range 1"
	ranges     = "operations_total copy_range 1"
	copiedUp   = "copy_up_bytes_total 1"
)

// seen are numbers of a witness. On kernels where a splice from an overlay is a
// read, how many reads it is made of shows in no system call.
func seen(n map[string]float64, spliceIsRead bool) map[string]float64 {
	got := map[string]float64{}
	for _, key := range []string{readBytes, reads, spliceFrom, writeBytes, writes, spliceTo, rangeBytes, ranges, copiedUp} {
		got[key] = n[key]
	}
	if spliceIsRead {
		got[readBytes] += got[spliceFrom]
		delete(got, spliceFrom)
		delete(got, reads)
	}
	return got
}

// TestOverlayByOthers holds what the agent counts against what strace sees of the
// same calls, and bpftrace of the kernel's functions for files in general: work
// of which this test does not know how much it is.
func TestOverlayByOthers(t *testing.T) {
	a := startAgent(t, "", "--reconcile-interval", "1s")
	why := needTrampolines(t, a)
	spliceIsRead := why["overlay_splice_read"] != ""
	pid, step := startOverlayWork(t, "calls")
	id := containerOf(t, a, pid)
	byStrace := startStrace(t, pid)
	byBpftrace, refusal := startBpftrace(t, pid)
	before := overlayNumbers(a.families(), id)
	step()
	got := seen(grown(before, overlayNumbers(a.families(), id)), spliceIsRead)
	for key, n := range got {
		if n == 0 {
			t.Errorf("the work has nothing for %s", key)
		}
	}

	strace := byStrace()
	t.Logf("strace: %v", strace)
	want := seen(strace, spliceIsRead)
	outside := maps.Clone(got)
	delete(want, copiedUp) // no system call
	delete(outside, copiedUp)
	if d := cmp.Diff(want, outside); d != "" {
		t.Errorf("strace and eyas (-strace +eyas):\n%s", d)
	}

	switch {
	case refusal == "":
		bpftrace := byBpftrace()
		t.Logf("bpftrace: %v", bpftrace)
		if d := cmp.Diff(seen(bpftrace, spliceIsRead), got); d != "" {
			t.Errorf("bpftrace and eyas (-bpftrace +eyas):\n%s", d)
		}
	case lockdown(t) == "confidentiality":
		t.Logf("not compared with bpftrace, to which lockdown allows nothing: %s", refusal)
	default:
		t.Errorf("bpftrace does not work: %s", refusal)
	}
	checkNoneSkipped(t, a)
	checkQuiet(t, a)
}
