package files

import "github.com/eyas-agent/eyas/bpf"

// Attach, SelfTest and Adopt have nothing to do: there are no programs.
func (s *Source) Attach() {}

// SelfTest implements logs.Source.
func (s *Source) SelfTest(bpf.Drive) {}

// Adopt implements logs.Source.
func (s *Source) Adopt() error { return nil }

// Attached implements logs.Source.
func (s *Source) Attached() bool { return true }

// Hooks implements logs.Source.
func (s *Source) Hooks() []bpf.Hook { return nil }

// Missed implements logs.Source.
func (s *Source) Missed() (writes, execs uint64) { return 0, 0 }

// SelectAll says what is told of all containers.
func (s *Source) SelectAll(l bpf.LogSelection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = l
	return nil
}

// Select says what is told of one, and of those inside it.
func (s *Source) Select(b bpf.LogBox, l bpf.LogSelection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l == 0 {
		delete(s.chosen, b)
	} else {
		s.chosen[b] = l
	}
	return nil
}
