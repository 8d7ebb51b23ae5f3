package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
)

// The documents of grafana: one each ten seconds, of three services in turn.
const (
	grafanaDocuments = 1080
	grafanaStep      = 10 * time.Second
)

var grafanaFrom = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

// took is the number that document n has.
func grafanaTook(n int) float64 { return float64(n%50) + 0.5 }

// grafana sends what Grafana 11's Elasticsearch data source sends: its test of the
// connection, its look at the fields, and a dashboard's and Explore's queries by
// multi-search.
func grafana(ctx context.Context, _ options, s *server) error {
	const index = "grafana-logs"
	if err := s.Into(ctx, nil, "PUT", "/"+index, ""); err != nil {
		return err
	}
	var documents [][]byte
	for n := range grafanaDocuments {
		documents = append(documents, fmt.Appendf(nil, `{"@timestamp":%q,"service":"service-%d","took":%g,"line":"GET /item/%d answered","level":%q}`,
			grafanaFrom.Add(time.Duration(n)*grafanaStep).Format(time.RFC3339), n%3, grafanaTook(n), n, []string{"info", "error"}[n%2]))
	}
	if err := s.bulk(ctx, index, documents); err != nil {
		return err
	}
	for _, c := range []struct {
		name  string
		check func(context.Context, *server) error
	}{
		{"the connection is tested", grafanaHealth}, {"fields are listed", grafanaFields}, {"time series by service", grafanaSeries},
		{"metrics over time", grafanaMetrics}, {"filters", grafanaFilters}, {"logs in Explore", grafanaLogs}, {"raw data", grafanaRaw},
		{"variables", grafanaVariables},
	} {
		if err := c.check(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Printf("ok    grafana: %s\n", c.name)
	}
	return nil
}

// msearch sends one search as the data source does.
func msearch(ctx context.Context, s *server, body string, to any) error {
	const header = `{"ignore_unavailable":true,"index":"grafana-logs,grafana-of-another-day","search_type":"query_then_fetch"}`
	a, err := s.Ask(ctx, "POST", "/_msearch?max_concurrent_shard_requests=5", header+"\n"+body+"\n")
	if err != nil {
		return err
	}
	var out struct{ Responses []json.RawMessage }
	if err := json.Unmarshal(a.Body, &out); err != nil || a.Status != http.StatusOK || len(out.Responses) != 1 {
		return fmt.Errorf("status %d: %.1000s", a.Status, a.Body)
	}
	var failed struct{ Error json.RawMessage }
	if err := json.Unmarshal(out.Responses[0], &failed); err != nil || failed.Error != nil {
		return fmt.Errorf("%s: %.1000s", body, out.Responses[0])
	}
	return json.Unmarshal(out.Responses[0], to)
}

// grafanaWithin is the filter of all of its queries.
func grafanaWithin(query string) string {
	return fmt.Sprintf(`"query":{"bool":{"filter":[{"range":{"@timestamp":{"format":"epoch_millis","gte":%d,"lte":%d}}},{"query_string":{"analyze_wildcard":true,"query":%q}}]}}`,
		grafanaFrom.UnixMilli(), grafanaFrom.Add(time.Hour).UnixMilli()-1, query)
}

// histogram is its date histogram, with what is inside.
func grafanaHistogram(inside string) string {
	if inside != "" {
		inside = `"aggs":{` + inside + `},`
	}
	return fmt.Sprintf(`{%s"date_histogram":{"extended_bounds":{"max":%d,"min":%d},"field":"@timestamp","fixed_interval":"600000ms","format":"epoch_millis","min_doc_count":0}}`,
		inside, grafanaFrom.Add(time.Hour).UnixMilli()-1, grafanaFrom.UnixMilli())
}

func grafanaHealth(ctx context.Context, s *server) error {
	var health struct{ Status string }
	if err := s.Into(ctx, &health, "GET", "/_cluster/health?wait_for_status=yellow", ""); err != nil {
		return err
	}
	if health.Status == "red" {
		return fmt.Errorf("it is red")
	}
	var root struct{ Version struct{ Number string } }
	if err := s.Into(ctx, &root, "GET", "/", ""); err != nil || root.Version.Number == "" {
		return fmt.Errorf("version %q: %w", root.Version.Number, err)
	}
	return nil
}

func grafanaFields(ctx context.Context, s *server) error {
	var all map[string]struct {
		Mappings struct {
			Properties map[string]struct {
				Type   string
				Fields map[string]struct{ Type string }
			}
		}
	}
	if err := s.Into(ctx, &all, "GET", "/grafana-logs/_mapping", ""); err != nil {
		return err
	}
	p := all["grafana-logs"].Mappings.Properties
	if p["@timestamp"].Type != "date" || p["service"].Type != "text" || p["service"].Fields["keyword"].Type != "keyword" || p["took"].Type != "double" {
		return fmt.Errorf("properties %v", p)
	}
	return nil
}

type grafanaBuckets struct {
	Buckets []struct {
		Key    any
		Count  int             `json:"doc_count"`
		Metric json.RawMessage `json:"1"`
		Times  struct {
			Buckets []struct {
				Key    int64
				Text   string                   `json:"key_as_string"`
				Count  int                      `json:"doc_count"`
				Metric struct{ Value *float64 } `json:"1"`
			}
		} `json:"2"`
	}
}

// Three services, six buckets of ten minutes: twenty documents of each in each.
func grafanaSeries(ctx context.Context, s *server) error {
	var out struct {
		Aggregations struct {
			Services grafanaBuckets `json:"3"`
		}
	}
	body := `{"aggs":{"3":{"aggs":{"1":{"avg":{"field":"took"}},"2":` + grafanaHistogram(`"1":{"avg":{"field":"took"}}`) +
		`},"terms":{"field":"service.keyword","size":10,"order":{"1":"desc"},"min_doc_count":1}}},` + grafanaWithin("*") + `,"size":0}`
	if err := msearch(ctx, s, body, &out); err != nil {
		return err
	}
	sums, counts := map[string]float64{}, map[string]int{}
	for n := range 360 {
		service := fmt.Sprintf("service-%d", n%3)
		sums[service] += grafanaTook(n)
		counts[service]++
	}
	if len(out.Aggregations.Services.Buckets) != 3 {
		return fmt.Errorf("%d services", len(out.Aggregations.Services.Buckets))
	}
	before := math.Inf(1)
	for _, b := range out.Aggregations.Services.Buckets {
		var average struct{ Value float64 }
		if err := json.Unmarshal(b.Metric, &average); err != nil {
			return err
		}
		name, _ := b.Key.(string)
		if want := sums[name] / float64(counts[name]); b.Count != 120 || math.Abs(average.Value-want) > 1e-9 || average.Value > before {
			return fmt.Errorf("%s has %d documents, average %v, want 120 and %v", name, b.Count, average.Value, want)
		}
		before = average.Value
		if len(b.Times.Buckets) != 6 {
			return fmt.Errorf("%s has %d buckets of time", name, len(b.Times.Buckets))
		}
		for i, t := range b.Times.Buckets {
			at := grafanaFrom.Add(time.Duration(i) * 10 * time.Minute).UnixMilli()
			if t.Key != at || t.Text != fmt.Sprint(at) || t.Count != 20 || t.Metric.Value == nil {
				return fmt.Errorf("%s: bucket %d is %+v", name, i, t)
			}
		}
	}
	return nil
}

func grafanaMetrics(ctx context.Context, s *server) error {
	var out struct {
		Aggregations struct {
			Times struct {
				Buckets []struct {
					Count       int `json:"doc_count"`
					Percentiles struct {
						Values map[string]float64
					} `json:"4"`
					Stats struct {
						Max    float64
						Bounds map[string]float64 `json:"std_deviation_bounds"`
					} `json:"5"`
					Distinct struct{ Value int } `json:"6"`
				}
			} `json:"2"`
		}
	}
	inside := `"4":{"percentiles":{"field":"took","percents":["25","50","75","95","99"]}},"5":{"extended_stats":{"field":"took","sigma":"3"}},"6":{"cardinality":{"field":"service.keyword","precision_threshold":"100"}}`
	if err := msearch(ctx, s, `{"aggs":{"2":`+grafanaHistogram(inside)+`},`+grafanaWithin("level:error")+`,"size":0}`, &out); err != nil {
		return err
	}
	for i, b := range out.Aggregations.Times.Buckets {
		if b.Count != 30 || len(b.Percentiles.Values) != 5 || b.Stats.Max <= 40 || b.Stats.Bounds["upper"] == 0 || b.Distinct.Value != 3 {
			return fmt.Errorf("bucket %d is %+v", i, b)
		}
	}
	if n := len(out.Aggregations.Times.Buckets); n != 6 {
		return fmt.Errorf("%d buckets", n)
	}
	return nil
}

func grafanaFilters(ctx context.Context, s *server) error {
	var out struct {
		Aggregations struct {
			Filters struct {
				Buckets map[string]struct {
					Count int `json:"doc_count"`
				}
			} `json:"3"`
		}
	}
	filter := func(q string) string {
		return fmt.Sprintf(`{"query_string":{"analyze_wildcard":true,"query":%q}}`, q)
	}
	body := `{"aggs":{"3":{"aggs":{"2":` + grafanaHistogram("") + `},"filters":{"filters":{"errors":` + filter("level:error") + `,"service:service*":` + filter("service:service*") + `}}}},` + grafanaWithin("*") + `,"size":0}`
	if err := msearch(ctx, s, body, &out); err != nil {
		return err
	}
	if b := out.Aggregations.Filters.Buckets; b["errors"].Count != 180 || b["service:service*"].Count != 360 {
		return fmt.Errorf("buckets %v", b)
	}
	return nil
}

// grafanaNewest is how logs and raw data are sorted.
const grafanaNewest = `"sort":[{"@timestamp":{"order":"desc","unmapped_type":"boolean"}},{"_doc":{"order":"desc"}}]`

func grafanaLogs(ctx context.Context, s *server) error {
	var out found
	body := `{"aggs":{"1":` + grafanaHistogram("") + `},"fields":[{"field":"@timestamp","format":"strict_date_optional_time_nanos"}],"highlight":{"fields":{"*":{}},"fragment_size":2147483647,"post_tags":["@/HIGHLIGHT@"],"pre_tags":["@HIGHLIGHT@"]},` +
		grafanaWithin("answered") + `,"size":100,` + grafanaNewest + `}`
	if err := msearch(ctx, s, body, &out); err != nil {
		return err
	}
	return newestFirst(&out, 100)
}

func grafanaRaw(ctx context.Context, s *server) error {
	var out found
	body := `{"docvalue_fields":["@timestamp"],"script_fields":{},` + grafanaWithin("*") + `,"size":50,` + grafanaNewest + `}`
	if err := msearch(ctx, s, body, &out); err != nil {
		return err
	}
	return newestFirst(&out, 50)
}

// newestFirst looks at hits, their times and what their fields say of them.
func newestFirst(out *found, want int) error {
	if len(out.Hits.Hits) != want {
		return fmt.Errorf("%d hits, want %d", len(out.Hits.Hits), want)
	}
	for i, h := range out.Hits.Hits {
		at := grafanaFrom.Add(time.Duration(359-i) * grafanaStep)
		var d struct {
			Time time.Time `json:"@timestamp"`
		}
		if err := json.Unmarshal(h.Source, &d); err != nil {
			return err
		}
		if fields := h.Fields["@timestamp"]; !d.Time.Equal(at) || len(fields) != 1 || !strings.HasPrefix(fmt.Sprint(fields[0]), at.Format("2006-01-02T15:04:05")) || len(h.Sort) != 2 {
			return fmt.Errorf("hit %d: %s, fields %v, sort %v, want %s", i, h.Source, h.Fields, h.Sort, at)
		}
	}
	return nil
}

// grafanaVariables is how a dashboard's variable finds its values.
func grafanaVariables(ctx context.Context, s *server) error {
	var out struct {
		Aggregations struct {
			Values grafanaBuckets `json:"1"`
		}
	}
	if err := msearch(ctx, s, `{"size":0,`+grafanaWithin("*")+`,"aggs":{"1":{"terms":{"field":"service.keyword","size":500,"order":{"_key":"asc"}}}}}`, &out); err != nil {
		return err
	}
	for i, b := range out.Aggregations.Values.Buckets {
		if b.Key != fmt.Sprintf("service-%d", i) {
			return fmt.Errorf("value %d is %v", i, b.Key)
		}
	}
	if n := len(out.Aggregations.Values.Buckets); n != 3 {
		return fmt.Errorf("%d values", n)
	}
	return nil
}
