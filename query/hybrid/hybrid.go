// Package hybrid asks two searches at once, the one for words and the one by
// meaning, and makes one ranking of what they find.
//
// Each side is asked for more records than are wanted, since a record that both
// find may be the best though neither has it among its first. Only the records of
// the merged answer are read from the log. A side that fails makes the answer fail,
// unless the request takes what the other one found; then the answer says so.
package hybrid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/query/fusion"
	"github.com/chronik-stream/chronik/query/places"
	"github.com/chronik-stream/chronik/query/search"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/vector"
)

// Text searches for words: *search.Searcher.
type Text interface {
	Search(ctx context.Context, topics []string, r *textquery.Request, o search.Options) (*search.Answer, error)
}

// Vectors search by meaning: *vector.Searcher.
type Vectors interface {
	Search(ctx context.Context, r vector.Request) (*vector.Answer, error)
	// Records reads previews, and keys and values too if values, of the hits given by
	// partition and offset.
	Records(ctx context.Context, topic string, hits []vector.Hit, values bool) error
}

// Searcher asks both. Its methods may be called at once.
type Searcher struct {
	Text    Text
	Vectors Vectors
}

// Method is how the two rankings become one.
type Method string

// The methods.
const (
	RRF      Method = "rrf"      // fusion.ReciprocalRank
	Weighted Method = "weighted" // fusion.MinMax
)

// Request asks for the records of a topic that fit words and meaning. A side whose
// weight is 0 is not asked.
type Request struct {
	// Vector is the side by meaning: its topic, its text, its filter and its knobs are
	// taken, and how many records are wanted, how fresh, how soon and with what.
	Vector       vector.Request
	Words        string // that the other side looks for
	VectorWeight float64
	TextWeight   float64
	Method       Method
	RankConstant float64 // of RRF
	AllowPartial bool    // a side may fail
	Principal    string  // who asks
}

// Hit is a record with its place on both sides. Its Score, Distance and Embedding
// are there where the vector side found it.
type Hit struct {
	vector.Hit
	Fused        float64 // the score of the merged ranking
	Vector, Text fusion.Place
}

// Answer is what was found.
type Answer struct {
	Hits                  []Hit // the best first; ties by partition and offset
	Total                 int   // records that were merged
	VectorHits, TextHits  int   // that each side found
	TotalVectors          int64
	EmbedTime, SearchTime time.Duration
	Coverage              snapshot.Coverage // what both sides cover
	Warnings              []string
	Partial               bool // a side failed, as Warnings say
}

// candidatesMin is how many records a side is asked for at least, and
// candidatesFactor how many times as many as are wanted.
const (
	candidatesMin    = 100
	candidatesFactor = 3
)

// sideShare is the part of a request's time that a side has which may fail: the rest
// is for the answer without it.
const sideShare = 0.8

// sides are what the two found; nil: the side was not asked, or failed.
type sides struct {
	vectors *vector.Answer
	text    *search.Answer
}

// Search answers a request, which has a timeout. Errors are those of
// vector.Searcher and of search.Searcher; of two, that of the vector side.
func (s *Searcher) Search(ctx context.Context, r Request) (*Answer, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, r.Vector.Timeout)
	defer cancel()
	if r.AllowPartial {
		r.Vector.Timeout = time.Duration(sideShare * float64(r.Vector.Timeout))
	}
	found, warnings, err := s.ask(ctx, r)
	if err != nil {
		return nil, err
	}
	a := &Answer{Warnings: warnings, Partial: len(warnings) > 0}
	a.merge(r, found)
	if err := s.read(ctx, r, found, a.Hits); err != nil {
		return nil, err
	}
	a.SearchTime = time.Since(began) - a.EmbedTime
	return a, nil
}

