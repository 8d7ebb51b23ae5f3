package tokenizer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// golden are the tokenizers of testdata/make.py.
func golden(t testing.TB) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	for _, glob := range []string{"*.json", "*.json.gz"} {
		names, err := filepath.Glob(filepath.Join("testdata", glob))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if plain, ok := strings.CutSuffix(name, ".gz"); ok {
				name = plain
				unzip, err := gzip.NewReader(bytes.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				if text, err = io.ReadAll(unzip); err != nil {
					t.Fatal(err)
				}
			}
			files[strings.TrimSuffix(filepath.Base(name), ".json")] = text
		}
	}
	if len(files) != 12 {
		t.Fatalf("%d tokenizers found, want 11", len(files))
	}
	return files
}

// TestTokensAreThoseOfHuggingFace holds the ids against those that the library
// tokenizers gave when the golden files were made.
func TestTokensAreThoseOfHuggingFace(t *testing.T) {
	for name, text := range golden(t) {
		t.Run(name, func(t *testing.T) {
			tokenizer, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			expected, err := os.Open(filepath.Join("testdata", name+".tokens"))
			if err != nil {
				t.Fatal(err)
			}
			defer expected.Close()
			lines, cases := bufio.NewScanner(expected), 0
			for lines.Scan() {
				quoted, want, _ := strings.Cut(lines.Text(), "\t")
				var text string
				if err := json.Unmarshal([]byte(quoted), &text); err != nil {
					t.Fatal(err)
				}
				ids, cut := tokenizer.Encode(text, 1<<20)
				if got := join(ids); got != want || cut {
					t.Errorf("%s\n got %s (cut: %v)\nwant %s", quoted, got, cut, want)
				}
				cases++
			}
			if cases < 30 {
				t.Errorf("only %d texts", cases)
			}
		})
	}
}

func join(ids []int32) string {
	text, err := json.Marshal(ids)
	if err != nil || ids == nil {
		return ""
	}
	return strings.ReplaceAll(strings.Trim(string(text), "[]"), ",", " ")
}

func TestLongTextsAreCutAndSaySo(t *testing.T) {
	for name, text := range golden(t) {
		tokenizer, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		const long = "the compactor merges small files of a topic into larger ones"
		all, _ := tokenizer.Encode(long, 1<<20)
		around := len(tokenizer.prefix) + len(tokenizer.suffix)
		for limit := around; limit <= len(all); limit++ {
			ids, cut := tokenizer.Encode(long, limit)
			if len(ids) != limit || cut != (limit < len(all)) {
				t.Fatalf("%s: %d of %d tokens for a limit of %d, cut: %v", name, len(ids), len(all), limit, cut)
			}
			inner := limit - len(tokenizer.suffix)
			if join(ids[:inner]) != join(all[:inner]) || join(ids[inner:]) != join(all[len(all)-len(tokenizer.suffix):]) {
				t.Fatalf("%s: %v at a limit of %d is not a beginning of %v with its end", name, ids, limit, all)
			}
		}
	}
}

func TestWhatIsNotSupportedIsRefusedByName(t *testing.T) {
	const model = `"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}`
	for _, test := range []struct{ text, want string }{
		{`{"normalizer":{"type":"ByteLevel"},` + model + `}`, `"ByteLevel"`},
		{`{"pre_tokenizer":{"type":"UnicodeScripts"},` + model + `}`, `"UnicodeScripts"`},
		{`{"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"a(?<=b)"},"behavior":"Isolated"}]},` + model + `}`, "(?<=b)"},
		{`{"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"Odd"},` + model + `}`, `"Split"`},
		{`{"post_processor":{"type":"Other"},` + model + `}`, `"Other"`},
		{`{"post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]},` + model + `}`, "twice"},
		{`{"model":{"type":"Morse"}}`, `"Morse"`},
		{`{"model":{"type":"WordPiece","vocab":{}}}`, "empty"},
		{`{}`, "missing"},
	} {
		_, err := Parse([]byte(test.text))
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want one with %s", test.text, err, test.want)
		}
	}
}

func FuzzEncode(f *testing.F) {
	var all []*Tokenizer
	for _, text := range golden(f) {
		tokenizer, err := Parse(text)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, tokenizer)
	}
	f.Add("the \xff compactor", 8)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit &= 0xFFF
		for _, tokenizer := range all {
			ids, cut := tokenizer.Append(nil, text, limit)
			if len(ids) > limit || cut && len(ids) < limit {
				t.Fatalf("%d tokens for a limit of %d, cut: %v", len(ids), limit, cut)
			}
			for _, id := range ids {
				if id < 0 || int(id) >= tokenizer.Size() {
					t.Fatalf("id %d of %d", id, tokenizer.Size())
				}
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, text := range golden(f) {
		if len(text) < 10_000 {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		tokenizer, err := Parse(text)
		if err != nil {
			return
		}
		tokenizer.Encode("a text with 12 words, é", 64)
	})
}

func BenchmarkEncode(b *testing.B) {
	for name, text := range golden(b) {
		tokenizer, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tokenizer.Encode("the compactor merges small files of a topic into larger ones", 128)
			}
		})
	}
}
