package bench

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuantilesAreWithinTwoPercent(t *testing.T) {
	var h, other histogram
	for i := range 10_000 {
		into := &h
		if i%3 == 0 {
			into = &other
		}
		into.add(time.Duration(i+1) * time.Millisecond)
	}
	h.merge(&other)
	for q, want := range map[float64]time.Duration{0: time.Millisecond, .5: 5 * time.Second, .99: 9900 * time.Millisecond, .999: 9990 * time.Millisecond, 1: 10 * time.Second} {
		if got := h.quantile(q); got < want || float64(got) > 1.02*float64(want+time.Millisecond) {
			t.Errorf("quantile %v is %s, want %s", q, got, want)
		}
	}
	if h.n != 10_000 || h.max != 10*time.Second {
		t.Errorf("%d, %s", h.n, h.max)
	}
}

func TestEveryDurationHasABucketThatHoldsIt(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 63, 64, 127, 128, 129, 255, 256, time.Microsecond, time.Hour, 1<<62 - 1, 1<<63 - 1} {
		bucket := bucketOf(uint64(d))
		if last := lastOf(bucket); last < d || bucket > 0 && lastOf(bucket-1) >= d {
			t.Errorf("%d is in bucket %d, which ends at %d", d, bucket, last)
		}
	}
}

func TestAStallIsMeasuredForAllThatWasDueMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Ask(t.Context(), Load{Clients: 1, Rate: 100, Duration: 2 * time.Second}, func(_ context.Context, n int64) (int64, error) {
			if n == 0 {
				time.Sleep(time.Second)
			}
			return 10, nil
		})
		if r.Count != 200 || r.Bytes != 2000 || r.Errors != 0 {
			t.Errorf("%+v", r)
		}
		// The hundred that were due within the stall waited for its rest.
		if r.Latency.Max != 1000 || r.Latency.P99 < 970 || r.Latency.P50 > 20 {
			t.Errorf("latency %+v", r.Latency)
		}
	})
}

func TestWhatWasDueAndNeverBegunIsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalls := func(_ context.Context, n int64) (int64, error) {
			if n == 100 {
				time.Sleep(10 * time.Second)
			}
			return 0, nil
		}
		r := Ask(t.Context(), Load{Clients: 2, Rate: 100, Duration: 2 * time.Second, Count: 150}, stalls)
		if r.Count != 150 || r.Missed != 0 {
			t.Errorf("while another client goes on: %+v", r)
		}
		if r = Ask(t.Context(), Load{Clients: 1, Rate: 100, Duration: 2 * time.Second}, stalls); r.Count != 101 || r.Missed != 99 || r.Seconds != 11 {
			t.Errorf("with the only one: %+v", r)
		}
		if r = Ask(t.Context(), Load{Clients: 1, Rate: 100, Duration: 2 * time.Second, Count: 120}, stalls); r.Missed != 19 {
			t.Errorf("with a count: %+v", r)
		}
		if r = Ask(t.Context(), Load{Clients: 1, Rate: 2, Duration: 2 * time.Second}, func(context.Context, int64) (int64, error) {
			time.Sleep(700 * time.Millisecond)
			return 0, nil
		}); r.Count != 4 || r.Missed != 0 || r.Latency.Max != 1300 {
			t.Errorf("a little late: %+v", r)
		}
		for _, rate := range []float64{.3, 1, 3, 7, 29.7} {
			if r := Ask(t.Context(), Load{Clients: 1, Rate: rate, Duration: 3100 * time.Millisecond}, stalls); r.Missed != 0 {
				t.Errorf("at %v a second: %+v", rate, r)
			}
		}
	})
}

func TestFailuresAreNoDelayOfWhatComesNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Ask(t.Context(), Load{Clients: 1, Rate: 100, Duration: time.Second}, func(_ context.Context, n int64) (int64, error) {
			if n%2 == 1 {
				return 0, errors.New("no")
			}
			return 0, nil
		})
		if r.Count != 50 || r.Errors != 50 || r.Latency.Max != 0 || r.Seconds != .99 {
			t.Errorf("%+v", r)
		}
	})
}

func TestARunEndsWithItsTimeItsCountOrItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenth := func(context.Context, int64) (int64, error) {
			time.Sleep(100 * time.Millisecond)
			return 0, nil
		}
		if r := Ask(t.Context(), Load{Clients: 4, Duration: time.Second}, tenth); r.Count != 40 || r.Seconds != 1 || r.PerSecond != 40 {
			t.Errorf("by time: %+v", r)
		}
		if r := Ask(t.Context(), Load{Clients: 4, Duration: time.Hour, Count: 6}, tenth); r.Count != 6 {
			t.Errorf("by count: %+v", r)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 450*time.Millisecond)
		defer cancel()
		if r := Ask(ctx, Load{Clients: 1, Rate: 1, Duration: time.Hour}, tenth); r.Count != 1 || r.Errors != 0 {
			t.Errorf("by its context: %+v", r)
		}
	})
}

func TestErrorsAreCountedAndTheFirstIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []Report
		r := Ask(t.Context(), Load{Clients: 1, Rate: 10, Duration: 3 * time.Second, Progress: func(r Report) { seen = append(seen, r) }}, func(_ context.Context, n int64) (int64, error) {
			if n%10 == 3 {
				return 0, errors.New("no")
			}
			return 1, nil
		})
		if r.Count != 27 || r.Errors != 3 || r.FirstError != "no" {
			t.Errorf("%+v", r)
		}
		if !slices.ContainsFunc(seen, func(r Report) bool { return r.Count > 0 && r.Count < 27 }) {
			t.Errorf("progress %+v", seen)
		}
	})
}

func TestValuesAreOfTheirSize(t *testing.T) {
	random := Values{Size: 100}.makers(2)[1]
	if a, b := random.next(), random.next(); len(a) != 100 || len(b) != 100 || slices.Equal(a, b) {
		t.Errorf("%d and %d bytes, %v", len(a), len(b), slices.Equal(a, b))
	}
	objects := Values{Size: 300, JSON: true}.makers(2)[1]
	ids := map[uint64]bool{}
	for range 100 {
		value := objects.next()
		var o struct {
			ID            uint64
			Time          time.Time
			City, Message string
			Amount        float64
		}
		if err := json.Unmarshal(value, &o); err != nil || o.City == "" || o.Message == "" || o.Time.IsZero() || ids[o.ID] {
			t.Fatalf("%s: %v", value, err)
		}
		ids[o.ID] = true
		if len(value) < 300 || len(value) > 320 {
			t.Errorf("%d bytes, asked for 300", len(value))
		}
	}
}
