package api

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// A request that cannot be meant is refused by the name of its field; nobody
// is asked.
func TestBadRequests(t *testing.T) {
	o := &oracle{}
	h := Handler(o, status, zerolog.Nop())
	for request, want := range map[string]struct {
		code int
		text string
	}{
		"GET /v1/pid":                             {400, `bad request: pid: want a number from 0 to 4294967295, got ""`},
		"GET /v1/pid?pid=":                        {400, `pid: want a number`},
		"GET /v1/pid?pid=-1":                      {400, `pid: want a number from 0 to 4294967295, got "-1"`},
		"GET /v1/pid?pid=4294967296&in=x":         {400, `got "4294967296"`},
		"GET /v1/pid?pid=0x10":                    {400, `got "0x10"`},
		"GET /v1/pid?pid=1_0":                     {400, `got "1_0"`},
		"GET /v1/pid?pid=%00%1b%5b2J%0a":          {400, `got "\x00\x1b[2J\n"`},
		"GET /v1/pid?pid=7%zz":                    {400, `pid: `},
		"GET /v1/id?kind=uid":                     {400, `id: want a number`},
		"GET /v1/id?id=1&at=now":                  {400, `at: want RFC 3339, got "now"`},
		"GET /v1/id?id=1&at=2026-01-31T03:00:00Z": {200, ``},
		"GET /v1/id?id=1&kind=pid":                {400, `kind: want uid or gid, got "pid"`},
		"GET /v1/id?id=1":                         {200, ``},
		"POST /v1/pid?pid=1":                      {405, ``},
		"POST /v1/stats":                          {405, ``},
		"DELETE /v1/tree":                         {405, ``},
		"GET /v1/nothing":                         {404, ``},
		"GET /":                                   {404, ``},
		"GET /v1/../v1/tree":                      {307, ``},
	} {
		o.asked = ""
		method, target, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
		var f failure
		if want.text != "" {
			if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || f.Code != codeBad {
				t.Errorf("%s: %v, %s", request, err, w.Body)
			}
		}
		if w.Code != want.code || !strings.Contains(f.Error, want.text) || (w.Code != 200 && o.asked != "") {
			t.Errorf("%s: %d %s, asked %q, want %d %s", request, w.Code, w.Body, o.asked, want.code, want.text)
		}
	}
}

// send writes raw bytes and returns the first line of what comes back; a
// server that gives up earlier may have closed the connection.
func send(t *testing.T, socket, raw string) string {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(c, raw) }()
	b := make([]byte, 4096)
	n, err := c.Read(b)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("%.40q: no answer", raw)
	}
	line, _, _ := strings.Cut(string(b[:n]), "\r\n")
	return line
}

// Whatever comes in, the next client is answered.
func TestHostileRequests(t *testing.T) {
	socket := serve(t, &oracle{n: 20000})
	for name, tc := range map[string]struct{ raw, want string }{
		"noise":        {"\x00\x01\x02\xff\r\n\r\n", "HTTP/1.1 400"},
		"tls":          {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400"},
		"no host":      {"GET /v1/status HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
		"line of 4 MB": {"GET /v1/ps?chain=" + strings.Repeat("x", 4<<20) + " HTTP/1.1\r\nHost: e\r\n\r\n", "HTTP/1.1 431"},
		"64 kB header": {"GET /v1/status HTTP/1.1\r\nHost: e\r\n" + strings.Repeat("a: "+strings.Repeat("b", 60000)+"\r\n", 40) + "\r\n", "HTTP/1.1 431"},
		"long chain":   {"GET /v1/map?chain=" + strings.Repeat("a/", 1<<18) + " HTTP/1.1\r\nHost: e\r\n\r\n", "HTTP/1.1 200"},
		"body":         {"GET /v1/tree HTTP/1.1\r\nHost: e\r\nContent-Length: 99999999999\r\n\r\nxxx", "HTTP/1.1 200"},
		"many fields":  {"GET /v1/pid?pid=7" + strings.Repeat("&pid=x", 1<<14) + " HTTP/1.1\r\nHost: e\r\n\r\n", "HTTP/1.1"},
		"old":          {"GET /v1/status HTTP/1.0\r\n\r\n", "HTTP/1.0 200"},
	} {
		if got := send(t, socket, tc.raw); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
		dial(t, socket)
	}
	// Clients that stop halfway, in the question or in the answer, hold nobody up.
	for _, raw := range []string{"", "GET /v1/st", "GET /v1/ps HTTP/1.1\r\nHost: e\r\n\r\n"} {
		for range 20 {
			c, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, raw); err != nil {
				t.Fatal(err)
			}
		}
	}
	dial(t, socket)
}

// Whatever the query, the answer is one JSON value with a known status.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"", "pid=1", "pid=1&in=a", "id=1&at=2026-01-31T03:00:00Z", "id=1&kind=gid", "pid=%zz", "chain=%ff", ";", "id=1&at=9999-99-99"} {
		f.Add(q)
	}
	h := Handler(&oracle{}, status, zerolog.Nop())
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{"/v1/pid", "/v1/id", "/v1/map", "/v1/tree", "/v1/stats"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path, RawQuery: query}, Host: "eyas"})
			if w.Code != 200 && w.Code != 400 || !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%s?%s: %d %s", path, query, w.Code, w.Body)
			}
		}
	})
}
