package prepare

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPrimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, starts, ends := 0, 0, 0
		p := newPrimer(func(ctx context.Context) error {
			runs++
			starts++
			<-ctx.Done()
			runs--
			ends++
			return nil
		}, func(err error) { t.Error(err) })
		defer p.close()
		at := func(what string, running, started int) {
			t.Helper()
			synctest.Wait()
			if runs != running || starts != started {
				t.Errorf("%s: %d run, %d were started; want %d, %d", what, runs, starts, running, started)
			}
		}
		at("nothing is expected", 0, 0)
		p.begin("a")
		p.begin("b")
		at("two are expected", 1, 1)
		p.finish("a")
		at("one of them came", 1, 1)
		p.finish("b")
		at("both came", 0, 1)
		p.finish("b")
		p.begin("c")
		<-time.After(primeFor * 3 / 4)
		p.begin("d")
		<-time.After(primeFor * 3 / 4)
		at("the second is still expected", 1, 2)
		<-time.After(primeFor / 2)
		at("neither came", 0, 2)
	})
}

func TestPrimerUseless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts, fails := 0, 0
		p := newPrimer(func(context.Context) error { starts++; return errors.New("not here") }, func(error) { fails++ })
		for range 3 {
			p.begin("a")
			synctest.Wait()
			p.finish("a")
		}
		p.close()
		if starts != 1 || fails != 1 {
			t.Errorf("tried %d times, told of %d; want once", starts, fails)
		}
	})
}
