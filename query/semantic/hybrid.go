package semantic

import (
	"time"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/fusion"
	"github.com/chronik-stream/chronik/query/hybrid"
	"github.com/chronik-stream/chronik/query/snapshot"
)

// Defaults and bounds of the members that a hybrid search has besides.
const (
	weightDefault = 0.5
	weightMax     = 1e6
	rankMax       = 1e6
)

// hybridRequest is the body of a search on both sides.
type hybridRequest struct {
	Query        string        `json:"query"`
	TextQuery    string        `json:"text_query"`
	VectorQuery  string        `json:"vector_query"`
	VectorWeight *float64      `json:"vector_weight"`
	TextWeight   *float64      `json:"text_weight"`
	RankConstant *float64      `json:"rrf_k"`
	Fusion       hybrid.Method `json:"fusion"`
	AllowPartial bool          `json:"allow_partial"`
	common
}

// hybridResult is a record, and its place on both sides: null on one that did not
// find it.
type hybridResult struct {
	result
	Score       float64  `json:"score"` // that of the fusion
	Distance    *float32 `json:"distance"`
	VectorRank  *int     `json:"vector_rank"`
	TextRank    *int     `json:"text_rank"`
	VectorScore *float64 `json:"vector_score"`
	TextScore   *float64 `json:"text_score"`
}

// hybridResults is the body of an answer.
type hybridResults struct {
	Results []hybridResult `json:"results"` // hides those of results
	results
	Fusion     hybrid.Method `json:"fusion_method"`
	VectorHits int           `json:"vector_results_count"`
	TextHits   int           `json:"text_results_count"`
}

// queries are the texts of the two sides.
func (b *hybridRequest) queries() (meaning, text string, err error) {
	pair := b.TextQuery != "" || b.VectorQuery != ""
	switch {
	case b.Query != "" && pair:
		return "", "", envelope.Invalid("query stands for both sides, text_query and vector_query for one each: give either it or the two")
	case pair:
		if text, err = words("text_query", b.TextQuery); err == nil {
			meaning, err = words("vector_query", b.VectorQuery)
		}
		return meaning, text, err
	}
	text, err = words("query", b.Query)
	return text, text, err
}

// request checks the members.
func (b *hybridRequest) request(topic string, timeout time.Duration) (r hybrid.Request, err error) {
	if r.Vector, err = b.common.request(topic, timeout); err != nil {
		return r, err
	}
	if r.Vector.Text, r.Words, err = b.queries(); err != nil {
		return r, err
	}
	r.VectorWeight, r.TextWeight, r.RankConstant = weightDefault, weightDefault, fusion.RankConstant
	for _, number := range []struct {
		name  string
		given *float64
		into  *float64
		max   float64
	}{
		{"vector_weight", b.VectorWeight, &r.VectorWeight, weightMax},
		{"text_weight", b.TextWeight, &r.TextWeight, weightMax},
		{"rrf_k", b.RankConstant, &r.RankConstant, rankMax},
	} {
		if number.given == nil {
			continue
		}
		if !(*number.given >= 0 && *number.given <= number.max) {
			return r, envelope.Invalid("%s is %g, it must lie in 0..%g", number.name, *number.given, number.max)
		}
		*number.into = *number.given
	}
	if r.VectorWeight == 0 && r.TextWeight == 0 {
		return r, envelope.Invalid("vector_weight and text_weight are both 0: then nothing is searched")
	}
	r.Method, r.AllowPartial = b.Fusion, b.AllowPartial
	switch r.Method {
	case "":
		r.Method = hybrid.RRF
	case hybrid.RRF, hybrid.Weighted:
	default:
		return r, envelope.Invalid("fusion is %q, it must be %s or %s", b.Fusion, hybrid.RRF, hybrid.Weighted)
	}
	if r.Method == hybrid.Weighted && b.RankConstant != nil {
		return r, envelope.Invalid("rrf_k has no meaning with fusion %s", hybrid.Weighted)
	}
	return r, nil
}

// searchBoth finds records by words and meaning.
func (s *Surface) searchBoth(c *gin.Context) (any, error) {
	began := time.Now()
	var body hybridRequest
	if err := s.read(c, &body); err != nil {
		return nil, err
	}
	s.hybrids.Add(1)
	r, err := body.request(c.Param("topic"), s.o.Timeout)
	if err != nil {
		return nil, err
	}
	r.Principal = s.o.Principal(c)
	found, err := s.hybrid.Search(c.Request.Context(), r)
	if err != nil {
		return nil, timedOut(err, r.Vector.Timeout)
	}
	if found.Partial {
		s.partial.Add(1)
	}
	out := hybridResults{Results: make([]hybridResult, len(found.Hits)), Fusion: r.Method, VectorHits: found.VectorHits, TextHits: found.TextHits}
	out.Count, out.Total, out.TotalVectors = len(found.Hits), found.Total, found.TotalVectors
	out.EmbedTime, out.SearchTime = milliseconds(found.EmbedTime), milliseconds(found.SearchTime)
	out.Coverage, out.Warnings = map[string]snapshot.Coverage{r.Vector.Topic: found.Coverage}, found.Warnings
	for i, h := range found.Hits {
		one := hybridResult{result: shown(h.Hit, r.Vector), Score: h.Fused}
		if h.Vector.Rank > 0 {
			one.Distance, one.VectorRank, one.VectorScore = &h.Distance, &h.Vector.Rank, &h.Vector.Score
		}
		if h.Text.Rank > 0 {
			one.TextRank, one.TextScore = &h.Text.Rank, &h.Text.Score
		}
		out.Results[i] = one
	}
	out.ExecutionTime = milliseconds(time.Since(began))
	return out, nil
}
