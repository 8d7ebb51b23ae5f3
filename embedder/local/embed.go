package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Bounds of a batch. More tokens at once are not faster on a processor, take
// memory with the square of a text's length, and make others wait longer.
const (
	batchTokensMax = 1024
	batchTextsMax  = 64
)

// Model is a local model that was read. All methods may be called at once.
type Model struct {
	models     *Models
	directory  *directory
	backend    backend
	dimensions int

	use    sync.RWMutex // of backend; its writer lets it go
	closed bool
}

// errClosed means that the process stops.
var errClosed = errors.New("local models were let go")

// run computes a batch. Callers may have given it up: it is not waited for when they
// do, and what it computes with stays until it is done all the same.
func (m *Model) run(ctx context.Context, b *batch) (hidden, error) {
	m.use.RLock()
	defer m.use.RUnlock()
	if m.closed {
		return hidden{}, errClosed
	}
	return m.backend.run(ctx, b)
}

// close lets the backend go once no batch is under way.
func (m *Model) close() error {
	m.use.Lock()
	defer m.use.Unlock()
	m.closed = true
	return m.backend.close()
}

// Result is what became of texts.
type Result struct {
	Vectors []float32 // one after the other, in the order of the texts
	Tokens  int
	Cut     []bool // of each text, whether it had more tokens than the model takes
}

// batch is tokens of some texts, in rows of one length.
type batch struct {
	texts  []int   // which they are
	ids    []int32 // len(texts) × length
	tokens []int   // of each row, before the padding
	length int
}

// Dimensions is the length of its vectors.
func (m *Model) Dimensions() int { return m.dimensions }

// MaxTokens is how many tokens of a text it takes.
func (m *Model) MaxTokens() int { return m.directory.tokensMax }

// Backend names what computes its vectors.
func (m *Model) Backend() string { return m.backend.String() }

// prove computes a vector, so that what does not work is known now, and how long
// vectors are.
func (m *Model) prove() error {
	ids, _ := m.encode("chronik")
	h, err := m.run(context.Background(), &batch{texts: []int{0}, ids: ids, tokens: []int{len(ids)}, length: len(ids)})
	if err != nil {
		return err
	}
	rows := 1
	if h.perToken {
		rows = len(ids)
	}
	if h.width == 0 || len(h.values) != rows*h.width {
		return fmt.Errorf("it gives %d numbers for a text of %d tokens, which are not vectors of %d", len(h.values), len(ids), h.width)
	}
	m.dimensions = h.width
	return nil
}

// tokenBytesMax is how many bytes of a text are looked at for each token that the
// model takes: a megabyte is not normalized and split for some hundred tokens. Only
// what is no language has longer ones on average.
const tokenBytesMax = 64

func (m *Model) encode(text string) (ids []int32, cut bool) {
	shortened := len(text) > m.directory.tokensMax*tokenBytesMax
	if shortened {
		end := m.directory.tokensMax * tokenBytesMax
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	if m.directory.lower {
		text = strings.ToLower(text)
	}
	if m.directory.static != "" { // nothing goes around the text
		ids, cut = m.directory.tokenizer.Append(nil, text, m.directory.tokensMax)
		return ids, cut || shortened
	}
	ids, cut = m.directory.tokenizer.Encode(text, m.directory.tokensMax)
	if len(ids) == 0 { // not one is known, and none goes around
		ids = append(ids, max(m.directory.tokenizer.Unknown(), m.directory.tokenizer.Pad()))
	}
	return ids, cut || shortened
}

// Embed computes the vectors of any number of texts.
func (m *Model) Embed(ctx context.Context, texts []string) (Result, error) {
	result := Result{Vectors: make([]float32, len(texts)*m.dimensions), Cut: make([]bool, len(texts))}
	encoded := make([][]int32, len(texts))
	gate := m.models.gate
	if len(texts) == 1 {
		gate = m.models.single
	}
	inChunks := func(do func(first, next int)) error { // tokens are cut on the same threads
		return m.each(ctx, gate, (len(texts)+batchTextsMax-1)/batchTextsMax, func(ctx context.Context, i int) error {
			do(i*batchTextsMax, min(len(texts), (i+1)*batchTextsMax))
			return nil
		})
	}
	if err := inChunks(func(first, next int) {
		for i := first; i < next; i++ {
			encoded[i], result.Cut[i] = m.encode(texts[i])
		}
	}); err != nil {
		return Result{}, err
	}
	for _, ids := range encoded {
		result.Tokens += len(ids)
	}
	batches := m.batches(encoded)
	return result, m.each(ctx, gate, len(batches), func(ctx context.Context, i int) error {
		b := m.fill(batches[i], encoded)
		h, err := m.run(ctx, b)
		if err != nil {
			return err
		}
		vectors := m.directory.pooling.pool(nil, h, b.tokens, b.length)
		if len(vectors) != len(b.texts)*m.dimensions {
			return fmt.Errorf("%d numbers for %d vectors of %d", len(vectors), len(b.texts), m.dimensions)
		}
		for row, text := range b.texts {
			copy(result.Vectors[text*m.dimensions:], vectors[row*m.dimensions:][:m.dimensions])
		}
		return nil
	})
}

// each does n things, as many at once as the gate lets through.
func (m *Model) each(ctx context.Context, gate *semaphore.Weighted, n int, do func(ctx context.Context, i int) error) error {
	group, within := errgroup.WithContext(ctx)
	for i := range n {
		if gate.Acquire(within, 1) != nil {
			break // one has failed, or the caller's context has ended
		}
		group.Go(func() error {
			defer gate.Release(1)
			return do(within, i)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// batches puts texts of about one length together, so that little is computed for
// what only fills up rows.
func (m *Model) batches(encoded [][]int32) [][]int {
	order := make([]int, len(encoded))
	for i := range order {
		order[i] = i
	}
	if m.directory.static == "" {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(encoded[b]), len(encoded[a])) })
	}
	var batches [][]int
	for len(order) > 0 {
		n := min(len(order), batchTextsMax)
		if m.directory.static == "" {
			n = min(n, max(1, batchTokensMax/max(1, len(encoded[order[0]]))))
		}
		batches = append(batches, order[:n])
		order = order[n:]
	}
	return batches
}

// fill lays the tokens of texts out in rows.
func (m *Model) fill(texts []int, encoded [][]int32) *batch {
	b := &batch{texts: texts}
	for _, text := range texts {
		b.length = max(b.length, len(encoded[text]))
	}
	pad := m.directory.tokenizer.Pad()
	b.ids = make([]int32, 0, len(texts)*b.length)
	for _, text := range texts {
		b.ids = append(b.ids, encoded[text]...)
		b.tokens = append(b.tokens, len(encoded[text]))
		for range b.length - len(encoded[text]) {
			b.ids = append(b.ids, pad)
		}
	}
	return b
}
