package tokenizer

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// bpe begins with a word's characters and joins the pair that was learned
// first, again and again, until no known pair is left.
type bpe struct {
	vocabulary   vocabulary
	merges       map[[2]int32]merge
	unknown      int32
	fuse         bool // several unknown characters in a row are one token
	byteFallback bool // an unknown character is spelled as <0xE2>, byte by byte
	ignoreMerges bool // a word that is in the vocabulary is that token
	within, end  string
	bytes        [256]int32
}

type merge struct {
	rank int
	id   int32
}

func parseBPE(text json.RawMessage) (parsedModel, error) {
	var m struct {
		Vocab        vocabulary        `json:"vocab"`
		Merges       []json.RawMessage `json:"merges"`
		Unknown      *string           `json:"unk_token"`
		Within       *string           `json:"continuing_subword_prefix"`
		End          *string           `json:"end_of_word_suffix"`
		Fuse         bool              `json:"fuse_unk"`
		ByteFallback bool              `json:"byte_fallback"`
		IgnoreMerges bool              `json:"ignore_merges"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return parsedModel{}, err
	}
	if err := m.Vocab.check(); err != nil {
		return parsedModel{}, err
	}
	b := &bpe{vocabulary: m.Vocab, merges: make(map[[2]int32]merge, len(m.Merges)), unknown: -1,
		fuse: m.Fuse, byteFallback: m.ByteFallback, ignoreMerges: m.IgnoreMerges}
	if m.Unknown != nil {
		b.unknown = m.Vocab.id(*m.Unknown)
	}
	if m.Within != nil {
		b.within = *m.Within
	}
	if m.End != nil {
		b.end = *m.End
	}
	b.bytes = byteTokens(m.Vocab)
	for rank, text := range m.Merges {
		left, right, err := parseMerge(text)
		if err != nil {
			return parsedModel{}, err
		}
		joined := left + strings.TrimPrefix(right, b.within)
		ids := [3]int32{m.Vocab.id(left), m.Vocab.id(right), m.Vocab.id(joined)}
		if min(ids[0], ids[1], ids[2]) < 0 {
			return parsedModel{}, fmt.Errorf("merge %d of %q and %q is not in the vocabulary", rank, left, right)
		}
		b.merges[[2]int32{ids[0], ids[1]}] = merge{rank, ids[2]}
	}
	return parsedModel{b, b.unknown, m.Vocab.size()}, nil
}

// parseMerge reads "a b", or ["a", "b"], which can hold spaces.
func parseMerge(text json.RawMessage) (left, right string, err error) {
	var parts []string
	if text[0] == '[' {
		if err := json.Unmarshal(text, &parts); err != nil {
			return "", "", err
		}
	} else {
		var line string
		if err := json.Unmarshal(text, &line); err != nil {
			return "", "", err
		}
		parts = strings.Split(line, " ")
	}
	if len(parts) != 2 {
		return "", "", fmt.Errorf("merge %s is not one of two tokens", text)
	}
	return parts[0], parts[1], nil
}

// byteTokens are the tokens that stand for a byte.
func byteTokens(v vocabulary) (ids [256]int32) {
	for b := range ids {
		ids[b] = v.id(fmt.Sprintf("<0x%02X>", b))
	}
	return ids
}

// symbol is a token of a word, linked to its neighbours.
type symbol struct {
	id         int32
	prev, next int // -1: none
	gone       bool
}

// joint is a pair of neighbours that can be joined.
type joint struct {
	merge
	left        int
	leftID, rID int32 // what they were when it was found
}

type joints []joint

func (j joints) Len() int { return len(j) }
func (j joints) Less(a, b int) bool {
	return j[a].rank < j[b].rank || j[a].rank == j[b].rank && j[a].left < j[b].left
}
func (j joints) Swap(a, b int) { j[a], j[b] = j[b], j[a] }
func (j *joints) Push(x any)   { *j = append(*j, x.(joint)) }
func (j *joints) Pop() any {
	last := (*j)[len(*j)-1]
	*j = (*j)[:len(*j)-1]
	return last
}

func (b *bpe) encode(ids []int32, word string) []int32 {
	if b.ignoreMerges {
		if id, ok := b.vocabulary[word]; ok {
			return append(ids, id)
		}
	}
	symbols := b.symbols(word)
	var queue joints
	offer := func(left int) {
		if left < 0 || symbols[left].next < 0 {
			return
		}
		leftID, rightID := symbols[left].id, symbols[symbols[left].next].id
		if m, ok := b.merges[[2]int32{leftID, rightID}]; ok {
			heap.Push(&queue, joint{m, left, leftID, rightID})
		}
	}
	for i := range symbols {
		offer(i)
	}
	for len(queue) > 0 {
		top := heap.Pop(&queue).(joint)
		left := &symbols[top.left]
		if left.gone || left.id != top.leftID || left.next < 0 || symbols[left.next].id != top.rID {
			continue // one of them was joined with another meanwhile
		}
		right := &symbols[left.next]
		left.id, left.next, right.gone = top.id, right.next, true
		if left.next >= 0 {
			symbols[left.next].prev = top.left
		}
		offer(left.prev)
		offer(top.left)
	}
	for i := range symbols {
		if !symbols[i].gone {
			ids = append(ids, symbols[i].id)
		}
	}
	return ids
}

// symbols gives a word's characters.
func (b *bpe) symbols(word string) []symbol {
	symbols := make([]symbol, 0, len(word))
	add := func(id int32) {
		n := len(symbols)
		if n > 0 {
			symbols[n-1].next = n
		}
		symbols = append(symbols, symbol{id: id, prev: n - 1, next: -1})
	}
	unknown := false // the one before was
	for i := 0; i < len(word); {
		_, n := utf8.DecodeRuneInString(word[i:])
		text := word[i : i+n]
		if b.within != "" && i > 0 {
			text = b.within + text
		}
		i += n
		if b.end != "" && i == len(word) {
			text += b.end
		}
		if id, ok := b.vocabulary[text]; ok {
			add(id)
			unknown = false
			continue
		}
		if b.byteFallback && b.spell(text, add) {
			unknown = false
			continue
		}
		if b.unknown >= 0 && !(b.fuse && unknown) {
			add(b.unknown)
		}
		unknown = true
	}
	return symbols
}

// spell adds a text's bytes, if all of them have a token.
func (b *bpe) spell(text string, add func(id int32)) bool {
	for i := range len(text) {
		if b.bytes[text[i]] < 0 {
			return false
		}
	}
	for i := range len(text) {
		add(b.bytes[text[i]])
	}
	return true
}
