package tokenizer

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

var errCharsMap = errors.New("the table of characters is damaged")

// charsMap is the table by which SentencePiece normalizes: a double array
// (Darts) from characters to where their replacements lie, each ended by a zero.
type charsMap struct {
	units        []uint32
	replacements string
}

func parsePrecompiled(text json.RawMessage) (normalizer, error) {
	var p struct {
		Map string `json:"precompiled_charsmap"`
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.DecodeString(p.Map)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, nil
	}
	if len(data) < 4 {
		return nil, errCharsMap
	}
	size := int64(binary.LittleEndian.Uint32(data))
	if data = data[4:]; size == 0 || size%4 != 0 || size > int64(len(data)) {
		return nil, errCharsMap
	}
	m := &charsMap{replacements: string(data[size:])}
	for i := int64(0); i < size; i += 4 {
		m.units = append(m.units, binary.LittleEndian.Uint32(data[i:]))
	}
	return m.normalize, nil
}

// smallCluster is the size up to which a cluster is looked up as a whole.
const smallCluster = 6

// normalize replaces clusters of characters that the table has, and the
// characters of the others one by one.
func (m *charsMap) normalize(text string) string {
	var out strings.Builder
	out.Grow(len(text))
	for text != "" {
		n := cluster(text)
		whole := text[:n]
		text = text[n:]
		if n < smallCluster {
			if replacement, ok := m.find(whole); ok {
				out.WriteString(replacement)
				continue
			}
		}
		for i := 0; i < n; {
			_, size := utf8.DecodeRuneInString(whole[i:])
			if replacement, ok := m.find(whole[i : i+size]); ok {
				out.WriteString(replacement)
			} else {
				out.WriteString(whole[i : i+size])
			}
			i += size
		}
	}
	return out.String()
}

// find gives the replacement of the shortest beginning of a text that the table
// has, which is what Hugging Face's library takes.
func (m *charsMap) find(text string) (string, bool) {
	offset := func(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }
	at := offset(m.units[0])
	for i := range len(text) {
		c := uint32(text[i])
		at ^= c
		if c == 0 || at >= uint32(len(m.units)) {
			return "", false
		}
		unit := m.units[at]
		if unit&(1<<31|0xFF) != c {
			return "", false
		}
		at ^= offset(unit)
		if unit>>8&1 == 0 {
			continue
		}
		if at >= uint32(len(m.units)) {
			return "", false
		}
		place := int(m.units[at] & (1<<31 - 1))
		if place >= len(m.replacements) {
			return "", false
		}
		replacement, _, _ := strings.Cut(m.replacements[place:], "\x00")
		return replacement, true
	}
	return "", false
}

// cluster measures the characters that a text begins with and that are one to a
// reader: a letter with its marks, a syllable of Hangul, what a joiner joins.
func cluster(text string) int {
	r, n := utf8.DecodeRuneInString(text)
	if r == '\r' && strings.HasPrefix(text[n:], "\n") {
		return n + 1
	}
	if breaks(r) {
		return n
	}
	for n < len(text) {
		next, size := utf8.DecodeRuneInString(text[n:])
		switch {
		case unicode.In(next, unicode.Mn, unicode.Me, unicode.Mc), next == '\u200c', next == '\u200d',
			0x1F3FB <= next && next <= 0x1F3FF, hangul(r, next), r == '\u200d' && unicode.Is(unicode.So, next):
		default:
			return n
		}
		r = next
		n += size
	}
	return n
}

// breaks says that nothing joins a character: those that control, and the ends
// of lines and paragraphs.
func breaks(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && r != '\u200c' && r != '\u200d'
}

// hangul says that two letters belong to one syllable.
func hangul(r, next rune) bool {
	isV := func(r rune) bool { return 0x1160 <= r && r <= 0x11A7 }
	isT := func(r rune) bool { return 0x11A8 <= r && r <= 0x11FF }
	whole := 0xAC00 <= r && r <= 0xD7A3
	open := whole && (r-0xAC00)%28 == 0
	switch {
	case 0x1100 <= r && r <= 0x115F:
		return 0x1100 <= next && next <= 0x11A7 || 0xAC00 <= next && next <= 0xD7A3
	case isV(r), open:
		return isV(next) || isT(next)
	case isT(r), whole:
		return isT(next)
	}
	return false
}
