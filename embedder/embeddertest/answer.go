package embeddertest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
)

// entry is a vector of an answer, and the place that it says it has.
type entry struct {
	index  int
	vector []float32
}

// answer makes the vectors, wrong ones if that is the effect.
func (s *Server) answer(asked Request, effect Effect) []entry {
	d := s.options.Dimensions
	if asked.Dimensions > 0 {
		d = asked.Dimensions
	}
	if effect == Long {
		d++
	}
	entries := make([]entry, len(asked.Texts))
	for i, text := range asked.Texts {
		entries[i] = entry{i, s.options.VectorOf(text, d)}
	}
	last := len(entries) - 1
	switch effect {
	case Half:
		entries = entries[:len(entries)/2]
	case Ragged:
		entries[last].vector = entries[last].vector[1:]
	case NaN:
		entries[last].vector[0] = float32(math.NaN())
	case Reorder:
		slices.Reverse(entries)
	case Twice:
		entries[last].index = 0
		if last == 0 {
			entries = append(entries, entries[0])
		}
	}
	return entries
}

// write sends an answer in the form of its protocol.
func (s *Server) write(w http.ResponseWriter, protocol Op, entries []entry, encoded bool, effect Effect) {
	body, err := json.Marshal(bodyOf(protocol, entries, encoded))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	// JSON has no NaN: some services write it all the same.
	body = bytes.ReplaceAll(body, []byte(`"NaN"`), []byte("NaN"))
	w.Header().Set("Content-Type", "application/json")
	switch effect {
	case Cut:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
	case Garbage:
		body = []byte("<html>It works!</html>")
	case Huge:
		blanks := bytes.Repeat([]byte(" "), 1<<20)
		for {
			if _, err := w.Write(blanks); err != nil {
				return // the client has had enough
			}
		}
	}
	_, _ = w.Write(body) // its reader may be gone
}

func bodyOf(protocol Op, entries []entry, encoded bool) any {
	if protocol == External {
		vectors := make([]any, len(entries))
		for i, e := range entries {
			vectors[i] = numbers(e.vector)
		}
		return map[string]any{"embeddings": vectors}
	}
	tokens := 0
	data := make([]any, len(entries))
	for i, e := range entries {
		v := numbers(e.vector)
		if encoded {
			v = inBase64(e.vector)
		}
		data[i] = map[string]any{"object": "embedding", "index": e.index, "embedding": v}
		tokens += TokensOfText
	}
	return map[string]any{"object": "list", "data": data, "usage": map[string]int{"prompt_tokens": tokens, "total_tokens": tokens}}
}

// TokensOfText is how many tokens the server says that each text has.
const TokensOfText = 7

func numbers(vector []float32) any {
	out := make([]any, len(vector))
	for i, f := range vector {
		out[i] = f
		if f != f {
			out[i] = "NaN"
		}
	}
	return out
}

func inBase64(vector []float32) any {
	var raw []byte
	for _, f := range vector {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
