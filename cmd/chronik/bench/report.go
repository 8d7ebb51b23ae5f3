package bench

import (
	"math"
	"time"
)

// Report is what a run measured.
type Report struct {
	Seconds        float64 `json:"seconds"`
	Count          int64   `json:"count"` // of what succeeded
	PerSecond      float64 `json:"per_second"`
	Bytes          int64   `json:"bytes"`
	BytesPerSecond float64 `json:"bytes_per_second"`
	Latency        Latency `json:"latency_ms"`
	Missed         int64   `json:"missed"` // were due and never begun: all clients waited
	Errors         int64   `json:"errors"`
	FirstError     string  `json:"first_error,omitempty"`
}

// Latency is in milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func report(began, ended time.Time, meters []meter) Report {
	var total totals
	var latency histogram
	for i := range meters {
		m := &meters[i]
		m.mu.Lock()
		total.add(m.total)
		latency.merge(&m.latency)
		m.mu.Unlock()
	}
	r := Report{
		Seconds: rounded(ended.Sub(began).Seconds()), Count: total.count, Bytes: total.bytes, Errors: total.errors,
		Latency: Latency{
			P50: millis(latency.quantile(.5)), P99: millis(latency.quantile(.99)),
			P999: millis(latency.quantile(.999)), Max: millis(latency.max),
		},
	}
	if seconds := ended.Sub(began).Seconds(); seconds > 0 {
		r.PerSecond, r.BytesPerSecond = rounded(float64(total.count)/seconds), rounded(float64(total.bytes)/seconds)
	}
	if total.failure != nil {
		r.FirstError = total.failure.Error()
	}
	return r
}

func millis(d time.Duration) float64 { return rounded(float64(d) / float64(time.Millisecond)) }

// rounded leaves the three places that a measurement has.
func rounded(x float64) float64 { return math.Round(x*1000) / 1000 }
