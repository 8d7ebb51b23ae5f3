package textsearch

import (
	"context"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/textindex"
)

// termTable numbers the terms of a query, and sums what the parts know of them.
type termTable struct {
	numbers map[termKey]int
	terms   []termKey
	sums    []atomic.Int64 // documents with each term, over all parts
}

type termKey struct {
	field textindex.Field
	term  string
}

func newTermTable() *termTable { return &termTable{numbers: map[termKey]int{}} }

func (t *termTable) number(f textindex.Field, term []byte) int {
	key := termKey{f, string(term)}
	n, known := t.numbers[key]
	if !known {
		n = len(t.terms)
		t.numbers[key] = n
		t.terms = append(t.terms, key)
	}
	return n
}

// lookup finds all terms in a part, and adds to their sums.
func (t *termTable) lookup(ctx context.Context, p *Part) ([]textindex.Term, error) {
	found := make([]textindex.Term, len(t.terms))
	byField := map[textindex.Field][]int{}
	for n, key := range t.terms {
		byField[key.field] = append(byField[key.field], n)
	}
	for f, numbers := range byField {
		if _, ok := p.Split.Field(f); !ok {
			continue
		}
		bytes := make([][]byte, len(numbers))
		for i, n := range numbers {
			bytes[i] = []byte(t.terms[n].term)
		}
		terms, err := p.Split.Lookup(ctx, f, bytes...)
		if err != nil {
			return nil, err
		}
		for i, n := range numbers {
			found[n] = terms[i]
			t.sums[n].Add(int64(terms[i].Documents))
		}
	}
	return found, nil
}

// plan is a request that is ready to be run.
type plan struct {
	search *Searcher
	schema *schema
	table  *termTable
	lists  [][]textindex.Term // terms by part and number
	budget *budget
}

// weight is what a term's score is made of.
func (p *plan) weight(boost float64, number int, blend []int) bm25 {
	documents := p.table.sums[number].Load()
	for _, n := range blend {
		documents = max(documents, p.table.sums[n].Load())
	}
	return p.weigh(p.table.terms[number].field, boost*idf(p.documents(number, blend), documents))
}

// documents counts those that have the field of a term, or any one of the fields
// whose terms count as one.
func (p *plan) documents(number int, blend []int) int64 {
	n := p.schema.stats[p.table.terms[number].field].Documents
	for _, other := range blend {
		n = max(n, p.schema.stats[p.table.terms[other].field].Documents)
	}
	return n
}

// weigh is a weight in a field.
func (p *plan) weigh(f textindex.Field, weight float64) bm25 {
	w := bm25{weight: weight}
	if stats := p.schema.stats[f]; f.Kind == textindex.Text && stats.Documents > 0 {
		w.average = float64(stats.Terms) / float64(stats.Documents)
	}
	return w
}
