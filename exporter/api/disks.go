package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/eyas-agent/eyas/collectors/answers"
)

func (s *server) disks(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	files, err := number(v, "files")
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	disks, err := s.q.Disks(r.Context(), v.Get("chain"), int(files))
	s.reply(w, disks, err)
}

// Disks asks what upper directories hold; files is how many to name of each.
func (c *Client) Disks(ctx context.Context, chain string, files int) (d []answers.Disk, err error) {
	err = c.get(ctx, "/v1/disks", url.Values{"chain": {chain}, "files": {strconv.Itoa(files)}}, &d)
	return d, err
}
