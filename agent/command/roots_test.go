package command

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

// Where the system has no certificates, as in the image, the agent has some all the
// same; and programs that are no agents have not read what there is.
func TestFallbackRoots(t *testing.T) {
	if os.Getenv("EYAS_TEST_ROOTS") == "" { // a program reads the system's once
		c := exec.Command(os.Args[0], "-test.run=^TestFallbackRoots$")
		c.Env = append(os.Environ(), "EYAS_TEST_ROOTS=1", "SSL_CERT_FILE=/nowhere", "SSL_CERT_DIR=/nowhere")
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	trusts := func() bool {
		pool, err := x509.SystemCertPool()
		if err != nil {
			t.Fatal(err)
		}
		return !pool.Equal(x509.NewCertPool())
	}
	if trusts() {
		t.Fatal("some are set at the start of every program")
	}
	for range 2 {
		if err := fallbackRoots(); err != nil {
			t.Fatal(err)
		}
	}
	if !trusts() {
		t.Error("no authority is trusted")
	}
}
