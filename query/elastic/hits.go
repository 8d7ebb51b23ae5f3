package elastic

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch"
	"github.com/chronik-stream/chronik/query/search"
)

func number(text string) (float64, error) { return strconv.ParseFloat(text, 64) }

// writeAnswer writes the members of a search's answer.
func writeAnswer(w *writer, a *asked, answer *search.Answer, took time.Duration) {
	w.member("took", took.Milliseconds())
	w.member("timed_out", answer.TimedOut)
	writeShards(w, answer.Shards)
	w.name("hits")
	w.object(func() {
		if answer.Counted {
			writeTotal(w, answer.Total, answer.AtLeast, a.show)
		} else if a.show.totalAsInt {
			w.member("total", -1)
		}
		w.member("max_score", answer.MaxScore)
		writeHits(w, answer.Hits, &a.request.Source)
	})
	if len(a.request.Aggs) > 0 {
		w.name("aggregations")
		w.object(func() { writeAggs(w, answer.Aggs, a.show) })
	}
	writeCoverage(w, answer.Coverage)
}

func writeShards(w *writer, s search.Shards) {
	w.name("_shards")
	w.object(func() {
		w.member("total", s.Total)
		w.member("successful", s.Successful)
		w.member("skipped", s.Skipped)
		w.member("failed", s.Failed)
	})
}

func writeCoverage(w *writer, coverage map[string]search.Coverage) {
	if coverage == nil {
		coverage = map[string]search.Coverage{}
	}
	w.member("coverage", coverage)
}

func writeTotal(w *writer, total int64, atLeast bool, show shown) {
	if show.totalAsInt {
		w.member("total", total)
		return
	}
	relation := "eq"
	if atLeast {
		relation = "gte"
	}
	w.name("total")
	w.object(func() {
		w.member("value", total)
		w.member("relation", relation)
	})
}

// writeHits writes hits until the answer is too large, which is noticed later.
func writeHits(w *writer, hits []textsearch.Hit, source *textquery.Source) {
	w.name("hits")
	w.array(func() {
		for i := range hits {
			if len(w.out) > answerBytesMax {
				return
			}
			w.object(func() { writeHit(w, &hits[i], source) })
		}
	})
}

func writeHit(w *writer, h *textsearch.Hit, source *textquery.Source) {
	w.member("_index", h.Topic)
	w.member("_id", h.ID())
	w.member("_score", h.Score)
	if h.Found && !source.Off {
		w.name("_source")
		writeSource(w, h, source)
	}
	if h.Fields != nil {
		w.member("fields", h.Fields)
	}
	if h.Highlight != nil {
		writeHighlight(w, h.Highlight)
	}
	if h.Sort != nil {
		w.name("sort")
		w.array(func() {
			for _, v := range h.Sort {
				w.value(v)
			}
		})
	}
}

func writeHighlight(w *writer, shown map[string][]string) {
	w.name("highlight")
	w.object(func() {
		for _, field := range slices.Sorted(maps.Keys(shown)) {
			w.name(field)
			w.array(func() {
				for _, fragment := range shown[field] {
					w.value(fragment)
				}
			})
		}
	})
}
