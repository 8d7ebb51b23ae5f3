package federated

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/query/fusion"
)

// Profile is how what is known of a record makes its score: the sum of weight ×
// feature.
type Profile struct {
	Name    string             `json:"name"`
	Weights map[string]float64 `json:"weights"`
}

// The features that profiles may weigh. Besides, a record has the rank and the score
// that each mode gave it.
const (
	featureRRF       = "rrf_score"    // reciprocal rank fusion of all backends, with equal weights
	featureSources   = "source_count" // how many backends found it
	featureFreshness = "freshness"    // from 1, now, halved each day
)

// halfLife is after how long a record is half as fresh.
const halfLife = 24 * time.Hour

// profiles are those that there are, the default first. The best RRF score that a
// single backend gives is 1/61, about 0.0164: a fresh record is moved up by as much
// as being first somewhere.
var profiles = []Profile{
	{"default", map[string]float64{featureRRF: 1}},
	{"freshness", map[string]float64{featureRRF: 1, featureFreshness: 1.0 / (fusion.RankConstant + 1)}},
}

// profileOf finds a profile by its name; empty is the default.
func profileOf(name string) (Profile, bool) {
	if name == "" {
		return profiles[0], true
	}
	i := slices.IndexFunc(profiles, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		return Profile{}, false
	}
	return profiles[i], true
}

// rank makes one ranking of what the backends found, the best first.
func rank(asked []*backend, p Profile, now time.Time) []Result {
	lists := make([]fusion.List, len(asked))
	times := map[fusion.Key]int64{}
	for i, b := range asked {
		lists[i].Weight = 1
		for _, f := range b.found {
			c := fusion.Candidate{Key: f.Key}
			if f.Score != nil {
				c.Score = *f.Score
			}
			lists[i].Candidates = append(lists[i].Candidates, c)
			if f.Timestamp != 0 {
				times[f.Key] = f.Timestamp
			}
		}
	}
	merged := fusion.ReciprocalRank(fusion.RankConstant, lists)
	features := make(map[fusion.Key]map[string]float64, len(merged))
	for i := range merged {
		m := &merged[i]
		f := map[string]float64{featureRRF: m.Score}
		for list, place := range m.Places {
			if place.Rank == 0 {
				continue
			}
			f[featureSources]++
			mode := asked[list].mode
			f[string(mode)+"_rank"] = float64(place.Rank)
			found := asked[list].found[place.Rank-1]
			if found.Score != nil {
				f[string(mode)+"_score"] = *found.Score
			}
			if found.distance != nil {
				f[string(mode)+"_distance"] = float64(*found.distance)
			}
		}
		if at, known := times[m.Key]; known {
			f[featureFreshness] = freshness(now.Sub(time.UnixMilli(at)))
		}
		m.Score = 0
		for _, name := range slices.Sorted(maps.Keys(p.Weights)) {
			m.Score += p.Weights[name] * f[name]
		}
		features[m.Key] = f
	}
	fusion.Sort(merged)
	results := make([]Result, len(merged))
	for i, m := range merged {
		results[i] = Result{Key: m.Key, Score: m.Score, Features: features[m.Key]}
	}
	return results
}

// freshness is 1 for what is new, and half as much for each day since.
func freshness(age time.Duration) float64 {
	return math.Exp2(-max(0, age.Hours()) / halfLife.Hours())
}
