package daemon

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/prometheus/common/model"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/subid"
)

// These make a Setting that is bound to p.

func text(key, help string, p *string, check func(string) error) Setting {
	return Setting{key, help, func() string { return *p }, func(s string) error {
		if err := check(s); err != nil {
			return err
		}
		*p = s
		return nil
	}}
}

func boolean(key, help string, p *bool) Setting {
	return Setting{key, help, func() string { return strconv.FormatBool(*p) }, parseBool(p)}
}

func number(key, help string, p *int, least, most int) Setting {
	return Setting{key, help, func() string { return strconv.Itoa(*p) }, parseNumber(p, least, most)}
}

func duration(key, help string, p *time.Duration, least time.Duration) Setting {
	return Setting{key, help, func() string { return model.Duration(*p).String() }, func(s string) error {
		d, err := model.ParseDuration(s)
		if err != nil || time.Duration(d) < least {
			return fmt.Errorf("want a duration of at least %s, such as 30s, 12h or 7d", model.Duration(least))
		}
		*p = time.Duration(d)
		return nil
	}}
}

func size(key, help string, p *int64, least, most int64) Setting {
	return Setting{key, help, func() string { return units.BytesSize(float64(*p)) }, func(s string) error {
		n, err := units.RAMInBytes(s)
		if err != nil || n < least || n > most {
			return fmt.Errorf("want a size from %s to %s, such as 64MiB", units.BytesSize(float64(least)), units.BytesSize(float64(most)))
		}
		*p = n
		return nil
	}}
}

func idRange(key, help string, p *subid.Range) Setting {
	return Setting{key, help, func() string { return p.String() }, func(s string) error {
		r, err := subid.ParseRange(s)
		if err != nil {
			return fmt.Errorf("want start:count, such as %s", subid.Defaults().Range)
		}
		if err := (subid.Options{Range: r}).Check(); err != nil {
			return fmt.Errorf("want start:count, such as %s: %w", subid.Defaults().Range, err)
		}
		*p = r
		return nil
	}}
}

// These set p, or say what is wanted.

func parseBool(p *bool) func(string) error {
	return func(s string) error {
		switch s {
		case "true", "false":
			*p = s == "true"
			return nil
		}
		return errors.New("want true or false")
	}
}

func parseNumber[T int | uint32](p *T, least, most T) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < int64(least) || n > int64(most) {
			return fmt.Errorf("want a number from %d to %d", least, most)
		}
		*p = T(n)
		return nil
	}
}

func parseWord[T ~string](p *T, all ...T) func(string) error {
	return func(s string) error {
		if !slices.Contains(all, T(s)) {
			return wantOne(all)
		}
		*p = T(s)
		return nil
	}
}

func wantOne[T ~string](all []T) error {
	words := make([]string, len(all))
	for i, w := range all {
		words[i] = string(w)
	}
	return fmt.Errorf("want %s", strings.Join(words, " or "))
}

// These say what is wanted of a text.

func oneOf(all ...string) func(string) error {
	return func(s string) error { return parseWord(&s, all...)(s) }
}

func absolute(s string) error {
	if !strings.HasPrefix(s, "/") {
		return errors.New("want an absolute path")
	}
	return nil
}

func absoluteOrNone(s string) error {
	if s == "" {
		return nil
	}
	return absolute(s)
}

func hostPort(s string) error {
	if _, _, err := net.SplitHostPort(s); err != nil && s != "" {
		return errors.New("want host:port, or nothing for none")
	}
	return nil
}

func level(s string) error {
	// Numbers and levels that log nothing are levels to zerolog as well.
	if l, err := zerolog.ParseLevel(s); err != nil || l > zerolog.ErrorLevel || !strings.EqualFold(l.String(), s) || s == "" {
		return errors.New("want trace, debug, info, warn or error")
	}
	return nil
}
