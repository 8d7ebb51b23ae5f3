package federated

import (
	"context"
	"errors"

	"github.com/chronik-stream/chronik/query/fusion"
	"github.com/chronik-stream/chronik/query/hybrid"
	"github.com/chronik-stream/chronik/query/search"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/vector"
)

// preview fills in the beginnings of the records that are answered. Those that a
// backend has read of the log are the value's; they do for a topic that is not asked
// by meaning, whose records begin as what was embedded of them, whoever found them.
// An answer without them is better than none.
func (s *Searcher) preview(ctx context.Context, r *Request, a *Answer, asked []*backend) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	previews := map[fusion.Key]string{}
	for _, one := range a.Results {
		previews[one.Key] = ""
	}
	indexed := map[string]bool{}  // topics whose words are
	embedded := map[string]bool{} // topics with a text that may be but a part of the value
	for _, b := range a.Backends {
		indexed[b.Topic] = indexed[b.Topic] || b.Mode == Text
		embedded[b.Topic] = embedded[b.Topic] || b.Mode == Vector
		for _, f := range b.Found {
			previews[f.Key] = ""
		}
	}
	for _, b := range asked {
		for _, f := range b.found {
			if _, shown := previews[f.Key]; shown && f.Preview != "" {
				previews[f.Key] = f.Preview
			}
		}
	}
	unread := map[string][]vector.Hit{}
	for key, preview := range previews {
		if preview == "" || embedded[key.Topic] {
			unread[key.Topic] = append(unread[key.Topic], vector.Hit{Topic: key.Topic, Partition: key.Partition, Offset: key.Offset})
		}
	}
	for topic, hits := range unread {
		reader := hybrid.Records{Vectors: s.Vectors}
		if indexed[topic] {
			reader.Text = s.Text
		}
		err := reader.Read(ctx, topic, hits, false, search.Options{
			Freshness: string(r.fresh(snapshot.Available)), Timeout: r.Timeout, Principal: r.Principal,
		})
		if errors.Is(err, context.DeadlineExceeded) {
			a.Warnings = append(a.Warnings, "not all previews were read in time")
			break
		}
		if err != nil {
			return err
		}
		for _, h := range hits {
			if h.Preview == "" {
				continue // not committed yet, or gone by now: what was found of it does
			}
			previews[fusion.Key{Topic: topic, Partition: h.Partition, Offset: h.Offset}] = h.Preview
		}
	}
	for i := range a.Results {
		a.Results[i].Preview = previews[a.Results[i].Key]
	}
	for _, b := range a.Backends {
		for i := range b.Found {
			b.Found[i].Preview = previews[b.Found[i].Key]
		}
	}
	return nil
}
