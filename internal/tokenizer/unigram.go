package tokenizer

import (
	"encoding/json"
	"fmt"
	"math"
	"unicode/utf8"
)

// unknownPenalty is how much worse an unknown character is than the rarest
// piece.
const unknownPenalty = 10

// unigram finds the way to spell a word whose pieces have the greatest sum of
// log probabilities.
type unigram struct {
	trie         *trie
	scores       []float64
	unknown      int32
	unknownScore float64
	byteFallback bool
	bytes        [256]int32
}

func parseUnigram(text json.RawMessage) (parsedModel, error) {
	var m struct {
		Vocab        []piece `json:"vocab"`
		Unknown      *int32  `json:"unk_id"`
		ByteFallback bool    `json:"byte_fallback"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return parsedModel{}, err
	}
	if len(m.Vocab) == 0 {
		return parsedModel{}, fmt.Errorf("the vocabulary is empty: %w", ErrUnsupported)
	}
	u := &unigram{unknown: -1, byteFallback: m.ByteFallback}
	if m.Unknown != nil {
		u.unknown = *m.Unknown
	}
	if int(u.unknown) >= len(m.Vocab) {
		return parsedModel{}, fmt.Errorf("the unknown token %d is not in the vocabulary", u.unknown)
	}
	ids := make(vocabulary, len(m.Vocab))
	lowest := math.Inf(1)
	for id, p := range m.Vocab {
		ids[p.text] = int32(id)
		u.scores = append(u.scores, p.score)
		lowest = min(lowest, p.score)
	}
	u.unknownScore = lowest - unknownPenalty
	u.bytes = byteTokens(ids)
	u.trie = newTrie(ids)
	return parsedModel{u, u.unknown, len(m.Vocab)}, nil
}

// piece is ["▁the", -3.2].
type piece struct {
	text  string
	score float64
}

func (p *piece) UnmarshalJSON(text []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return fmt.Errorf("%s is not a piece and its score", text)
	}
	if err := json.Unmarshal(parts[0], &p.text); err != nil {
		return err
	}
	return json.Unmarshal(parts[1], &p.score)
}

// way is the best spelling of a word up to a place.
type way struct {
	score float64
	from  int // where its last piece begins, -1: there is none yet
	id    int32
}

func (u *unigram) encode(ids []int32, word string) []int32 {
	ways := make([]way, len(word)+1)
	for i := range ways[1:] {
		ways[i+1].from = -1
	}
	for i := 0; i < len(word); {
		_, n := utf8.DecodeRuneInString(word[i:])
		here := ways[i].score
		single := false // the character is a piece
		for end, id := range u.trie.prefixes(word[i:]) {
			to := &ways[i+end]
			if score := here + u.scores[id]; to.from < 0 || score > to.score {
				*to = way{score, i, id}
			}
			single = single || end == n
		}
		if !single {
			to := &ways[i+n]
			if score := here + u.unknownScore; to.from < 0 || score > to.score {
				*to = way{score, i, u.unknown}
			}
		}
		i += n
	}
	return u.collect(ids, word, ways)
}

// collect walks the best way back and appends its pieces in order.
func (u *unigram) collect(ids []int32, word string, ways []way) []int32 {
	var ends []int
	for at := len(word); at > 0; at = ways[at].from {
		ends = append(ends, at)
	}
	for i := len(ends) - 1; i >= 0; {
		w := ways[ends[i]]
		if w.id != u.unknown {
			ids = append(ids, w.id)
			i--
			continue
		}
		first, next := w.from, ends[i] // unknown characters in a row are one
		for i--; i >= 0 && ways[ends[i]].id == u.unknown; i-- {
			next = ends[i]
		}
		ids = u.appendUnknown(ids, word[first:next])
	}
	return ids
}

func (u *unigram) appendUnknown(ids []int32, text string) []int32 {
	if u.byteFallback {
		begin := len(ids)
		for i := range len(text) {
			id := u.bytes[text[i]]
			if id < 0 {
				ids = ids[:begin]
				break
			}
			ids = append(ids, id)
		}
		if len(ids) > begin {
			return ids
		}
	}
	if u.unknown < 0 {
		return ids
	}
	return append(ids, u.unknown)
}
