package analysis

import "github.com/blevesearch/snowballstem"

// stems remembers the stems of words: a stemmer needs a microsecond, and a text
// has few different words.
type stems struct {
	known map[string][]byte
}

// stemsMax bounds what is remembered.
const stemsMax = 1 << 14

func (s *stems) of(word []byte, stem func(*snowballstem.Env) bool) []byte {
	if t, ok := s.known[string(word)]; ok {
		return t
	}
	if s.known == nil || len(s.known) >= stemsMax {
		s.known = make(map[string][]byte)
	}
	env := snowballstem.NewEnv(string(word))
	stem(env)
	t := []byte(env.Current())
	if len(t) == 0 {
		t = append(t, word...)
	}
	s.known[string(word)] = t
	return t
}