// ask asks both sides at once. While nothing may be left out, the first failure
// ends the other side too.
func (s *Searcher) ask(ctx context.Context, r Request) (found sides, warnings []string, err error) {
	candidates := max(candidatesMin, candidatesFactor*r.Vector.K)
	var vectorErr, textErr error
	group, inner := errgroup.WithContext(ctx)
	if r.AllowPartial {
		group, inner = &errgroup.Group{}, ctx
	}
	if r.VectorWeight > 0 {
		group.Go(func() error {
			asked := r.Vector
			asked.K, asked.Bare, asked.Values = candidates, true, false
			found.vectors, vectorErr = s.Vectors.Search(inner, asked)
			return vectorErr
		})
	}
	if r.TextWeight > 0 {
		group.Go(func() error {
			found.text, textErr = s.Text.Search(inner, []string{r.Vector.Topic}, WordsRequest(r.Words, candidates, r.Vector.Filter), r.options())
			return textErr
		})
	}
	first := group.Wait()
	var busy *places.BusyError
	switch {
	case first == nil:
		return found, nil, nil
	case (errors.As(vectorErr, &busy) || errors.As(textErr, &busy)) && busy.Hurried: // another node has both
		return sides{}, nil, busy
	case !r.AllowPartial:
		return sides{}, nil, first
	case found.vectors == nil && found.text == nil, ctx.Err() != nil:
		return sides{}, nil, cmp.Or(vectorErr, textErr)
	case vectorErr != nil:
		return found, []string{fmt.Sprintf("the vector side failed, these are the records of the text side: %v", vectorErr)}, nil
	}
	return found, []string{fmt.Sprintf("the text side failed, these are the records of the vector side: %v", textErr)}, nil
}

// merge makes one ranking, of as many records as are wanted.
func (a *Answer) merge(r Request, found sides) {
	vectors, text := fusion.List{Weight: r.VectorWeight}, fusion.List{Weight: r.TextWeight}
	known := map[fusion.Key]vector.Hit{}
	if found.text != nil {
		a.TextHits = len(found.text.Hits)
		a.cover(found.text.Coverage[r.Vector.Topic])
		for _, h := range found.text.Hits {
			key := fusion.Key{Topic: h.Topic, Partition: h.Partition, Offset: h.Offset}
			var score float64
			if h.Score != nil {
				score = *h.Score
			}
			text.Candidates = append(text.Candidates, fusion.Candidate{Key: key, Score: score})
			known[key] = vector.Hit{Topic: h.Topic, Partition: h.Partition, Offset: h.Offset, Timestamp: h.Timestamp}
		}
	}
	if found.vectors != nil {
		a.VectorHits, a.TotalVectors, a.EmbedTime = len(found.vectors.Hits), found.vectors.TotalVectors, found.vectors.EmbedTime
		a.cover(found.vectors.Coverage)
		a.Warnings = append(a.Warnings, found.vectors.Warnings...)
		for _, h := range found.vectors.Hits {
			key := fusion.Key{Topic: h.Topic, Partition: h.Partition, Offset: h.Offset}
			vectors.Candidates = append(vectors.Candidates, fusion.Candidate{Key: key, Score: float64(h.Score)})
			known[key] = h
		}
	}
	lists := []fusion.List{vectors, text}
	var merged []fusion.Merged
	if r.Method == Weighted {
		merged = fusion.MinMax(lists)
	} else {
		merged = fusion.ReciprocalRank(r.RankConstant, lists)
	}
	a.Total = len(merged)
	for _, m := range merged[:min(len(merged), r.Vector.K)] {
		a.Hits = append(a.Hits, Hit{Hit: known[m.Key], Fused: m.Score, Vector: m.Places[0], Text: m.Places[1]})
	}
}

// cover takes the coverage of another side: what is not covered by both is not
// covered.
func (a *Answer) cover(side snapshot.Coverage) {
	if a.Coverage.Partitions == nil {
		a.Coverage = side
		return
	}
	a.Coverage = snapshot.Both(a.Coverage, side)
}

// read fills in what the log has of the hits.
func (s *Searcher) read(ctx context.Context, r Request, found sides, hits []Hit) error {
	bare := make([]vector.Hit, len(hits))
	for i, h := range hits {
		bare[i] = h.Hit
	}
	records := Records{Vectors: s.Vectors}
	if found.text != nil {
		records.Text = s.Text
	}
	if err := records.Read(ctx, r.Vector.Topic, bare, r.Vector.Values, r.options()); err != nil {
		return err
	}
	for i := range hits {
		hits[i].Hit = bare[i]
	}
	return nil
}

// options are those of the text side. Unlike vectors, words need not wait for anybody:
// unless less is asked for, all that was acknowledged is searched, as by a search for
// words alone. Those of a topic that nobody reads would otherwise be those of splits,
// which come late.
func (r Request) options() search.Options {
	return search.Options{Freshness: cmp.Or(r.Vector.Freshness, string(snapshot.Latest)), Timeout: r.Vector.Timeout, Principal: r.Principal}
}
