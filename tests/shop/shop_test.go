package shop

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func TestTheSameSeedGivesTheSameBytes(t *testing.T) {
	sum := func(seed uint64) string {
		s, h := New(seed, start, time.Hour, 500), sha256.New()
		for range 500 {
			o, v := s.Order(), s.View()
			h.Write(o.Key())
			h.Write(o.JSON())
			h.Write(v.Key())
			h.Write(v.JSON())
		}
		return hex.EncodeToString(h.Sum(nil))
	}
	if first, again := sum(1), sum(1); first != again {
		t.Error("the same seed gave other events")
	}
	if sum(1) == sum(2) {
		t.Error("another seed gave the same events")
	}
}

func TestEventsAreJSONOfOneShape(t *testing.T) {
	s := New(7, start, 72*time.Hour, 2000)
	for range 2000 {
		var order struct {
			Order, Items                                      int
			Customer, City, Country, Product, Status, Payment string
			Amount                                            float64
			PlacedAt                                          time.Time `json:"placed_at"`
		}
		o := s.Order()
		if err := json.Unmarshal(o.JSON(), &order); err != nil {
			t.Fatalf("%s: %v", o.JSON(), err)
		}
		if order.Order != o.Number || order.City != o.City || !order.PlacedAt.Equal(o.At) || int64(order.Amount*100+0.5) != o.Cents {
			t.Fatalf("%s is not %+v", o.JSON(), o)
		}
		if o.At.Before(start) || !o.At.Before(start.Add(72*time.Hour)) {
			t.Fatalf("%v lies outside the span", o.At)
		}
		v := s.View()
		var view map[string]any
		if err := json.Unmarshal(v.JSON(), &view); err != nil {
			t.Fatalf("%s: %v", v.JSON(), err)
		}
		if _, signedIn := view["customer"]; signedIn != (v.Customer > 0) {
			t.Fatalf("%s is not %+v", v.JSON(), v)
		}
	}
}
